"""Classes of records that are completed when they are first used."""

import copy
import dataclasses
import inspect
import os
import re
import sys
import threading
from dataclasses import field
from pathlib import Path

import pytest

from rocks.core import dataclasses as late
from rocks.core.dataclasses import dataclass
from rocks.core.process import run
from tests.unit.docs.pages import CHECKOUT


@pytest.fixture
def kinds():
    """A frozen class and one that inherits from it, neither of which is complete."""

    @dataclass(frozen=True)
    class Disk:
        """A disk."""

        name: str
        size_mb: int = 36000
        labels: list[str] = field(default_factory=list)

        def __post_init__(self) -> None:
            if not self.name:
                raise ValueError("no name")

    @dataclass(frozen=True)
    class Volume(Disk):
        nas: str = "nas-0-0"

    return Disk, Volume


def test_instances_are_those_of_the_standard_library(kinds) -> None:
    disk_kind, volume_kind = kinds
    volume, disk = volume_kind("a", 1, nas="nas-0-1"), disk_kind("a")
    assert repr(volume).endswith("Volume(name='a', size_mb=1, labels=[], nas='nas-0-1')")
    assert disk == disk_kind("a", 36000) and disk.labels is not disk_kind("a").labels
    assert disk_kind.size_mb == 36000 and copy.deepcopy(volume) == volume
    assert dataclasses.replace(volume, size_mb=2) == volume_kind("a", 2, nas="nas-0-1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        disk.name = "b"
    with pytest.raises(TypeError, match="unexpected keyword"):
        volume_kind("a", colour="red")
    with pytest.raises(TypeError, match="missing 1 required"):
        disk_kind()
    with pytest.raises(ValueError, match="no name"):
        volume_kind("")


def test_a_class_without_an_instance_has_its_fields(kinds) -> None:
    """As the codec of requests reads them."""
    disk_kind, volume_kind = kinds
    assert dataclasses.is_dataclass(volume_kind)
    assert [one.name for one in dataclasses.fields(volume_kind)] == ["name", "size_mb", "labels", "nas"]
    assert [one.name for one in dataclasses.fields(disk_kind)] == ["name", "size_mb", "labels"]


def test_a_class_without_an_instance_has_its_signature(kinds) -> None:
    assert list(inspect.signature(kinds[1]).parameters) == ["name", "size_mb", "labels", "nas"]


def test_a_plain_class_may_inherit(kinds) -> None:
    class Named(kinds[1]):
        def title(self) -> str:
            return self.name.title()

    assert Named("a").title() == "A" and Named("a") == Named("a")


def test_another_thread_waits_until_all_methods_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Key:
        name: str

    began, found, initialiser = threading.Event(), [], late._initialiser
    other = threading.Thread(target=lambda: (began.wait(10), found.append({Key("a"): 1}[Key("a")])))

    def paused(kind, options):
        began.set()
        other.join(0.3)
        assert found == []
        return initialiser(kind, options)

    monkeypatch.setattr(late, "_initialiser", paused)
    other.start()
    Key("b")
    other.join(10)
    assert found == [1]


def test_a_command_completes_few_of_the_classes_that_it_imports() -> None:
    program = (
        "import sys, rocks.commands.start.host.vm\n"
        "kinds = [one for module in list(sys.modules.values()) if module.__name__.startswith('rocks.')"
        " for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]\n"
        "late = sum('_dataclass_options' in vars(one) for one in kinds)\n"
        "print(late, sum('__dataclass_fields__' in vars(one) for one in kinds))"
    )
    settings = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src")}
    ended = run([sys.executable, "-c", program], deadline_seconds=60, environment=settings)
    late, total = map(int, ended.text.split())
    assert late > 80 and late / total > 0.8


def test_no_module_has_the_decorator_of_the_standard_library() -> None:
    found = re.compile(r"^from dataclasses import [^\n]*\bdataclass\b|@dataclasses\.dataclass", re.MULTILINE)
    folder = CHECKOUT / "src" / "rocks"
    assert [
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if path != Path(late.__file__) and found.search(path.read_text())
    ] == []
