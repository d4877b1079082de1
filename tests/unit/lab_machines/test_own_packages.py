"""Our packages and the ISOs on the machines, and the modules that both put there."""

import io
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from lab.build import own_packages, packages
from lab.build.iso_images import key_of_isos
from lab.build.own_packages import (
    CHECKOUT,
    MODULES_FOLDER,
    PACKAGES,
    installed_modules_key,
    module_files,
    modules_archive,
    modules_key,
)
from lab.build.parts import Releases
from lab.machines.__main__ import split_isos, split_releases
from lab.machines.roster import MACHINES
from rocks.core.errors import UserError

# Our packages on the machines, and the modules that `bin/lab patch` copies.


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


# The ISOs that `make lab ISOS=` names, and the modules that their packages have put on a machine.


def test_isos_are_the_words_of_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("roll.iso", "os-1.iso", "with blank.iso"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert split_isos(["cpus=2"]) == (["cpus=2"], [])
    others, isos = split_isos(["isos=roll.iso os-*.iso 'with blank.iso'", "cpus=1"])
    assert others == ["cpus=1"]
    assert isos == [tmp_path / name for name in ("roll.iso", "os-1.iso", "with blank.iso")]


@pytest.mark.parametrize("text", ["absent.iso", "os-*.iso", ".", "'unfinished"])
def test_isos_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there is no ISO .*make os-roll|No closing quotation"):
        split_isos([f"isos={text}"])


def test_an_iso_that_cannot_be_read_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent.iso cannot be read.*`make os-roll`"):
        key_of_isos([tmp_path / "absent.iso"])


def test_modules_of_a_machine_are_compared_with_those_of_the_checkout(tmp_path: Path) -> None:
    """Byte code is none of them."""
    for path in module_files():
        place = tmp_path / MODULES_FOLDER.lstrip("/") / path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / "src" / path, place)
    assert installed_modules_key(tmp_path) == modules_key()
    place.with_suffix(".pyc").touch()
    assert installed_modules_key(tmp_path) == modules_key()
    place.write_text("altered", encoding="ascii")
    assert installed_modules_key(tmp_path) != modules_key()


def test_the_workshop_has_the_compilers_of_the_os_roll() -> None:
    assert {"gcc", "make", "libc6-dev"} <= set(packages.WORKSHOP)
    assert not [name for name in packages.WORKSHOP if name.startswith("#") or " " in name]


def test_the_tools_that_machines_of_isos_get_from_mirrors_are_on_the_other_machines_too() -> None:
    assert set(packages.TOOLS) < set(packages.TREE)


def test_the_releases_of_hosts_and_nases() -> None:
    """Known ones, and not beside ISOs."""
    assert split_releases(["cpus=2", "nas=trixie"], []) == (["cpus=2"], Releases(nas="trixie"))
    assert split_releases(["hosts="], []) == (["hosts="], Releases())
    with pytest.raises(UserError, match="sid is no release of Debian that the lab has: bookworm, trixie"):
        split_releases(["hosts=sid"], [])
    with pytest.raises(UserError, match="leave hosts= and nas= out"):
        split_releases(["hosts=trixie"], [Path("/an.iso")])
