"""`rocks drain host`: what is decided from the records, before a machine is stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import rocks.commands.drain.host as drain_command
from rocks.core.errors import BusyError, HostError, RocksError, StateError
from rocks.database.connection import Database
from rocks.inventory import slurm_drains
from rocks.inventory.records import VirtualMachine
from rocks.leases import lease as vm_locks
from rocks.machine import drain
from rocks.machine.drain import Capacity
from rocks.machine.live_move import RefusedError
from rocks.machine.outcomes import Outcomes
from tests.patience import patience
from tests.system.commands.conftest import Site


def names_of(machines: Sequence[VirtualMachine]) -> list[str]:
    return [vm.name for vm in machines]


@pytest.fixture
def stops(vm_site: Site) -> list[list[str]]:
    """The machine `web` runs on `vmc-0-0`, and `vmc-0-1` has memory for it; the machines that are to be stopped."""
    vm_site.done("add host vm vmc-0-0 'membership=Hosted VM' name=web")
    vm_site.take_lease("web", "vmc-0-0")
    stopped: list[list[str]] = []
    vm_site.patch.setattr(drain, "ensure_epoch", lambda *_: None)
    vm_site.patch.setattr(drain, "capacities_of", lambda *_: [Capacity("vmc-0-1", 100_000)])
    vm_site.patch.setattr(
        drain, "stop_machines", lambda _, machines, *__, **___: stopped.append(names_of(machines))
    )
    return stopped


def test_a_machine_that_cannot_be_moved_is_not_stopped(vm_site: Site, stops: list[list[str]]) -> None:
    vm_site.change("UPDATE vm_disks SET VBD_Type = 'phy', Prefix = '/dev', Name = 'vg0/web'")
    ended = vm_site.rocks("drain host vmc-0-0 to=vmc-0-1")
    assert ended.status == 1
    assert "is a device of vmc-0-0, and only files and images of a NAS are moved" in ended.err
    assert "it was not stopped, and is on vmc-0-0" in ended.err
    assert stops == []


def test_a_machine_is_not_stopped_for_a_host_without_memory_for_it(
    vm_site: Site, stops: list[list[str]]
) -> None:
    vm_site.patch.setattr(drain, "capacities_of", lambda *_: [Capacity("vmc-0-1", 1)])
    ended = vm_site.rocks("drain host vmc-0-0 to=vmc-0-1")
    assert ended.status == 1 and "has 1 MB, the most" in ended.err and stops == []


@pytest.mark.usefixtures("stops")
def test_the_sites_slurm_gives_the_host_to_no_job(vm_site: Site, tmp_path: Path) -> None:
    program, calls = tmp_path / "scontrol", tmp_path / "calls"
    program.write_text(f'#!/bin/sh\necho "$*" >>{calls}\n', "ascii")
    (tmp_path / "sinfo").write_text("#!/bin/sh\n", "ascii")
    for path in (program, tmp_path / "sinfo"):
        path.chmod(0o755)
    vm_site.patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    vm_site.patch.setenv("SLURM_CONF", str(program))
    line = "until `scontrol update nodename={} state=resume`"
    for number in (8, 9):
        vm_site.done(f"add host compute-0-{number} membership=compute rack=0 rank={number}")
    vm_site.rocks("drain host vmc-0-0 to=vmc-0-1 dry-run=yes")
    assert not calls.exists()
    assert line.format("vmc-0-0") in vm_site.rocks("drain host vmc-0-0").err
    assert vm_site.rocks("remove host vmc-0-0").status == 1, "it has a machine"
    assert line.format("vmc-0-1") in vm_site.rocks("remove host vmc-0-1").err
    assert [call.split()[1] for call in calls.read_text("ascii").splitlines()] == [
        "nodename=vmc-0-0",
        "nodename=vmc-0-1",
    ]
    program.write_text(f'#!/bin/sh\necho "$*" >>{calls}\nexec sleep 600\n', "ascii")
    vm_site.patch.setattr(slurm_drains, "_SECONDS", patience(0.5))  # in which the program begins
    silent = vm_site.rocks("remove host compute-0-8 compute-0-9")
    assert silent.status == 0 and "compute-0-9" not in vm_site.rocks("list host").out
    for number in (8, 9):
        assert f"run `scontrol update nodename=compute-0-{number} state=drain" in silent.err
    assert len(calls.read_text("ascii").splitlines()) == 3, "a silent Slurm is asked once"


LIVE = ("drain", "host", "vmc-0-0", "to=vmc-0-1", "live=yes")
REFUSAL = RefusedError("web does not move while it runs: it has a device of its host")


@pytest.fixture
def moved(vm_site: Site, stops: list[list[str]]) -> Moved:
    """The live moves that are tried, and what each of them comes to."""
    found = Moved()
    vm_site.patch.setattr(drain, "move_running_vm", found.move)
    vm_site.patch.setattr(drain, "_can_leave", lambda *_: True)
    return found


class Moved:
    """`error`: what a move raises; `meanwhile`: what other commands do to the database before that."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.error: RocksError | None = None
        self.meanwhile = ""

    def move(self, database: Database, name: str, host: str, *_: object) -> list[str]:
        self.calls.append((name, host))
        if self.meanwhile:
            database.execute(self.meanwhile, ())
            database.commit()
        if self.error is not None:
            raise self.error
        return [f"{name} runs on {host} now"]


def test_a_machine_that_can_is_moved_while_it_runs(
    vm_site: Site, stops: list[list[str]], moved: Moved
) -> None:
    assert "live=yes moves machines, so it needs the hosts" in vm_site.refused(*LIVE[:3], "live=yes")
    assert vm_site.done(*LIVE) == "web runs on vmc-0-1 now\n"
    assert (moved.calls, stops) == ([("web", "vmc-0-1")], [])


def test_a_machine_that_cannot_is_stopped_and_a_line_says_why(
    vm_site: Site, stops: list[list[str]], moved: Moved
) -> None:
    moved.error = REFUSAL
    vm_site.patch.setattr(
        drain,
        "stop_machines",
        lambda _, machines, *__, **___: stops.append(names_of(machines)) or Outcomes(),
    )
    vm_site.patch.setattr(drain, "move_vm", lambda *_: ["web is on vmc-0-1 now"])
    vm_site.patch.setattr(drain_command, "start_outcomes", lambda *_: Outcomes({"web": ()}))
    ended = vm_site.rocks(*LIVE)
    assert ended.status == 0 and stops == [["web"]]
    assert f"web is stopped for its move: {REFUSAL}" in ended.err
    assert "web is on vmc-0-1 now\nweb runs again\n" in ended.out


@pytest.mark.parametrize(
    ("error", "meanwhile"),
    [
        (HostError("the connection has ended; it runs on vmc-0-0"), ""),
        (BusyError("another command is changing web"), ""),
        (StateError("nothing is started yet: the database was restored"), ""),
        (REFUSAL, "UPDATE vm_leases SET State = 'moving', Target = 'vmc-0-1'"),
        (REFUSAL, "UPDATE vm_leases SET Host = 'vmc-0-1'"),
        (REFUSAL, "UPDATE vm_leases SET State = 'released', Host = NULL"),
    ],
)
def test_a_machine_whose_move_was_begun_is_not_stopped(
    vm_site: Site, stops: list[list[str]], moved: Moved, error: RocksError, meanwhile: str
) -> None:
    """Nor one that another command has moved or stopped."""
    moved.error, moved.meanwhile = error, meanwhile
    ended = vm_site.rocks(*LIVE)
    assert ended.status == 1 and str(error) in ended.err and stops == []


PLACE = (
    "UPDATE vm_nodes SET PhysNode = (SELECT ID FROM nodes WHERE Name = '{}')"
    " WHERE Node = (SELECT ID FROM nodes WHERE Name = 'web')"
)


@pytest.mark.parametrize("host", ["head", "vmc-0-0"])
def test_an_interrupted_move_is_ended_but_not_repeated(
    vm_site: Site, stops: list[list[str]], moved: Moved, host: str
) -> None:
    """The host where it was going is none of the targets: what is still on its old host goes to one of those."""

    def settle(database: Database, *_: object, **__: object) -> list[str]:
        database.execute(
            "UPDATE vm_leases SET State = 'running', Host = %s, Target = NULL WHERE Name = 'web'", [host]
        )
        database.execute(PLACE.format(host), ())
        database.commit()
        return [f"web is on {host} after its move"]

    vm_site.change("UPDATE vm_leases SET State = 'moving', Target = 'head'")
    vm_site.patch.setattr(drain, "settle", settle)
    ended = vm_site.rocks(*LIVE)
    assert ended.status == 0 and stops == []
    if host == "head":
        assert (ended.out, moved.calls) == ("web is on head after its move\n", [])
    else:
        assert "web is on vmc-0-0 after its move" in ended.err
        assert (ended.out, moved.calls) == ("web runs on vmc-0-1 now\n", [("web", "vmc-0-1")])


@pytest.mark.parametrize("live", ["no", "yes"])
def test_nothing_is_stopped_while_nothing_could_start_again(
    vm_site: Site, stops: list[list[str]], moved: Moved, live: str
) -> None:
    """After a restore of the database, while a host is silent."""

    def refuse(*_: object) -> None:
        raise StateError("nothing is started yet: the database was restored")

    vm_site.patch.setattr(drain, "ensure_epoch", refuse)
    assert "nothing is started yet" in vm_site.refused(*LIVE[:4], f"live={live}")
    assert (moved.calls, stops) == ([], [])


@pytest.fixture
def started(stops: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stops and moves succeed; the machines that are started again, where every start is refused."""
    names: list[str] = []

    def start(_: object, started: list[str], *__: object) -> Outcomes:
        names.extend(started)
        raise StateError("nothing is started yet")

    monkeypatch.setattr(
        drain,
        "stop_machines",
        lambda _, machines, *__, **___: stops.append(names_of(machines)) or Outcomes(),
    )
    monkeypatch.setattr(drain, "_can_leave", lambda *_: True)
    monkeypatch.setattr(drain, "move_vm", lambda *_: ["moved to vmc-0-1"])
    monkeypatch.setattr(drain_command, "start_outcomes", start)
    return names


def test_a_start_that_is_refused_ends_no_drain(
    vm_site: Site, stops: list[list[str]], started: list[str]
) -> None:
    vm_site.done("add host vm vmc-0-0 'membership=Hosted VM' name=off")
    vm_site.done("add host vm vmc-0-0 'membership=Hosted VM' name=zoo")
    ended = vm_site.rocks(*LIVE[:4])
    assert (ended.status, stops, started) == (3, [["web"]], ["web"])
    assert "web: nothing is started yet" in ended.err
    assert (ended.out + ended.err).count("moved to vmc-0-1") == 3


@pytest.mark.parametrize("live", ["no", "yes"])
@pytest.mark.parametrize(
    ("state", "text"),
    [("released", "web is off by now: another command has stopped it"), ("saved", "web is saved on vmc-0-0")],
)
def test_a_machine_that_was_stopped_meanwhile_is_not_started(
    vm_site: Site,
    started: list[str],
    stops: list[list[str]],
    live: str,
    state: str,
    text: str,
) -> None:
    """Between the list of the machines and its turn its owner has stopped it."""

    def stop(*_: object) -> list[Capacity]:
        host = None if state == "released" else "vmc-0-0"
        vm_site.change("UPDATE vm_leases SET State = %s, Host = %s", [state, host])
        return [Capacity("vmc-0-1", 100_000)]

    vm_site.patch.setattr(drain, "capacities_of", stop)
    ended = vm_site.rocks(*LIVE[:4], f"live={live}")
    assert text in ended.out + ended.err and (stops, started) == ([], [])
    assert ("moved to vmc-0-1" in ended.out) == (state == "released")


@pytest.mark.parametrize("live", ["no", "yes"])
def test_a_machine_that_has_left_meanwhile_is_left_alone(
    vm_site: Site, stops: list[list[str]], moved: Moved, live: str
) -> None:
    """Between the list of the machines and its turn another command has moved it."""

    def move_away(*_: object) -> list[Capacity]:
        vm_site.change(
            "UPDATE vm_nodes SET PhysNode = (SELECT ID FROM nodes WHERE Name = 'vmc-0-1')"
            " WHERE Node = (SELECT ID FROM nodes WHERE Name = 'web')"
        )
        return [Capacity("vmc-0-1", 100_000)]

    vm_site.patch.setattr(drain, "capacities_of", move_away)
    assert "web is on vmc-0-1 by now" in vm_site.done(*LIVE[:4], f"live={live}")
    assert (moved.calls, stops) == ([], [])


@pytest.mark.parametrize("live", ["no", "yes"])
def test_a_machine_that_another_command_changes_is_left_to_it(
    vm_site: Site, stops: list[list[str]], moved: Moved, live: str
) -> None:
    vm_site.patch.setattr(vm_locks, "LOCK_WAIT_SECONDS", 0.0)
    vm_site.database.lock("vm web", 0)
    assert "another command is changing web" in vm_site.refused(*LIVE[:4], f"live={live}")
    assert (moved.calls, stops) == ([], [])
    vm_site.database.unlock("vm web")


@pytest.mark.parametrize("state", ["released", "stopping", "running"])
def test_a_machine_that_another_command_stops_is_waited_for(
    vm_site: Site, stops: list[list[str]], state: str
) -> None:
    """The other command holds its lock until it has emptied the host; `running`: it is not stopping the machine."""
    vm_site.patch.setattr(vm_locks, "LOCK_WAIT_SECONDS", 0.0)
    end = "UPDATE vm_leases SET State = 'released', Host = NULL"
    vm_site.patch.setattr(drain, "wait_seconds", lambda _: vm_site.change(end))
    lock_vms = drain.lock_vms

    def lock(*arguments: Any, **options: Any) -> dict[str, RocksError]:
        vm_site.change(end if state == "released" else f"UPDATE vm_leases SET State = '{state}'")
        return lock_vms(*arguments, **options)

    vm_site.patch.setattr(drain, "lock_vms", lock)
    vm_site.database.lock("vm web", 0)
    ended = vm_site.rocks("drain host vmc-0-0")
    vm_site.database.unlock("vm web")
    if state == "running":
        assert ended.status == 1 and "another command is changing web" in ended.err
    else:
        assert (ended.status, ended.out) == (0, "web is off by now: another command has stopped it\n")
    assert stops == []
