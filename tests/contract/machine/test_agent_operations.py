"""The agent on requests, in this process: starts, stops, facts, documents; with a host in memory."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from rocks.core.errors import RocksError, ToolError
from rocks.fleet.wire.facts import ConsoleRequest, DocumentsRequest, DomainFact, FactsRequest
from rocks.fleet.wire.requests import (
    DiskSpec,
    LinkSpec,
    OperationOutcome,
    PauseDomain,
    PerformRequest,
    ResumeDomain,
    StopDomain,
)
from rocks.machine.host import operations
from rocks.machine.host.facts import read_machine
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt import accelerator
from rocks.machine.host.libvirt.domain_xml import parse_domain
from tests.contract.agents import VLAN, Agent, start, xml


def test_a_start_makes_its_devices_and_reports_them(agent: Agent) -> None:
    """Disk and link first; under emulation, with a note."""
    image = agent.folder / "disks" / "a.img"
    operation = start("a", disks=(DiskSpec(str(image), "raw", 1, False),), links=(VLAN,), autostart=True)
    (first,) = agent.perform(operation)
    assert first.error is None and first.changed
    assert first.notes[0].startswith("KVM does not work on this host (there is no ")
    assert first.notes[0].endswith("): started under emulation")
    assert image.stat().st_size == 1000**3
    assert agent.links.links["ptrunk.7"].vlan == 7
    fact = agent.domains.find("a")
    assert (fact.state, fact.token, fact.autostart) == ("running", 7, True)
    assert agent.perform(operation) == (OperationOutcome("a", False),)


def test_the_domain_is_adapted_to_the_host(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing emulator is replaced; type and CPU mode only where KVM does not work."""
    monkeypatch.setattr(accelerator, "EMULATORS", ("/bin/true",))
    agent.perform(start("a", xml=xml("a", devices="<emulator>/no/such/qemu</emulator>")))
    document = agent.domains._domains["a"].document
    assert document.emulator == "/bin/true" and not document.requires_kvm
    agent.perform(start("b", xml=xml("b", kind="qemu", devices="<emulator>/bin/sh</emulator>")))
    document = agent.domains._domains["b"].document
    assert document.text == xml("b", kind="qemu", devices="<emulator>/bin/sh</emulator>")


def test_a_failed_operation_never_stops_the_others(agent: Agent) -> None:
    """Each has its own outcome, in the order of the operations."""
    agent.domains.refusals["start"] = "boom"
    outcomes = agent.perform(
        start("a"),
        start("b", xml="<broken"),
        start("c", xml=xml("x")),
        start("d", links=(LinkSpec("px.7", "vlan", "nothing", 7),)),
        start("e", disks=(DiskSpec("relative", "raw", 1, False),)),
        start("../f", xml=xml("../f")),
        StopDomain("g"),
        PauseDomain("h"),
        start("i", 8),
    )
    families = [outcome.error and outcome.error.family for outcome in outcomes]
    assert [outcome.name for outcome in outcomes] == ["a", "b", "c", "d", "e", "../f", "g", "h", "i"]
    assert families.count("tool") <= 1
    families[0] = families[8] = None  # whichever started first met the refusal
    assert families == [None, "user", "incoherent", "state", "user", "user", None, "state", None]
    assert sorted(filter(None, (agent.state("a"), agent.state("i")))) == ["running"]
    assert agent.state("d") is None


def test_operations_of_one_name_are_done_in_order(agent: Agent) -> None:
    """Those of different names run in parallel."""
    outcomes = agent.perform(
        start("a"), PauseDomain("a", 7), start("b"), ResumeDomain("a", 7), StopDomain("a", 7), start("a", 8)
    )
    assert [(outcome.changed, outcome.error) for outcome in outcomes] == [(True, None)] * 6
    assert (agent.state("a"), agent.state("b")) == ("running", "running")


def test_facts_are_those_of_the_host(agent: Agent) -> None:
    """Every field has its own source."""
    agent.perform(start("a"))
    image = agent.folder / "x.img"
    image.write_bytes(b"abc")
    facts = agent.ask(FactsRequest(disks=(str(image), "/no/such/disk")))
    assert facts.cpus == os.cpu_count() and facts.has_8021q
    assert [(disk.exists, disk.size_bytes) for disk in facts.disks] == [(True, 3), (False, 0)]
    assert [(domain.name, domain.state, domain.token) for domain in facts.domains] == [("a", "running", 7)]


def test_memory_is_promised_to_one_start_at_a_time(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two agents, each with half of a machine's memory too much; a promise ends with its start, and with its agent."""
    reserve_mb = read_machine().memory_mb - 100
    entered, go_on = threading.Event(), threading.Event()
    start_paused = agent.domains.start_paused

    def slow(name: str) -> None:
        entered.set()
        go_on.wait(120)
        start_paused(name)

    monkeypatch.setattr(agent.domains, "start_paused", slow)
    starting = threading.Thread(target=lambda: agent.perform(start("a", memory_reserve_mb=reserve_mb)))
    starting.start()
    assert entered.wait(120)
    other = Host(agent.folder / "state", lambda: agent.domains, lambda: agent.links)
    second = start("b", memory_reserve_mb=reserve_mb)
    (refused,) = operations.perform(other, PerformRequest((second,))).outcomes
    assert refused.error.family == "state"
    assert "it needs 64 MB of memory, and this host has 36 MB left of 100 MB" in refused.error.message
    assert "64 MB of them by starts in progress" in refused.error.message
    go_on.set()
    starting.join()
    assert agent.state("a") == "running" and agent.state("b") is None
    assert "(64 MB are taken); stop others" in agent.error(second).message
    assert agent.perform(start("a", memory_reserve_mb=reserve_mb))[0].error is None, "it runs already"
    agent.perform(StopDomain("a", 7))
    assert agent.perform(second)[0].error is None
    assert agent.perform(replace(start("c"), memory_reserve_mb=None))[0].error is None


def test_starts_of_one_request_are_in_libvirt_at_the_same_time(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is planned while the first is in progress: no start reads facts that wait for its end."""
    begun, both = threading.Event(), threading.Barrier(2)
    start_paused, facts = agent.domains.start_paused, agent.domains.facts

    def meet(name: str) -> None:
        begun.set()
        both.wait(10)  # BrokenBarrierError, which fails the start, when the other one does not come
        start_paused(name)

    def during_the_other(name: str) -> tuple[DomainFact, ...]:
        assert name == "a" or begun.wait(10)
        return facts()

    def wait_for_starts() -> tuple[DomainFact, ...]:
        raise ToolError("a start is in progress")

    monkeypatch.setattr(agent.domains, "start_paused", meet)
    monkeypatch.setattr(agent.domains, "facts_for_start", during_the_other)
    monkeypatch.setattr(agent.domains, "facts", wait_for_starts)
    outcomes = agent.perform(start("a", memory_reserve_mb=0), start("b", memory_reserve_mb=0))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert agent.state("a") == agent.state("b") == "running"


def test_starts_of_one_request_observe_the_other_domains_once(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And again after a start of another request, and before one is refused; so no memory is promised twice."""
    reserve_mb = read_machine().memory_mb - 64 * 4
    observed: list[str] = []
    between: dict[str, Callable[[], object]] = {}
    facts_for_start, start_paused = agent.domains.facts_for_start, agent.domains.start_paused

    def observe(name: str) -> tuple[DomainFact, ...]:
        observed.append(name)
        return facts_for_start(name)

    def started(name: str) -> None:
        start_paused(name)
        between.pop(name, int)()

    monkeypatch.setattr(agent.domains, "facts_for_start", observe)
    monkeypatch.setattr(agent.domains, "start_paused", started)
    monkeypatch.setattr(operations, "_THREADS", 1)

    def errors(*names: str, token: int) -> list[bool]:
        observed.clear()
        outcomes = agent.perform(*(start(name, token, memory_reserve_mb=reserve_mb) for name in names))
        return [outcome.error is not None for outcome in outcomes]

    assert errors("a", "b", "c", token=7) == [False] * 3 and observed == ["a"]
    agent.perform(StopDomain("a", 7), StopDomain("b", 7), StopDomain("c", 7))

    other = Host(agent.folder / "state", lambda: agent.domains, lambda: agent.links)
    two_more = PerformRequest((start("x", memory_reserve_mb=0), start("y", memory_reserve_mb=0)))
    between["b"] = lambda: operations.perform(other, two_more)
    assert errors("a", "b", "c", token=8) == [False, False, True], "x and y have the rest"
    assert observed == ["a", "x", "c"]
    agent.perform(StopDomain("b", 8), StopDomain("x", 7), StopDomain("y", 7))

    between["b"] = lambda: agent.domains.destroy("a")
    assert errors("b", "c", "d", "e", token=9) == [False] * 4 and observed == ["b", "e"], (
        "the rest was enough after a's end"
    )


def test_memory_of_another_request_that_was_starting_when_one_observed(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not active then, and is not promised any more: it counts all the same."""
    reserve_mb = read_machine().memory_mb - 64 * 2
    entered, go_on = threading.Event(), threading.Event()
    start_paused = agent.domains.start_paused
    other = Host(agent.folder / "state", lambda: agent.domains, lambda: agent.links)
    starting = threading.Thread(target=lambda: operations.perform(other, PerformRequest((start("x"),))))

    def started(name: str) -> None:
        if name == "x":
            entered.set()
            go_on.wait(120)
        elif name == "a":
            go_on.set()
            starting.join(120)
        start_paused(name)

    monkeypatch.setattr(agent.domains, "start_paused", started)
    monkeypatch.setattr(operations, "_THREADS", 1)
    starting.start()
    assert entered.wait(120)
    outcomes = agent.perform(*(start(name, memory_reserve_mb=reserve_mb) for name in "ab"))
    assert [outcome.error is None for outcome in outcomes] == [True, False], "x and a have all"


def test_memory_of_a_start_during_which_its_request_observed_again(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before the refusal of a larger one: the first is not active then, and counts when it is."""
    reserve_mb = read_machine().memory_mb - 64 * 2
    observed: list[str] = []
    again, over = threading.Event(), threading.Event()
    facts_for_start, start_paused = agent.domains.facts_for_start, agent.domains.start_paused
    find, suspend = agent.domains.find, agent.domains.suspend

    def observe(name: str) -> tuple[DomainFact, ...]:
        found = facts_for_start(name)
        observed.append(name)
        if name == "large":
            again.set()
        return found

    def started(name: str) -> None:
        assert name != "a" or again.wait(120)
        start_paused(name)

    def paused(name: str) -> None:
        suspend(name)
        over.set()

    def found(name: str) -> DomainFact | None:
        assert name != "c" or over.wait(120)
        return find(name)

    monkeypatch.setattr(agent.domains, "facts_for_start", observe)
    monkeypatch.setattr(agent.domains, "start_paused", started)
    monkeypatch.setattr(agent.domains, "suspend", paused)
    monkeypatch.setattr(agent.domains, "find", found)
    monkeypatch.setattr(operations, "_THREADS", 2)
    starts = [
        start(name, memory_reserve_mb=reserve_mb, memory_mb=128 if name == "large" else 64)
        for name in ("a", "large", "c", "d")
    ]
    outcomes = agent.perform(*starts, PauseDomain("a", 7))
    assert observed[:2] == ["a", "large"]
    assert [outcome.error is None for outcome in outcomes] == [True, False, True, False, True], (
        "a and c have all"
    )


def test_an_interrupted_start_is_completed(agent: Agent) -> None:
    """By the same start, when the frontend says that it was; a guest paused by an operator stays paused."""
    agent.domains.define(xml("a"))
    agent.domains.start_paused("a")
    assert "rocks resume host vm a" in agent.error(start("a")).message
    assert agent.perform(start("a", continues=True))[0].changed
    assert agent.state("a") == "running"


def test_a_stop_waits_for_a_start_of_the_same_name(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two agents never work on one virtual machine at the same time."""
    order: list[str] = []
    begun = threading.Event()
    define = agent.domains.define

    def slow(text: str) -> None:
        order.append("start begins")
        begun.set()
        time.sleep(0.3)
        define(text)
        order.append("start ends")

    monkeypatch.setattr(agent.domains, "define", slow)
    starting = threading.Thread(target=lambda: agent.perform(start("a")))
    starting.start()
    assert begun.wait(120)
    (outcome,) = agent.perform(StopDomain("a", 7))
    order.append("stopped")
    starting.join()
    assert outcome.changed
    assert order == ["start begins", "start ends", "stopped"]
    assert agent.state("a") is None


def test_the_console_of_a_domain_that_does_not_run(agent: Agent) -> None:
    """StateError when absent or stopped."""
    agent.domains.define(xml("b"))
    for name in ("a", "b"):
        with pytest.raises(RocksError, match=f"{name} does not run on this host, so it has no console"):
            agent.ask(ConsoleRequest(name))
    agent.perform(start("a"), PauseDomain("a", 7))
    assert agent.ask(ConsoleRequest("a")).vnc_socket is None


def test_a_bug_becomes_a_reply_too(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    """Family bug, with the traceback on standard error only."""

    def break_down(*_: object) -> None:
        raise ZeroDivisionError("x")

    agent.perform(start("a"))
    agent.domains.console = break_down  # type: ignore[assignment,method-assign]
    with pytest.raises(RocksError, match="ZeroDivisionError: x; please report this") as raised:
        agent.ask(ConsoleRequest("a"))
    assert raised.value.family == "bug"
    assert "Traceback" in capsys.readouterr().err


def test_documents_are_adapted_as_a_start_adapts_them(agent: Agent) -> None:
    """What the start defines has the same type and CPU mode; what is no domain comes back as it was."""
    damaged = "<domain type='kvm'><name>a"
    adapted, unread = agent.ask(DocumentsRequest((xml("a"), damaged))).documents
    assert unread == damaged
    agent.perform(start("a"))
    defined = agent.domains.document("a").root
    read = parse_domain(adapted).root
    assert (read.get("type"), read.find("cpu").get("mode")) == ("qemu", "maximum")  # type: ignore[union-attr]
    assert (defined.get("type"), defined.find("cpu").get("mode")) == ("qemu", "maximum")  # type: ignore[union-attr]
    assert agent.state("b") is None
