"""What the service of high availability starts, round by round; hosts, leases and commands are made up."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from rocks.core.errors import BusyError, HostError, RocksError
from rocks.fleet.agent_line import NoAgentError
from rocks.fleet.settings import CannotAskError
from rocks.inventory.records import Lease
from rocks.machine.moves import high_availability
from rocks.machine.moves.ha_watch import REASON
from rocks.machine.moves.high_availability import Supervisor

HEAD, OLD, NEW, OTHER = "head", "vmh1", "vmh2", "vmh3"
NAME = "vm-a-0"
OURS = f"{REASON}{OLD} has not answered for 60 s"


class Site:
    """Three hosts and the frontend; `faults` has the errors of hosts, `commands` what the service has run."""

    def __init__(self) -> None:
        self.lease = Lease(NAME, 7, OLD, "running")
        self.place = OLD
        self.faults: dict[str, RocksError] = {}
        self.states = {NAME: "running"}
        self.noted_ends: tuple[str, ...] | None = ()
        self.is_busy = False
        self.reasons: list[tuple[list[str], str]] = []
        self.commands: list[list[str]] = []
        self.log: list[str] = []
        self.now = 0.0
        self.goes_on = threading.Event()
        self.goes_on.set()

    def ask(self, database: Any, fleet: Any, hosts: Sequence[str], **_: Any) -> dict[str, object]:
        domains = [SimpleNamespace(name=name, state=state) for name, state in self.states.items()]
        facts = SimpleNamespace(domains=domains, noted_ends=self.noted_ends)
        return {host: self.faults.get(host, facts) for host in hosts}

    def lock_vms(self, _: Any, names: Sequence[str], *, also_moving: bool) -> dict[str, BusyError]:
        assert also_moving
        return {name: BusyError("another command works on it") for name in names if self.is_busy}

    def set_state(self, _: Any, names: list[str], state: str, intent: str | None, reason: str) -> None:
        assert (state, intent) in (("running", None), ("moving", "move"))
        self.lease = replace(self.lease, reason=reason)
        self.reasons.append((names, reason))

    def run(self, arguments: list[str], deadline_seconds: float) -> SimpleNamespace:
        self.commands.append(arguments[1:])
        assert self.goes_on.wait(60)
        return SimpleNamespace(text="", error_text="")

    def look(self, supervisor: Supervisor, rounds: int = 1) -> None:
        """Rounds of ten seconds each; what they began has ended, unless it was made to wait."""
        for _ in range(rounds):
            supervisor.look()
            self.now += 10
            if self.goes_on.is_set():
                for work in supervisor._at_work.values():
                    work.thread.join(60)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Its machine has high availability and runs on vmh1."""
    found = Site()
    hosts = [HEAD, OLD, NEW, OTHER]
    records = [SimpleNamespace(name=name, is_true=lambda _: True) for name in hosts]
    table = SimpleNamespace(
        vm_places=lambda _: {NAME: found.place},
        physical_hosts=lambda _: hosts,
        load_hosts=lambda *_: records,
    )
    for name, value in {
        "table": table,
        "leases": SimpleNamespace(
            read_leases=lambda *_, **__: {NAME: found.lease}, set_state=found.set_state
        ),
        "lock_vms": found.lock_vms,
        "unlock_vms": lambda *_: None,
        "has_attribute": lambda *_: True,
        "resolve_attribute": lambda *_: {NAME: "yes"},
        "resolve_secret": lambda *_: {OLD: "/fence", HEAD: "/fence"},
        "find_local_host": lambda _: HEAD,
        "open_fleet": lambda *_: contextlib.nullcontext(),
        "ask_facts": found.ask,
        "monotonic_seconds": lambda: found.now,
        "process": SimpleNamespace(run=found.run),
        "outside_of_unit": list,
        "watch_lines": lambda _, held: [
            f"{host} is watched for {', '.join(names)}" for host, names in held.items()
        ],
    }.items():
        monkeypatch.setattr(high_availability, name, value)
    yield found
    found.goes_on.set()


@pytest.fixture
def supervisor(site: Site) -> Supervisor:
    """Of the site."""
    database: Any = SimpleNamespace(lock=lambda *_: None, end_reading=lambda: None, commit=lambda: None)
    return Supervisor(database, "rocks", site.log.append)


def test_a_silent_host_is_evacuated(site: Site, supervisor: Supervisor) -> None:
    site.look(supervisor)
    site.faults[OLD] = HostError("cannot reach vmh1")
    site.look(supervisor, 8)
    ((*command, reason, fence, names),) = site.commands
    assert (command, fence, names) == (["evacuate", "host", OLD], "must-fence=yes", f"vm={NAME}")
    assert reason.startswith(f"reason={REASON}{OLD}")


def test_a_host_that_is_on_is_not_fenced_for_its_agent(site: Site, supervisor: Supervisor) -> None:
    """An agent that is being upgraded, or was removed; its guests run."""
    site.faults[OLD] = NoAgentError("the agent on host vmh1 does not start")
    site.look(supervisor, 30)
    assert site.commands == []
    assert site.log == [
        f"{OLD} is watched for {NAME}",
        f"{OLD} answers, but cannot be used: the agent on host vmh1 does not start",
    ]


def test_no_host_is_fenced_for_a_fault_of_this_machine(site: Site, supervisor: Supervisor) -> None:
    """Its key to the hosts cannot be read, so nothing is known of them."""
    site.look(supervisor)
    site.faults[OLD] = CannotAskError("this machine cannot read its SSH key")
    site.look(supervisor, 30)
    assert site.commands == []
    assert site.log[1:] == [f"{OLD} cannot be asked: this machine cannot read its SSH key"]


def test_hosts_that_this_machine_cannot_ask_do_not_show_that_it_reaches_others(
    site: Site, supervisor: Supervisor
) -> None:
    """One is silent, and no name server has the addresses of the others: this machine may be cut off."""
    site.look(supervisor)
    site.faults = {host: CannotAskError(f"no address of host {host}") for host in (NEW, OTHER)}
    site.faults[OLD] = HostError("cannot reach vmh1")
    site.look(supervisor, 30)
    assert site.commands == []
    assert any("this machine may be cut off" in line for line in site.log)


@pytest.mark.parametrize("place", [HEAD, NEW])
@pytest.mark.parametrize("state", ["released", "starting"])
def test_a_start_that_failed_or_was_killed_is_repeated(
    site: Site, supervisor: Supervisor, place: str, state: str
) -> None:
    """Also on this machine itself, which is not watched."""
    site.place = place
    site.lease = Lease(NAME, 8, place if state == "starting" else None, state, None, OURS)
    site.look(supervisor)
    site.look(supervisor, 6)
    assert site.commands == [["start", "host", "vm", NAME]] * 2


def test_this_machine_is_never_asked_or_fenced(site: Site, supervisor: Supervisor) -> None:
    """The unit's restrictions would hold for its agent; the command that starts a machine is outside of them."""
    site.place, site.lease = HEAD, Lease(NAME, 8, None, "released", None, OURS)
    site.faults[HEAD] = HostError("no libvirt in this unit")
    site.look(supervisor, 30)
    assert {command[0] for command in site.commands} == {"start"}


def test_a_machine_that_is_being_started_is_left_to_that_command(site: Site, supervisor: Supervisor) -> None:
    """The evacuation starts it on another host, which takes a while."""
    site.faults[OLD] = HostError("cannot reach vmh1")
    site.look(supervisor)
    site.goes_on.clear()
    site.look(supervisor, 8)
    site.place, site.lease = NEW, Lease(NAME, 8, NEW, "starting", "start", OURS)
    site.look(supervisor, 30)
    assert [command[0] for command in site.commands] == ["evacuate"]


def test_what_a_host_lost_with_its_power_is_started_there_again(site: Site, supervisor: Supervisor) -> None:
    """At the second question: between the first and the lease a command may have stopped the machine."""
    site.look(supervisor)
    site.states[NAME] = "shutoff"
    site.look(supervisor)
    assert site.commands == []
    site.look(supervisor)
    assert site.commands == [["start", "host", "vm", NAME]]
    assert site.reasons == [([NAME], f"{REASON}{OLD} does not run it any more")]
    assert f"{OLD} answers, but does not run {NAME} any more" in site.log[-1]


def test_a_start_there_that_was_killed_is_repeated(site: Site, supervisor: Supervisor) -> None:
    """Before it has changed the lease; after the first pause."""
    site.states.clear()
    site.look(supervisor, 2)
    site.look(supervisor, 5)
    assert len(site.commands) == 1
    site.look(supervisor, 2)
    assert site.commands == [["start", "host", "vm", NAME]] * 2


@pytest.mark.parametrize("noted_ends", [(NAME,), None])
def test_what_may_have_ended_by_itself_stays_off(
    site: Site, supervisor: Supervisor, noted_ends: tuple[str, ...] | None
) -> None:
    """Its end is noted and will be reported, or nobody notes ends on this host."""
    site.states[NAME], site.noted_ends = "shutoff", noted_ends
    site.look(supervisor, 20)
    assert site.commands == []


def test_what_a_command_works_on_is_left_to_it(site: Site, supervisor: Supervisor) -> None:
    site.states[NAME], site.is_busy = "shutoff", True
    site.look(supervisor, 5)
    assert (site.commands, site.reasons) == ([], [])
    site.is_busy, site.lease = False, replace(site.lease, state="stopping")
    site.look(supervisor, 5)
    assert site.commands == []


@pytest.mark.parametrize("silent", [OLD, NEW])
def test_a_machine_in_an_interrupted_move_is_reported_once(
    site: Site, supervisor: Supervisor, silent: str
) -> None:
    """Nothing is taken from either of its hosts; each failure has its line."""
    site.lease = Lease(NAME, 7, OLD, "moving", "move", None, NEW)
    site.look(supervisor)
    assert site.log == ["no machine with the attribute ha runs on another host"]
    for failures in (1, 2):
        site.faults[silent] = HostError(f"cannot reach {silent}")
        site.look(supervisor, 30)
        lines = [line for line in site.log if f"{silent} does not answer" in line]
        assert len(lines) == failures and f"{NAME} was moving from {OLD} to {NEW}" in lines[-1]
        site.faults.clear()
        site.look(supervisor)
    assert site.commands == []


def test_a_machine_in_an_interrupted_move_that_is_off_on_both_hosts_starts(
    site: Site, supervisor: Supervisor
) -> None:
    """At the second question, and unless it has ended by itself; the start ends the move."""
    site.lease = Lease(NAME, 7, OLD, "moving", "move", None, NEW)
    site.look(supervisor, 3)
    assert site.commands == []
    site.states[NAME], site.noted_ends = "shutoff", (NAME,)
    site.look(supervisor, 3)
    assert site.commands == []
    site.noted_ends = ()
    site.look(supervisor)
    assert site.commands == []
    site.look(supervisor)
    assert site.commands == [["start", "host", "vm", NAME]]
    assert (
        f"{NAME} was moving from {OLD} to {NEW}, is off on both, and has not ended by itself" in site.log[-1]
    )
