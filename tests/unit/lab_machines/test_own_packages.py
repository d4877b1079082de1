"""Our packages on the machines, and the modules that `bin/lab patch` copies."""

import io
import re
import tarfile
from pathlib import Path

import pytest

from lab.build import own_packages
from lab.build.own_packages import CHECKOUT, PACKAGES, module_files, modules_archive, modules_key
from lab.machines.roster import MACHINES


def test_every_role_has_its_packages_with_those_they_depend_on() -> None:
    """Of ours, each after the ones that it needs: dpkg gets them in one call, and Debian's are in the tree."""
    control = (CHECKOUT / "packaging/debian/control").read_text("utf-8")
    stanzas = {stanza.split()[0]: stanza for stanza in control.split("\nPackage:")[1:]}
    assert {machine.role.value for machine in MACHINES} == set(PACKAGES)
    for names in PACKAGES.values():
        for at, name in enumerate(names):
            depends = re.search(r"^Depends:(.*?)^\S", stanzas[name], re.MULTILINE | re.DOTALL)
            assert depends
            ours = set(re.findall(r"\brocks-[a-z-]+", depends[1]))
            assert ours <= set(names[:at]), name


def test_modules_are_those_of_the_package() -> None:
    """With byte code beside each, owned by root."""
    with tarfile.open(fileobj=io.BytesIO(modules_archive())) as archive:
        entries = archive.getmembers()
    names = {entry.name for entry in entries}
    assert {str(path) for path in module_files()} == {name for name in names if name.endswith(".py")}
    assert "rocks/storage/nas/__main__.py" in names
    assert any(name.startswith("rocks/agent/__pycache__/main.") for name in names)
    assert not [name for name in names if name.startswith("rocks/commands")]
    assert {entry.uid for entry in entries} == {0}


def test_key_of_the_modules_follows_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the modules that only the frontend has."""
    common = tmp_path / "common-modules"
    common.write_text("fleet/wire\ncore/errors.py\n", encoding="ascii")
    monkeypatch.setattr(own_packages, "_COMMON", common)
    monkeypatch.setattr(own_packages, "_SOURCES", tmp_path)
    for folder in ("fleet/wire", "core"):
        (tmp_path / "rocks" / folder).mkdir(parents=True)
    (tmp_path / "rocks/core/errors.py").write_text("one", encoding="ascii")
    first = modules_key()
    (tmp_path / "rocks/cli.py").write_text("a command", encoding="ascii")
    assert modules_key() == first
    (tmp_path / "rocks/core/errors.py").write_text("two", encoding="ascii")
    changed = modules_key()
    (tmp_path / "rocks/fleet/wire/bus.py").write_text("new", encoding="ascii")
    assert len({first, changed, modules_key()}) == 3
