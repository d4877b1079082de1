"""The frontend's medium: a fresh machine without a network becomes a frontend; a bad medium changes nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from rocks import __version__
from rocks.process import run_checked
from tests.packages.fresh_roots import CACHE, Root, make_bare_root
from tests.packages.test_frontend import start_database

ANSWERS = """\
Kickstart_PrivateHostname = head
Kickstart_PrivateInterface = lo
Kickstart_PrivateAddress = 10.9.9.2
Kickstart_PrivateNetmask = 255.255.255.0
"""
_INSTALL = ("sh", "/media/rocks/install", "/root/site")


@pytest.fixture(scope="session")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the ISO of `make frontend-iso`."""
    if os.geteuid() != 0:
        pytest.skip("a root folder is made and entered by root")
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is not installed: tools/setup roll")
    isos = list((CHECKOUT / "dist").glob("rocks-frontend-*.iso"))
    if len(isos) != 1:
        pytest.skip("dist/ has not exactly one rocks-frontend-*.iso: make frontend-iso")
    (iso,) = isos
    folder = tmp_path_factory.mktemp("medium") / "content"
    run_checked(
        ["xorriso", "-osirrox", "on", "-indev", str(iso), "-extract", "/", str(folder)], deadline_seconds=300
    )
    return folder


@pytest.fixture
def machine(medium: Path, tmp_path: Path) -> Iterator[Root]:
    """A fresh machine without sources of packages, with the medium and a file of answers."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = make_bare_root(tmp_path / "machine")
    (folder / "media").mkdir(exist_ok=True)
    shutil.copytree(medium, folder / "media/rocks")
    (folder / "root/site").write_text(ANSWERS)
    root = Root(folder)
    root.done("sh", "-c", "ip link set lo up 2>/dev/null || true")
    yield root
    root.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_machine_without_a_network_becomes_a_frontend(machine: Root) -> None:
    """Interrupted by a power cut, continued, and complete; repeated, it changes nothing."""
    cut = 'setsid sh /media/rocks/install /root/site >/dev/null 2>&1 & sleep "$1"; kill -KILL -- -$!; wait; true'
    for seconds in ("3", "8"):
        machine.done("sh", "-c", cut, "sh", seconds)
    without_systemd = machine.run(*_INSTALL)
    assert without_systemd.exit_status == 1
    assert "the database does not run: start rocks-database.service" in without_systemd.error_text
    assert not (machine.folder / "usr/sbin/policy-rc.d").exists()
    start_database(machine)
    made = machine.run(*_INSTALL)
    assert made.exit_status == 0, made.error_text
    assert "entered: frontend head, private 10.9.9.2 on lo" in made.text
    assert "interface lo:" in made.text, "rocks check site"
    assert "Frontend" in machine.done("rocks", "list", "host")
    assert __version__ in machine.done("rocks", "--version")

    before = machine.done("rocks", "dump")
    again = machine.run(*_INSTALL)
    assert again.exit_status == 0, again.error_text
    assert "is a frontend already" in again.text
    assert machine.done("rocks", "dump") == before

    (machine.folder / "media/rocks/version").write_text("0.0.1-1\n")
    _list_again(machine)
    older = machine.run(*_INSTALL)
    assert older.exit_status == 1 and "is not taken back to an older version" in older.error_text


def _list_again(machine: Root) -> None:
    machine.done(
        "sh",
        "-c",
        "cd /media/rocks && find . -type f ! -name SHA256SUMS | sort | xargs sha256sum >SHA256SUMS",
    )


def _change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda top: _change(next((top / "repository").glob("rocks-cli_*.deb"))), "checking the files"),
        (lambda top: _truncate(next((top / "repository").glob("rocks-common_*.deb"))), "checking the files"),
        (lambda top: next((top / "repository").glob("rocks-cli_*.deb")).unlink(), "checking the files"),
        (lambda top: (top / "repository/Packages").unlink(), "has no file repository/Packages"),
        (lambda top: (top / "SHA256SUMS").write_text(""), "has no file SHA256SUMS"),
        (lambda top: (top / "repository/more.deb").write_text("x"), "that its list SHA256SUMS does not name"),
        (lambda top: _change(top / "SHA256SUMS"), ""),
    ],
)
def test_a_damaged_medium_installs_nothing(
    machine: Root, damage: Callable[[Path], object], what: str
) -> None:
    before = machine.paths()
    damage(machine.folder / "media/rocks")
    refused = machine.run(*_INSTALL)
    assert refused.exit_status == 1
    assert what in refused.text + refused.error_text and "Error: " in refused.error_text
    changed = {path for path in machine.paths() ^ before if not path.startswith("/media/")}
    assert not changed
    assert not machine.done("sh", "-c", "ls /run | grep rocks || true")


@pytest.mark.parametrize("arguments", [("/root/absent",), ("/root",), ("/root/site", "more")])
def test_wrong_arguments_change_nothing(machine: Root, arguments: tuple[str, ...]) -> None:
    before = machine.paths()
    refused = machine.run("sh", "/media/rocks/install", *arguments)
    assert refused.exit_status == 1 and refused.error_text.startswith("Error: ")
    assert machine.paths() == before
