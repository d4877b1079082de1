"""What a frontend sends that is not what it was asked for: bounded, refused, and nothing of it is left here."""

import io
import itertools
import os
import shlex
import tarfile
from collections import namedtuple
from pathlib import Path

import pytest

from comet.client.errors import OperationFailedError
from comet.client.launch_frontend import Frontend
from tests.contract.ssh_programs import path_with

Disk = namedtuple("Disk", "f_bavail f_frsize f_files f_favail")


class Hostile(Frontend):
    """A frontend that answers everything with the output of a command."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__("root", "203.0.113.9", "comet-launch/g.1")
        self.here, self.programs = folder / "here", folder / "programs"
        self.here.mkdir()
        self.programs.mkdir()
        monkeypatch.setenv("PATH", path_with(self.programs))

    def prints(self, command: str) -> None:
        (self.programs / "ssh").write_text(f"#!/bin/sh\n{command}\n")
        (self.programs / "ssh").chmod(0o755)

    def sends(self, *entries: tarfile.TarInfo) -> None:
        """An archive of entries, whose files are empty."""
        file = self.programs / "archive"
        with tarfile.open(file, "w") as tar:
            for it in entries:
                tar.addfile(it, io.BytesIO(b"\0" * it.size))
        self.prints(f"echo comet-launch 1; cat {shlex.quote(str(file))}")

    def fails(self) -> str:
        """Why results are not fetched."""
        with pytest.raises(OperationFailedError) as failed:
            self.fetch(["output", "poses"], self.here / "part")
        assert list(self.here.iterdir()) == []
        return str(failed.value)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hostile:
    return Hostile(tmp_path, monkeypatch)


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size, found.mode = kind, target, size, 0o755
    return found


@pytest.mark.parametrize(
    "name",
    [
        "../away",
        "poses/../../away",
        "away",
        "poses/\x1b[2J",
        "poses/a\nb",
        "poses/\x9b2J",
    ],
)
def test_names_that_were_not_asked_for_are_refused(hostile: Hostile, name: str) -> None:
    hostile.sends(entry("poses/x"), entry(name, tarfile.DIRTYPE))
    reason = hostile.fails()
    assert reason.isprintable() and not (hostile.here.parent / "away").exists()


def test_nothing_is_written_outside(hostile: Hostile, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    hostile.sends(entry("poses", tarfile.SYMTYPE, str(away)), entry("poses/x"))
    assert "poses" in hostile.fails()
    hostile.sends(entry(f"{away}/x"))
    hostile.fails()
    hostile.sends(entry("poses", tarfile.LNKTYPE, f"{away}/none"))
    hostile.fails()
    assert list(away.iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_refused(hostile: Hostile, kind: bytes) -> None:
    hostile.sends(entry("poses", tarfile.DIRTYPE), entry("poses/odd", kind))
    assert "poses/odd" in hostile.fails()


def test_results_end_where_the_disk_does(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever size the frontend has stated: as bytes, and as files without content."""
    left = itertools.count(20, -1)
    monkeypatch.setattr(os, "statvfs", lambda path: Disk(next(left), 1 << 20, 0, 0))
    header = entry("poses", size=8 << 30).tobuf(tarfile.GNU_FORMAT)
    (hostile.programs / "header").write_bytes(header)
    hostile.prints(f"echo comet-launch 1; cat {hostile.programs}/header; exec cat /dev/zero")
    assert f"they do not fit, and 0 MB can be used in {hostile.here}" in hostile.fails()
    monkeypatch.setattr(os, "statvfs", lambda path: Disk(1 << 30, 1 << 20, 1 << 30, 4000))
    assert "for 4000 files" in hostile.fails()
    hostile.prints("echo comet-launch 99999999999999999999; exec cat /dev/zero")
    assert "prints other text" in hostile.fails()


def test_what_is_no_archive_is_refused(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: Disk(70, 1 << 20, 0, 0))
    for command in (
        "yes",
        "echo comet-launch 1; exec yes",
        "echo comet-launch 1; exec cat /dev/zero",
        "true",
    ):
        hostile.prints(command)
        hostile.fails()


@pytest.mark.parametrize(
    "command", ["exec yes", "exec yes >&2", "echo 'comet-launch \x1b[2J'", "echo comet-launch 12345"]
)
def test_an_endless_or_odd_answer_is_bounded(hostile: Hostile, command: str) -> None:
    hostile.prints(command)
    with pytest.raises(OperationFailedError, match="ssh root@203|root@203.* does not run commands by SSH"):
        hostile.look(0)


def test_a_part_of_the_output_has_its_largest_size(hostile: Hostile) -> None:
    hostile.prints("echo comet-launch 0; head -c 600000 /dev/zero | tr '\\0' x")
    assert hostile.look(0) == ("0", b"x" * (1 << 18))


def test_an_error_that_is_long_is_short(hostile: Hostile) -> None:
    hostile.prints("head -c 500000 /dev/zero | tr '\\0' x >&2; exit 1")
    with pytest.raises(OperationFailedError, match=r"ssh root@203.0.113.9: x{300}$"):
        hostile.prepare()
