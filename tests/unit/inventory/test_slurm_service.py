"""`rocks sync slurm` when it is interrupted, with programs that record how they are called.

A real Slurm does it in tests/system/nucleus.
"""

from __future__ import annotations

import os
import resource
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from rocks.core import dry_run
from rocks.core.errors import HostError, RocksError, StateError
from rocks.inventory import slurm_service
from rocks.inventory.slurm_configuration import MARK
from rocks.inventory.slurm_service import SyncedSlurm, store_pending, sync_slurm

if TYPE_CHECKING:
    from pathlib import Path

OLD = f"{MARK}\nNodeName=a CPUs=1\nNodeName=b CPUs=1\n"
NEW = f"{OLD}NodeName=c CPUs=1\n"
_PROGRAM = """#!/bin/sh
echo "${{0##*/}} $*" >> {folder}/calls
cat {folder}/"${{0##*/}}-$1" 2>/dev/null
[ ! -e {folder}/"${{0##*/}}-$1-fails" ]
"""


class Recorded:
    """A folder with slurm.conf, and programs that record their calls in `calls`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.path, self.requested = folder, folder / "slurm.conf", NEW
        for name in ("systemctl", "scontrol", "sinfo", "squeue"):
            program = folder / name
            program.write_text(_PROGRAM.format(folder=folder), "ascii")
            program.chmod(0o755)
        (folder / "scontrol-ping").write_text("Slurmctld(primary) at head is UP\n", "ascii")
        (folder / "sinfo---noheader").write_text("a\nb\n", "ascii")
        self.path.write_text(OLD, "ascii")
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.setenv("SLURM_CONF", str(self.path))
        monkeypatch.setattr(slurm_service, "load_configuration", self.load)
        monkeypatch.setattr(slurm_service, "runs_here", lambda: True)

    def load(self, _: object) -> tuple[str, tuple[str, ...]]:
        self.record("load")
        return self.requested, ("a", "b", "c")

    def record(self, line: str) -> None:
        with dry_run.reading(), (self.folder / "calls").open("a", encoding="ascii") as calls:
            calls.write(f"{line}\n")

    def sync(self) -> SyncedSlurm:
        with dry_run.reading():
            (self.folder / "calls").unlink(missing_ok=True)
        database: Any = SimpleNamespace(
            end_reading=lambda: None, lock=lambda name, _: self.record(f"lock {name}")
        )
        return sync_slurm(database)

    def calls(self, program: str = "") -> list[str]:
        lines = (self.folder / "calls").read_text("ascii").splitlines()
        return [line for line in lines if line.startswith(program)]

    def states(self) -> list[str]:
        return [line.split()[1] for line in self.calls("systemctl st")]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    return Recorded(tmp_path, monkeypatch)


def test_the_database_is_read_under_the_lock(recorded: Recorded) -> None:
    recorded.sync()
    assert recorded.calls()[:2] == ["lock slurm.conf", "load"]
    assert recorded.states() == ["stop", "start"] and recorded.path.read_text("ascii") == NEW


def test_a_file_that_cannot_be_written_stops_nothing(recorded: Recorded) -> None:
    recorded.requested = NEW + "# full\n" * 1000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(HostError, match=r"cannot write .*slurm\.conf: File too large"):
            recorded.sync()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert recorded.states() == ["start"] and recorded.path.read_text("ascii") == OLD


def test_it_starts_again_with_the_old_file_when_the_stop_fails(recorded: Recorded) -> None:
    (recorded.folder / "systemctl-stop-fails").touch()
    with pytest.raises(RocksError):
        recorded.sync()
    assert recorded.states() == ["stop", "start"] and recorded.path.read_text("ascii") == OLD


def test_what_systemctl_says_in_two_lines_is_one_sentence(recorded: Recorded) -> None:
    """The second line is where to look, or what it tried further."""
    (recorded.folder / "systemctl-start-fails").touch()
    (recorded.folder / "systemctl-start").write_text("It cannot.\nHost is down\n", "ascii")
    with pytest.raises(HostError) as refused:
        recorded.sync()
    failed = "systemctl failed with exit status 1: It cannot; journalctl -u slurmctld says why"
    assert str(refused.value) == f"cannot start slurmctld: {failed}"


@pytest.mark.parametrize("has_systemd", [True, False])
def test_where_slurmctld_cannot_be_started_no_node_is_drained(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, *, has_systemd: bool
) -> None:
    recorded.requested = f"{MARK}\nNodeName=a CPUs=1\n"
    (recorded.folder / "systemctl-cat-fails").touch()
    monkeypatch.setattr(slurm_service, "runs_here", lambda: has_systemd)
    with pytest.raises(StateError) as refused:
        recorded.sync()
    absent = (
        "no service slurmctld: rocks sync host profile" if has_systemd else "systemd does not run on this"
    )
    assert str(refused.value).startswith("nothing was changed: ") and absent in str(refused.value)
    assert recorded.calls("scontrol") == [] and recorded.path.read_text("ascii") == OLD
    assert not (recorded.folder / "slurm.conf.pending").exists()


def test_a_node_that_somebody_has_drained_keeps_the_reason(recorded: Recorded) -> None:
    """One of the health check gets another: it would be resumed when its machine is off."""
    recorded.requested = f"{MARK}\nNodeName=c CPUs=1\n"
    rows = "a|drained|testing\nb|draining|vm-without-job\n"
    (recorded.folder / "sinfo---noheader").write_text(rows, "ascii")
    (recorded.folder / "systemctl-is-active-fails").touch()
    recorded.sync()
    assert recorded.calls("scontrol update") == [
        "scontrol update nodename=b state=drain reason=rocks sync slurm"
    ]


def test_a_dry_run_does_not_say_that_nodes_are_drained(recorded: Recorded, lines: list[str]) -> None:
    recorded.requested = f"{MARK}\nNodeName=a CPUs=1\n"
    with dry_run.reading():
        (recorded.folder / "squeue---noheader").write_text("7 b\n", "ascii")
    with pytest.raises(StateError, match="job 7 still has b.* a run would stop here; when"):
        recorded.sync()
    assert lines == [
        "this machine: would run `scontrol update nodename=b state=drain 'reason=rocks sync slurm'`"
    ]


def test_a_killed_command_is_completed_by_the_next(recorded: Recorded) -> None:
    assert recorded.sync().hosts == ("a", "b", "c")
    again = recorded.sync()  # the first one was killed before the hosts
    assert not again.changed and again.hosts == ("a", "b", "c") and recorded.calls("scontrol ping")
    store_pending(recorded.path, ["b", "removed"])
    assert recorded.sync().hosts == ("b",)
    store_pending(recorded.path, [])
    assert recorded.sync().hosts == () and recorded.states() == ["start"]


def test_nodes_that_only_the_running_slurmctld_has_keep_their_jobs(recorded: Recorded) -> None:
    recorded.path.write_text(f"{MARK}\n", "ascii")
    (recorded.folder / "sinfo---noheader").write_text("a\nlost\n", "ascii")
    (recorded.folder / "squeue---noheader").write_text("7 lost\n", "ascii")
    with pytest.raises(StateError, match="job 7 still has lost"):
        recorded.sync()
    assert recorded.states() == []


def test_a_slurmctld_that_its_file_keeps_from_starting_has_a_way_out(recorded: Recorded) -> None:
    """A line of the site was wrong; it is corrected in site.conf, and a host was removed meanwhile."""
    recorded.requested = f"{MARK}\nNodeName=a CPUs=1\n"
    for name in ("systemctl-is-active-fails", "systemctl-start-fails", "scontrol-update-fails"):
        (recorded.folder / name).touch()
    with pytest.raises(HostError) as raised:
        recorded.sync()
    assert "systemctl start slurmctld, then repeat this" in str(raised.value)
    assert f"does not start with the present {recorded.path}" in str(raised.value)
    (recorded.folder / "systemctl-start-fails").unlink()
    (recorded.folder / "scontrol-update-fails").unlink()
    assert recorded.sync().changed


@pytest.mark.parametrize("is_missing", [True, False])
def test_a_lost_file_is_not_replaced_while_slurmctld_runs(recorded: Recorded, *, is_missing: bool) -> None:
    recorded.path.write_text("\n", "ascii")
    if is_missing:
        recorded.path.unlink()
    with pytest.raises(StateError, match="empty or missing, and slurmctld runs"):
        recorded.sync()
    assert recorded.states() == []
    (recorded.folder / "systemctl-is-active-fails").touch()
    assert recorded.sync().changed


def test_the_first_configuration_may_have_lists_of_nodes(recorded: Recorded) -> None:
    """Without slurm.conf, scontrol ends with an error after a minute (seen with 22.05.8)."""
    recorded.path.unlink()
    for failing in ("systemctl-is-active-fails", "scontrol-show-fails"):
        (recorded.folder / failing).touch()
    recorded.requested = f"{NEW}NodeName=extra[1-3] CPUs=2\n"
    assert recorded.sync().changed and recorded.path.read_text("ascii") == recorded.requested
