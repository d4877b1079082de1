"""The lab's sources of packages, with an apt that this test plays."""

from pathlib import Path

import pytest

from lab.build.mirrors import release, sources
from rocks.core.errors import StateError

_INDEXES = """\
Packages main bookworm http://one.example/debian/
Translations main bookworm http://one.example/debian/
Packages main bookworm http://two.example/debian/
Packages main bookworm-updates http://one.example/debian/
Packages main bookworm-security http://one.example/security/
Packages extra stable http://other.example/
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What apt-get indextargets prints; apt-get update does nothing."""
    monkeypatch.setenv("DEBIAN_RELEASE", "bookworm")
    printed = tmp_path / "indexes"
    program = tmp_path / "apt-get"
    program.write_text(f'#!/bin/sh\n[ "$1" != indextargets ] || cat "{printed}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")
    return printed


def test_first_mirror_of_each_archive_counts(apt: Path) -> None:
    """Other archives and other kinds of index are passed over; ZFS's source is in contrib, QEMU 10 in the backports."""
    apt.write_text(_INDEXES)
    lines = [line.split()[2:] for line in sources().splitlines()]
    assert lines == [
        ["http://one.example/debian/", "bookworm", "main", "contrib"],
        ["http://one.example/debian/", "bookworm-updates", "main", "contrib"],
        ["http://one.example/security/", "bookworm-security", "main", "contrib"],
    ]
    assert sources(backports=True).splitlines()[-1].split()[2:4] == [
        "http://one.example/debian/",
        "bookworm-backports",
    ]


def test_missing_archive_is_one_sentence(apt: Path) -> None:
    """Without the security archive the kernel's packages are not found."""
    apt.write_text("".join(_INDEXES.splitlines(keepends=True)[:4]))
    with pytest.raises(StateError, match="^apt on this machine names no mirror of bookworm-security"):
        sources()


def test_another_release_is_at_the_same_mirrors(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEBIAN_RELEASE")
    own = release()
    other = {"bookworm": "trixie", "trixie": "bookworm"}[own]
    apt.write_text(_INDEXES.replace("bookworm", own))
    monkeypatch.setenv("DEBIAN_RELEASE", other)
    lines = [line.split()[2:4] for line in sources().splitlines()]
    assert lines == [
        ["http://one.example/debian/", other],
        ["http://one.example/debian/", f"{other}-updates"],
        ["http://one.example/security/", f"{other}-security"],
    ]


@pytest.mark.parametrize("name", ["jammy", "sid", "Bookworm", "bookworm trixie", "$(id)"])
def test_another_system_is_refused_in_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBIAN_RELEASE", name)
    with pytest.raises(StateError) as refused:
        release()
    assert str(refused.value) == f"DEBIAN_RELEASE is {name}: use a Debian 12 or 13 (bookworm, trixie)"
