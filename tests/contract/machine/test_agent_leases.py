"""The agent and leases: an overtaken one does nothing, an ended one starts nothing, a corrupt one names its remedy."""

import os
from typing import Any

import pytest

from rocks.fleet.wire.facts import FactsRequest, Fence, LeaseEnd
from rocks.fleet.wire.requests import PauseDomain, ResumeDomain, StopDomain
from rocks.machine.host import facts as fences
from tests.contract.agents import Agent, start


def test_every_operation_rejects_an_overtaken_lease(agent: Agent) -> None:
    """Also by a new agent."""
    agent.perform(start("a", 9))
    for operation in (
        start("a", 7),
        StopDomain("a", 7),
        StopDomain("a", 7, "reset"),
        PauseDomain("a", 7),
        ResumeDomain("a", 7),
    ):
        (outcome,) = agent.perform(operation)
        assert outcome.error.family == "state"
        assert "under lease 7, but this host has seen lease 9" in outcome.error.message
    assert agent.state("a") == "running"


@pytest.mark.parametrize("end", [StopDomain("a", 9), StopDomain("a", 9, "shutdown", 0)])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_lease_that_has_ended_starts_nothing_any_more(agent: Agent, end: Any, is_there: bool) -> None:
    """Whether or not its start had arrived before its end; the next lease starts, and the end can be repeated."""
    if is_there:
        agent.perform(start("a", 9))
    agent.perform(end)
    again, late = agent.perform(end, start("a", 9))
    assert (again.changed, again.error) == (False, None)
    assert late.error.family == "state"
    assert "under lease 9, but this host has seen lease 10" in late.error.message
    assert "stopped or taken over in the meantime" in late.error.message
    assert agent.state("a") is None
    agent = Agent(agent.folder)
    assert agent.perform(start("a", 9))[0].error is not None
    assert agent.perform(start("a", 10))[0].changed
    (repeated,) = agent.perform(end)
    assert repeated.error is not None and agent.state("a") == "running", (
        "a repeated message ends no newer lease"
    )


@pytest.mark.parametrize("end", [StopDomain("a", 7), StopDomain("a", 7, "shutdown", 0)])
def test_the_end_of_a_machine_that_is_off_succeeds_under_an_older_lease(agent: Agent, end: Any) -> None:
    """As after a host was declared off: a fence of a later epoch is in force, and nothing runs."""
    agent.perform(start("a", 7), StopDomain("a", 7))
    host_leases = agent.host.leases
    host_leases.admit("a", 2**32)
    (outcome,) = agent.perform(end)
    assert (outcome.changed, outcome.error) == (False, None)
    assert host_leases.remembered("a") == 2**32, "older leases start nothing"
    agent.perform(start("a", 2**32))
    assert "a later lease or epoch" in agent.error(end).message
    assert agent.state("a") == "running"


def test_a_stop_without_a_lease_ends_that_of_the_domain(agent: Agent) -> None:
    """The database may not know the machine's lease; without a domain there is nothing to end."""
    agent.perform(StopDomain("a"))
    assert agent.host.leases.remembered("a") is None
    agent.perform(start("a", 9), StopDomain("a"))
    assert agent.host.leases.remembered("a") == 10


def test_the_lease_ends_before_its_domain(agent: Agent) -> None:
    """So libvirt's hook refuses what libvirt has been asked before; a failed end is repeated."""
    agent.perform(start("a", 9))
    agent.domains.refusals["destroy"] = "boom"
    (failed,) = agent.perform(StopDomain("a", 9))
    assert failed.error is not None and agent.state("a") == "running"
    assert agent.host.leases.remembered("a") == 10
    assert agent.perform(StopDomain("a", 9))[0].changed
    assert agent.state("a") is None


def test_a_restart_in_place_ends_no_lease(agent: Agent) -> None:
    """Reset and reboot."""
    agent.perform(start("a", 9))
    assert [
        outcome.error for outcome in agent.perform(StopDomain("a", 9, "reset"), StopDomain("a", 9, "reboot"))
    ] == [None, None]
    assert agent.host.leases.remembered("a") == 9


def test_the_facts_end_leases_whose_domains_do_not_run(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A domain that is not active is not enough: a late start would bring it up."""
    monkeypatch.setattr(fences, "_DEADLINE_SECONDS", 0.1)
    agent.perform(start("a", 7), start("b", 7))
    agent.domains.destroy("b")
    ends = tuple(LeaseEnd(name, 7) for name in ("a", "b", "c", "busy"))
    with agent.host.leases.held("busy", 1):
        facts = agent.ask(FactsRequest(lease_ends=ends))
    assert facts.ended == ("b", "c")
    late = agent.perform(start("b", 7), start("c", 7))
    assert all(outcome.error is not None for outcome in late)
    assert (agent.state("a"), agent.state("b"), agent.state("c")) == ("running", "shutoff", None)
    assert agent.perform(start("b", 8), start("busy", 7))[0].error is None
    assert agent.state("busy") == "running"


BAD_LEASES = {
    "garbage": lambda path: path.write_bytes(b"\xff\0 nonsense" * 1000),
    "empty": lambda path: path.write_bytes(b""),
    "folder": lambda path: (path.mkdir(), (path / "x").mkdir()),
    "fifo": os.mkfifo,
    "link": lambda path: path.symlink_to("/proc/self/mem"),
}


@pytest.mark.parametrize("kind", BAD_LEASES)
def test_a_corrupt_lease_names_its_remedy_and_stops_nobody_else(agent: Agent, kind: str) -> None:
    """The stop that the message names replaces it."""
    agent.perform(start("a", 7))
    path = agent.folder / "state" / "leases" / "a"
    path.unlink()
    BAD_LEASES[kind](path)
    pause, again, other = agent.perform(PauseDomain("a", 7), start("a", 7), start("b", 7))
    for outcome in (pause, again):
        assert outcome.error.family == "incoherent"
        assert "rocks stop host vm a" in outcome.error.message
    assert other.error is None
    assert agent.ask(FactsRequest(lease_ends=(LeaseEnd("a", 7), LeaseEnd("c", 1)))).ended == ("c",)
    stopped, late, new = agent.perform(StopDomain("a", 7), start("a", 7), start("a", 8))
    assert (stopped.error, new.error) == (None, None)
    assert late.error is not None and agent.state("a") == "running"


def test_a_corrupt_lock_is_an_error_of_its_machine(agent: Agent) -> None:
    """The message names what to move away."""
    lock = agent.folder / "state" / "leases" / "a.lock"
    lock.mkdir(parents=True)
    broken, other = agent.perform(start("a", 7), start("b", 7))
    assert broken.error.family == "host"
    assert f"move it away: mv {lock} {lock}.old" in broken.error.message and other.error is None


def test_a_fence_is_in_force_after_the_facts(agent: Agent) -> None:
    """Older domains are destroyed and cannot start again; a fence below the known lease changes nothing."""
    agent.perform(start("a", 7), start("b", 7))
    agent.domains.define("<domain><name>c</name><memory>1</memory></domain>")
    fences = (Fence("a", 8), Fence("b", 7), Fence("c", 5), Fence("d", 3), Fence("a", 2), Fence("bad/name", 1))
    facts = agent.ask(FactsRequest(fences=fences))
    assert facts.fenced == ("a", "b", "d", "a")
    assert [domain.name for domain in facts.domains] == ["b", "c"]
    assert "has seen lease 8" in agent.error(start("a", 7)).message
    assert agent.perform(start("a", 8))[0].error is None
