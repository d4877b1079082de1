"""The agent on requests: with a host in memory, in this process and as a program."""

import json
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rocks
from rocks.agent import calls, operations
from rocks.agent.host import Host
from rocks.agent.links import restore_links
from rocks.agent.replies import prefetch, reply_to
from rocks.devices.leases import Leases
from rocks.devices.libvirt import accelerator
from rocks.devices.libvirt.domain_xml import parse_domain
from rocks.devices.libvirt.fake import FakeDomains
from rocks.devices.machine import read_machine
from rocks.devices.network.fake import FakeLinks
from rocks.devices.network.packet_filter.fake import FakeFilters
from rocks.errors import RocksError
from rocks.process import run
from rocks.wire.agent import (
    DiskSpec,
    ForgetDomain,
    LinkSpec,
    OperationOutcome,
    PauseDomain,
    PerformRequest,
    ResumeDomain,
    StartDomain,
    StopDomain,
)
from rocks.wire.envelope import read_reply, write_request
from rocks.wire.facts import (
    ConsoleRequest,
    DiskPlace,
    DocumentsRequest,
    FactsRequest,
    Fence,
    HostFacts,
    LeaseEnd,
    ProbeRequest,
)
from rocks.wire.network import DropCount, LinkPlan, NetworkRequest, SyncLinksRequest
from rocks.wire.request import Reply, Request

SOURCES = Path(__file__).resolve().parents[2] / "src"
XML = """<domain type='{kind}'><name>{name}</name>
<metadata><rocks:lease xmlns:rocks="urn:rocks:lease" token="{token}"/></metadata>
<memory>65536</memory><vcpu>1</vcpu><cpu mode='host-passthrough'/><devices>{emulator}</devices></domain>"""
VLAN = LinkSpec("ptrunk.7", "vlan", "trunk", 7)


class Agent:
    """The agent's functions with a host in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.domains = FakeDomains()
        self.links = FakeLinks()
        self.trunk = self.links.add("trunk", "veth")
        self.filters = FakeFilters()
        self.host = Host(
            folder / "state", lambda: self.domains, lambda: self.links, open_filters=lambda: self.filters
        )

    def ask(self, request: Request[Reply]) -> Reply:
        """The reply, or the agent's error raised."""
        answer = read_reply(reply_to(self.host, write_request(request))[0], request)
        if isinstance(answer, RocksError):
            raise answer
        return answer

    def perform(self, *operations: Any) -> tuple[OperationOutcome, ...]:
        """The outcomes of operations."""
        return self.ask(PerformRequest(operations)).outcomes

    def state(self, name: str) -> str | None:
        """A domain's state."""
        fact = self.domains.find(name)
        return None if fact is None else fact.state


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """A host without domains, and without KVM."""
    monkeypatch.setattr(accelerator, "_DEVICE", tmp_path / "absent")
    return Agent(tmp_path)


def xml(name: str, token: int = 7, kind: str = "kvm", emulator: str = "") -> str:
    """A small domain."""
    return XML.format(name=name, token=token, kind=kind, emulator=emulator)


def start(name: str, token: int = 7, **changes: Any) -> StartDomain:
    """The operation that starts it."""
    return StartDomain(name, token, changes.pop("xml", xml(name, token)), **changes)


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
    assert fact is not None and (fact.state, fact.token, fact.autostart) == ("running", 7, True)
    assert agent.perform(operation) == (OperationOutcome("a", False),)


def test_the_domain_is_adapted_to_the_host(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing emulator is replaced; type and CPU mode only where KVM does not work."""
    monkeypatch.setattr(accelerator, "EMULATORS", ("/bin/true",))
    agent.perform(start("a", xml=xml("a", emulator="<emulator>/no/such/qemu</emulator>")))
    document = agent.domains._domains["a"].document
    assert document.emulator == "/bin/true" and not document.requires_kvm
    agent.perform(start("b", xml=xml("b", kind="qemu", emulator="<emulator>/bin/sh</emulator>")))
    document = agent.domains._domains["b"].document
    assert document.text == xml("b", kind="qemu", emulator="<emulator>/bin/sh</emulator>")


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


def test_every_operation_rejects_an_overtaken_lease(agent: Agent) -> None:
    """Also by a new agent."""
    agent.perform(start("a", 9))
    for operation in (
        start("a", 7),
        StopDomain("a", 7),
        StopDomain("a", 7, "reset"),
        PauseDomain("a", 7),
        ResumeDomain("a", 7),
        ForgetDomain("a", 7),
    ):
        (outcome,) = agent.perform(operation)
        assert outcome.error is not None and outcome.error.family == "state"
        assert "under lease 7, but this host has seen lease 9" in outcome.error.message
    assert agent.state("a") == "running"


@pytest.mark.parametrize("end", [StopDomain("a", 9), StopDomain("a", 9, "shutdown", 0), ForgetDomain("a", 9)])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_lease_that_has_ended_starts_nothing_any_more(agent: Agent, end: Any, is_there: bool) -> None:
    """Whether or not its start had arrived before its end; the next lease starts, and the end can be repeated."""
    if is_there:
        agent.perform(start("a", 9))
    agent.perform(end)
    again, late = agent.perform(end, start("a", 9))
    assert (again.changed, again.error) == (False, None)
    assert late.error is not None and late.error.family == "state"
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


@pytest.mark.parametrize("end", [StopDomain("a", 7), StopDomain("a", 7, "shutdown", 0), ForgetDomain("a", 7)])
def test_the_end_of_a_machine_that_is_off_succeeds_under_an_older_lease(agent: Agent, end: Any) -> None:
    """As after a host was declared off: a fence of a later epoch is in force, and nothing runs."""
    agent.perform(start("a", 7), StopDomain("a", 7))
    host_leases = agent.host.leases
    host_leases.admit("a", 2**32)
    (outcome,) = agent.perform(end)
    assert (outcome.changed, outcome.error) == (False, None)
    assert host_leases.remembered("a") == 2**32, "older leases start nothing"
    agent.perform(start("a", 2**32))
    (outcome,) = agent.perform(end)
    assert outcome.error is not None and "a later lease or epoch" in outcome.error.message
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
    monkeypatch.setattr(calls, "_FENCE_DEADLINE_SECONDS", 0.1)
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
        assert outcome.error is not None and outcome.error.family == "incoherent"
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
    assert broken.error is not None and broken.error.family == "host"
    assert f"move it away: mv {lock} {lock}.old" in broken.error.message and other.error is None


def test_a_fence_is_in_force_after_the_facts(agent: Agent) -> None:
    """Older domains are destroyed and cannot start again; a fence below the known lease changes nothing."""
    agent.perform(start("a", 7), start("b", 7))
    agent.domains.define("<domain><name>c</name><memory>1</memory></domain>")
    fences = (Fence("a", 8), Fence("b", 7), Fence("c", 5), Fence("d", 3), Fence("a", 2), Fence("bad/name", 1))
    facts = agent.ask(FactsRequest(fences=fences))
    assert facts.fenced == ("a", "b", "d", "a")
    assert [domain.name for domain in facts.domains] == ["b", "c"]
    (outcome,) = agent.perform(start("a", 7))
    assert outcome.error is not None and "has seen lease 8" in outcome.error.message
    assert agent.perform(start("a", 8))[0].error is None


def test_facts_are_those_of_the_host(agent: Agent) -> None:
    """Every field has its own source."""
    agent.perform(start("a"))
    image = agent.folder / "x.img"
    image.write_bytes(b"abc")
    facts = agent.ask(FactsRequest(disks=(DiskPlace(str(image)), DiskPlace("/no/such/disk"))))
    assert facts.kernel == os.uname().release and facts.cpus == os.cpu_count()
    assert facts.accelerator == "tcg" and facts.has_8021q
    assert [(disk.exists, disk.size_bytes) for disk in facts.disks] == [(True, 3), (False, 0)]
    assert [(domain.name, domain.state, domain.token) for domain in facts.domains] == [("a", "running", 7)]


def test_links_are_removed_with_the_last_guest(agent: Agent) -> None:
    """A stop removes unused links; used links stay, and the stop succeeds."""
    agent.perform(start("a", links=(VLAN,)), start("b", links=(VLAN,)))
    tap = agent.links.add("macvtap0", "macvtap", agent.links.links["ptrunk.7"])
    assert agent.perform(StopDomain("a", 7, links=(VLAN,)))[0].changed
    assert "ptrunk.7" in agent.links.links
    del agent.links.links[tap.name]
    assert agent.perform(StopDomain("b", 7, links=(VLAN,)))[0].changed
    assert "ptrunk.7" not in agent.links.links
    (outcome,) = agent.perform(StopDomain("b", 7, links=(LinkSpec("p", "vlan", None, 0),)))
    assert outcome.error is None and "a network device was not removed" in outcome.notes[0]


NETWORKED = """<domain type='qemu'><name>{name}</name>
<metadata><rocks:lease xmlns:rocks="urn:rocks:lease" token="{token}"><rocks:network filter="{filter}">
<rocks:sender mac="02:00:00:00:00:01" side="own"/>
<rocks:sender mac="02:00:00:00:00:02" side="shared" ipv4="203.0.113.9" ipv6=""/>
</rocks:network></rocks:lease></metadata><memory>65536</memory><vcpu>1</vcpu><devices>
<interface type='direct'><source dev='ptrunk.7' mode='bridge'/><mac address='02:00:00:00:00:01'/></interface>
<interface type='bridge'><source bridge='br1'/><mac address='02:00:00:00:00:02'/></interface>
</devices></domain>"""


def networked(name: str, word: str = "on", token: int = 7) -> StartDomain:
    """The operation that starts a guest on a VLAN and on a bridge of the site."""
    site = LinkSpec("br1", "site_bridge", None, 0)
    text = NETWORKED.format(name=name, filter=word, token=token)
    return start(name, token, xml=text, links=(VLAN, site))


def test_a_guest_runs_behind_its_filters(agent: Agent) -> None:
    """Set while it is paused, for each interface; none where the XML requires none."""
    agent.links.add("br1", "bridge")
    seen: list[tuple[str | None, list[str]]] = []
    resume = agent.domains.resume

    def look(name: str) -> None:
        seen.append((agent.state(name), sorted(agent.filters.rules)))
        resume(name)

    agent.domains.resume = look  # type: ignore[method-assign]
    assert agent.perform(networked("a"))[0].error is None
    assert seen == [("paused", ["macvtap0", "vnet1"])]
    reasons = {device: [rule.reason for rule in rules] for device, rules in agent.filters.rules.items()}
    assert reasons["macvtap0"] == ["tagged", "mac", "control"]
    assert reasons["vnet1"][3:] == ["type", "arp", "ipv4", "dhcp", "ipv6", "neighbour"]
    agent.filters.rules.clear()
    assert agent.perform(PauseDomain("a", 7), ResumeDomain("a", 7))[1].changed
    assert sorted(agent.filters.rules) == ["macvtap0", "vnet1"]
    agent.filters.rules.clear()
    assert agent.perform(StopDomain("a", 7), networked("a", "off", 8))[1].error is None
    assert agent.filters.rules == {} and agent.state("a") == "running"


def test_a_guest_whose_filter_cannot_be_set_does_not_run(agent: Agent) -> None:
    """Nothing of its start remains: no domain, no device, no plan for the next boot."""
    agent.links.add("br1", "bridge")
    agent.filters.missing.append("vnet1")
    (outcome,) = agent.perform(networked("a"))
    assert outcome.error is not None and "has no network device vnet1" in outcome.error.message
    assert agent.state("a") is None
    assert "ptrunk.7" not in agent.links.links and agent.host.link_plans.names() == ()


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
    assert refused.error is not None and refused.error.family == "state"
    assert "it needs 64 MB of memory, and this host has 36 MB left of 100 MB" in refused.error.message
    assert "64 MB of them by starts in progress" in refused.error.message
    go_on.set()
    starting.join()
    assert agent.state("a") == "running" and agent.state("b") is None
    (refused,) = agent.perform(second)
    assert refused.error is not None and "(64 MB are taken, 0 MB of them by starts" in refused.error.message
    assert agent.perform(start("a", memory_reserve_mb=reserve_mb))[0].error is None, "it runs already"
    agent.perform(StopDomain("a", 7))
    assert agent.perform(second)[0].error is None
    assert agent.perform(replace(start("c"), memory_reserve_mb=None))[0].error is None


def test_an_interrupted_start_is_completed(agent: Agent) -> None:
    """By the same start, when the frontend states the paused state; a guest paused by an operator stays paused."""
    agent.domains.define(xml("a"))
    agent.domains.start_paused("a")
    (refused,) = agent.perform(start("a"))
    assert refused.error is not None and "rocks resume host vm a" in refused.error.message
    (moved,) = agent.perform(start("a", assumed_state="absent"))
    assert (
        moved.error is not None
        and "is paused, but was absent when the start was planned" in moved.error.message
    )
    assert agent.perform(start("a", assumed_state="paused"))[0].changed
    assert agent.state("a") == "running"


def test_the_sites_own_devices_are_only_checked(agent: Agent) -> None:
    """Missing, down or not a bridge: no start; a stop leaves them."""
    (outcome,) = agent.perform(networked("a"))
    assert (
        outcome.error is not None
        and "no network device br1, on which the guest belongs" in outcome.error.message
    )
    agent.links.add("br1", "bridge", is_up=False)
    assert "is down: `ip link set br1 up`" in str(agent.perform(networked("a"))[0].error)
    agent.links.add("br1", "veth")
    assert "br1 of this host is not a bridge" in str(agent.perform(networked("a"))[0].error)
    agent.links.add("br1", "bridge")
    assert agent.perform(networked("a"), StopDomain("a", 7))[1].error is None
    assert "br1" in agent.links.links and "ptrunk.7" not in agent.links.links


def test_devices_are_restored_after_a_boot(agent: Agent) -> None:
    """Those of all started machines; a failure of one does not stop the others."""
    agent.links.add("other", "veth")
    agent.perform(start("a", links=(VLAN,)), start("b", links=(LinkSpec("other.9", "vlan", "other", 9),)))
    agent.perform(start("c", links=(VLAN,)), StopDomain("c", 7))
    rebooted = Agent(agent.folder)
    made, errors = restore_links(rebooted.host, 0)
    assert made == ["ptrunk.7"] and "has no network device other" in str(errors[0])
    rebooted.links.add("other", "veth")
    assert restore_links(rebooted.host, 0) == (["other.9"], [])
    assert restore_links(rebooted.host, 0) == ([], [])
    (agent.folder / "state" / "links" / "b").write_text("?")
    _, errors = restore_links(rebooted.host, 0)
    assert "cannot be read" in str(errors[0]) and "rocks sync host vlan" in str(errors[0])


def test_links_are_synchronised_with_the_plan(agent: Agent) -> None:
    """Made, kept, removed when unused; the plan for the next boot is the same, except for moved machines."""
    agent.perform(
        start("a", links=(VLAN,)), start("moved", links=(LinkSpec("ptrunk.5", "vlan", "trunk", 5),))
    )
    for vlan in (8, 9):
        agent.links.ensure(LinkSpec(f"ptrunk.{vlan}", "vlan", "trunk", vlan))
    agent.links.add("macvtap9", "macvtap", agent.links.links["ptrunk.9"])
    new = LinkSpec("ptrunk.6", "vlan", "trunk", 6)
    bad = LinkSpec("q.6", "vlan", "q", 6)
    plans = (LinkPlan("a", (VLAN,)), LinkPlan("b", (new, bad)))
    found = {o.device: o.result for o in agent.ask(SyncLinksRequest(plans, retained=("moved",))).outcomes}
    assert found == {
        "ptrunk.7": "kept",
        "ptrunk.6": "made",
        "ptrunk.5": "kept",
        "q.6": "failed",
        "ptrunk.8": "removed",
        "ptrunk.9": "used",
    }
    assert agent.host.link_plans.names() == ("a", "b", "moved")
    agent.perform(StopDomain("moved", 7))
    # `a` runs: the frontend has read its records before it was started
    found = {o.device: o.result for o in agent.ask(SyncLinksRequest((), ())).outcomes}
    assert found == {"ptrunk.7": "kept", "ptrunk.6": "removed", "ptrunk.9": "used"}
    assert agent.host.link_plans.names() == ("a",)


def test_a_damaged_plan_does_not_stop_the_synchronisation(agent: Agent) -> None:
    """It is reported once and removed; a plan in the request replaces it; devices in use stay."""
    agent.perform(start("a", links=(VLAN,)), start("b", links=(LinkSpec("ptrunk.5", "vlan", "trunk", 5),)))
    agent.links.add("macvtap9", "macvtap", agent.links.links["ptrunk.5"])
    for name in ("a", "b"):
        (agent.folder / "state" / "links" / name).write_text('[{"device": "ptrunk.5"}]')
    request = SyncLinksRequest((LinkPlan("a", (VLAN,)),), retained=("b",))
    outcomes = agent.ask(request).outcomes
    assert {o.device: o.result for o in outcomes} == {"ptrunk.7": "kept", "b": "failed", "ptrunk.5": "used"}
    (error,) = [o.error for o in outcomes if o.error]
    assert "links/b, the network plan" in error.message and "missing" in error.message
    assert agent.host.link_plans.names() == ("a",)
    assert not [o for o in agent.ask(request).outcomes if o.error]


def test_how_guests_are_connected(agent: Agent) -> None:
    """Of running domains of this system: devices, states, bytes from the view of the guest, drops."""
    agent.links.add("br1", "bridge")
    agent.perform(networked("a"), start("b"))
    below = agent.links.links["ptrunk.7"]
    for name, parent in (("macvtap0", below), ("vnet1", None)):
        made = agent.links.add(name, "tun", parent)
        agent.links.links[name] = made._replace(received_bytes=10, sent_bytes=20)
    assert not agent.filters.send("macvtap0", bytes(60))
    tap, port = agent.ask(NetworkRequest()).interfaces
    assert (tap.domain, tap.mac, tap.device, tap.source, tap.vlan) == (
        "a",
        "02:00:00:00:00:01",
        "macvtap0",
        "ptrunk.7",
        7,
    )
    assert (tap.received_bytes, tap.sent_bytes) == (10, 20) and (port.received_bytes, port.sent_bytes) == (
        20,
        10,
    )
    assert (tap.is_up, tap.filter, tap.drops[1]) == (True, "on", DropCount("mac", 1))
    agent.filters.rules.clear()
    assert [fact.filter for fact in agent.ask(NetworkRequest()).interfaces] == ["missing", "missing"]
    agent.perform(StopDomain("a", 7))
    assert agent.ask(NetworkRequest()).interfaces == ()


def test_a_fence_removes_the_devices_of_the_domain_that_it_ends(agent: Agent) -> None:
    """The devices of a domain with a newer lease stay."""
    agent.perform(start("a", links=(VLAN,)))
    agent.ask(FactsRequest(fences=(Fence("a", 7),)))
    assert "ptrunk.7" in agent.links.links
    agent.ask(FactsRequest(fences=(Fence("a", 8),)))
    assert "ptrunk.7" not in agent.links.links and agent.host.link_plans.names() == ()


def test_a_stop_waits_for_a_start_of_the_same_name(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two agents never work on one virtual machine at the same time."""
    order: list[str] = []
    define = agent.domains.define

    def slow(text: str) -> None:
        order.append("start begins")
        time.sleep(0.3)
        define(text)
        order.append("start ends")

    monkeypatch.setattr(agent.domains, "define", slow)
    starting = threading.Thread(target=lambda: agent.perform(start("a")))
    starting.start()
    time.sleep(0.1)
    (outcome,) = agent.perform(StopDomain("a", 7))
    order.append("stopped")
    starting.join()
    assert outcome.changed
    assert order == ["start begins", "start ends", "stopped"]
    assert agent.state("a") is None


def test_the_console_of_a_domain_that_does_not_run(agent: Agent) -> None:
    """StateError when absent or stopped; a running domain has the log of its serial line."""
    agent.domains.define(xml("b"))
    for name in ("a", "b"):
        with pytest.raises(RocksError, match=f"{name} does not run on this host, so it has no console"):
            agent.ask(ConsoleRequest(name))
    agent.perform(start("a"), PauseDomain("a", 7))
    assert agent.ask(ConsoleRequest("a")).vnc_port is None


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


def test_the_library_of_the_next_request_is_prefetched(agent: Agent) -> None:
    """After facts with fences, not after bare ones."""
    opened = threading.Event()

    def open_links() -> FakeLinks:
        opened.set()
        return agent.links

    host = Host(agent.folder, lambda: agent.domains, open_links)
    prefetch(host, FactsRequest())
    prefetch(host, None)
    assert not opened.wait(0.1)
    prefetch(host, FactsRequest(fences=(Fence("a", 1),)))
    assert opened.wait(120)


def run_agent(folder: Path, tokens: list[str], lines: bytes = b"") -> tuple[int, bytes, bytes]:
    """The agent as a program: exit status, output, error output."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(SOURCES),
        "ROCKS_STATE_FOLDER": str(folder),
        "ROCKS_LIBVIRT_URI": "qemu:///system?socket=/no/such/socket",
    }
    finished = run(
        [sys.executable, "-m", "rocks.agent", *tokens],
        deadline_seconds=30,
        standard_input=lines,
        environment=environment,
    )
    return finished.exit_status, finished.output, finished.error_output


def test_one_request_or_many(tmp_path: Path) -> None:
    """Without arguments one reply; with --serve one for each line until the end; nothing else on standard output."""
    line = write_request(ProbeRequest())
    status, output, _ = run_agent(tmp_path, [], line + line)
    assert status == 0 and output.count(b"\n") == 1
    status, output, _ = run_agent(tmp_path, ["--serve"], line + b"garbage\n" + line)
    assert status == 0
    replies = [json.loads(reply) for reply in output.splitlines()]
    assert [reply["ok"] for reply in replies] == [True, False, True]
    assert all(reply["version"] == rocks.__version__ for reply in replies)


def test_absence_of_libvirt_is_a_host_error(tmp_path: Path) -> None:
    """libvirt prints nothing."""
    pytest.importorskip("libvirt", reason="the distribution's libvirt bindings are not installed")
    status, output, error_output = run_agent(tmp_path, [], write_request(FactsRequest()))
    assert status == 0 and error_output == b""
    error = read_reply(output.strip(), FactsRequest())
    assert not isinstance(error, HostFacts)
    assert (
        error.family == "host"
        and "libvirt on this host does not answer at qemu:///system?socket=/no/such/socket" in str(error)
    )


def test_unknown_arguments(tmp_path: Path) -> None:
    """Usage on standard error, status 2."""
    for tokens in (["--help"], ["probe", "never"], ["--serve", "x"], ["hello"]):
        status, output, error_output = run_agent(tmp_path, tokens)
        assert (status, output) == (2, b"") and error_output.startswith(b"usage: rocks-agent")
    assert run_agent(tmp_path, ["--version"]) == (0, rocks.__version__.encode() + b"\n", b"")


@pytest.mark.parametrize(
    ("tokens", "document", "status"),
    [
        (["a", "prepare", "begin", "-"], xml("a", 6), 1),
        (["a", "prepare", "begin", "-"], xml("a", 7), 0),
        (["a", "prepare", "begin", "-"], xml("a", 8), 0),
        (["b", "prepare", "begin", "-"], xml("b", 1), 0),
        (["a", "prepare", "begin", "-"], "<domain><name>a</name></domain>", 0),
        (["a", "prepare", "begin", "-"], "<domain", 1),
        (["a", "release", "end", "-"], xml("a", 6), 0),
        (["a", "started", "begin", "-"], "", 0),
    ],
)
def test_the_hook(tmp_path: Path, tokens: list[str], document: str, status: int) -> None:
    """An overtaken lease cannot start; all other operations pass."""
    Leases(tmp_path).admit("a", 7)
    ended, output, error_output = run_agent(tmp_path, ["hook", *tokens], document.encode())
    assert (ended, output) == (status, b"")
    assert bool(error_output) == bool(status)
    if status and "lease" in document:
        assert (
            b"rocks: a belongs to lease 6, but this host has seen lease 7; run `rocks start" in error_output
        )


def test_the_probe_for_an_operator(tmp_path: Path) -> None:
    """One JSON object."""
    status, output, _ = run_agent(tmp_path, ["probe"])
    fact = json.loads(output)
    assert status == 0 and fact["accelerator"] in ("kvm", "tcg") and fact["reason"]


def test_an_agent_whose_reader_is_gone_ends(tmp_path: Path) -> None:
    """No traceback, no waiting."""
    from rocks.process import start_with_pipes

    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "ROCKS_STATE_FOLDER": str(tmp_path)}
    process = start_with_pipes([sys.executable, "-m", "rocks.agent", "--serve"], environment)
    assert process.stdin and process.stdout and process.stderr
    process.stdout.close()
    process.stdin.write(write_request(ProbeRequest()))
    process.stdin.flush()
    assert process.wait(120) == 1
    assert b"Traceback" not in process.stderr.read()
    process.stdin.close()
    process.stderr.close()


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
