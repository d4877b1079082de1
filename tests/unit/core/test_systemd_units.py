"""The states of systemd's units, from what `systemctl show` of systemd 252 prints."""

from pathlib import Path

import pytest

from rocks.core import systemd_units as units
from rocks.core.process import Finished
from rocks.core.systemd_units import UnitState, read_units

OUTPUT = b"""\
Id=rocks-nucleus.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled

Id=absent.service
LoadState=not-found
ActiveState=inactive
UnitFileState=

Id=rocks-dns.service
LoadState=loaded
ActiveState=failed
UnitFileState=disabled
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """A machine with systemd, whose systemctl answers as recorded; the programs that were run."""
    programs: list[list[str]] = []

    def run(arguments: list[str], deadline_seconds: float) -> Finished:
        programs.append(arguments)
        return Finished(arguments, 0, OUTPUT, b"")

    monkeypatch.setattr(units, "_RUNNING", tmp_path)
    monkeypatch.setattr("shutil.which", lambda _: "/bin/systemctl")
    monkeypatch.setattr(units, "run", run)
    return programs


def test_each_installed_unit_has_its_state(asked: list[list[str]]) -> None:
    """One question for all; a unit that is not installed is left out."""
    names = ["rocks-nucleus.service", "absent.service", "rocks-dns.service"]
    assert read_units(names) == {
        "rocks-nucleus.service": UnitState("active", True),
        "rocks-dns.service": UnitState("failed", False),
    }
    assert [program[-4:] for program in asked] == [["--", *names]]


def test_without_systemd_nothing_is_asked(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither where another process is the first, nor where there is no systemctl."""
    monkeypatch.setattr(units, "_RUNNING", tmp_path / "absent")
    assert read_units(["rocks-dns.service"]) == {}
    monkeypatch.setattr(units, "_RUNNING", tmp_path)
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert read_units(["rocks-dns.service"]) == {}
    assert asked == []
