"""The agent and network devices: made for guests, filtered, restored after a boot, removed with the last guest."""

from pathlib import Path

import pytest

from rocks.fleet.host.change import Change
from rocks.fleet.wire.facts import FactsRequest, Fence
from rocks.fleet.wire.requests import (
    ChangeDomain,
    DiskSpec,
    DropCount,
    LinkPlan,
    LinkSpec,
    NetworkRequest,
    OperationOutcome,
    PauseDomain,
    ResumeDomain,
    StartDomain,
    StopDomain,
    SyncLinksRequest,
)
from rocks.machine.host import change, guest_network
from rocks.machine.host.disks import ensure_disk
from rocks.machine.host.files import ImageOwners
from rocks.machine.host.guest_network import restore_filters, restore_links
from rocks.machine.host.libvirt.domain_xml import DiskIdentity
from rocks.network.host.packet_filter import Rule, Sender, rules_for
from tests.contract.agents import VLAN, Agent, start
from tests.patience import patience


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


def test_a_stop_does_not_wait_for_the_disk_of_another_machine(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may be copied for minutes; the last guest of a VLAN ends meanwhile, with its device."""
    agent.perform(start("a", links=(VLAN,)))
    stopped: list[OperationOutcome] = []

    def make_disk(spec: DiskSpec, owners: ImageOwners, _: object) -> tuple[Change, DiskIdentity]:
        stopped.extend(agent.perform(StopDomain("a", 7, links=(VLAN,))))
        assert "ptrunk.7" not in agent.links.links
        return ensure_disk(spec, owners)

    monkeypatch.setattr("rocks.machine.host.start.ensure_disk", make_disk)
    disk = DiskSpec(str(tmp_path / "images" / "b.vda"), "raw", 1, False)
    assert agent.error(start("b", links=(VLAN,), disks=(disk,))) is None
    assert [(outcome.changed, outcome.notes) for outcome in stopped] == [(True, ())]
    assert "ptrunk.7" in agent.links.links and agent.state("b") == "running"


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
    assert list(dict.fromkeys(reasons["macvtap0"])) == ["tagged", "mac", "control"]
    assert {"type", "arp", "ipv4", "dhcp", "igmp", "ipv6", "neighbour"} < set(reasons["vnet1"])
    agent.filters.rules.clear()
    assert agent.perform(PauseDomain("a", 7), ResumeDomain("a", 7))[1].changed
    assert sorted(agent.filters.rules) == ["macvtap0", "vnet1"]
    agent.filters.rules.clear()
    assert agent.perform(StopDomain("a", 7), networked("a", "off", 8))[1].error is None
    assert agent.filters.rules == {} and agent.state("a") == "running"


PORT = "<interface type='bridge'><source bridge='br1'/><mac address='02:00:00:00:00:0{}'/></interface>"
SHARED = '<rocks:sender mac="02:00:00:00:00:0{}" side="shared" ipv4="203.0.113.{}" ipv6=""/>'
FIRST = (SHARED.format(2, 9), PORT.format(2))
THIRD = (SHARED.format(3, 10), PORT.format(3))
ON_VLAN = (
    '<rocks:sender mac="02:00:00:00:00:02" side="own"/>',
    PORT.format(2).replace("bridge'>", "direct'>", 1).replace("bridge='br1'", "dev='ptrunk.7' mode='bridge'"),
)

ELSEWHERE = (
    "the interface 02:00:00:00:00:02 of a is on another network than in its record{} until its next start: rocks stop "
    "host vm a, then rocks start host vm a"
)


def recorded(*ports: tuple[str, str]) -> ChangeDomain:
    """Brings the guest `a` to its record, which has these interfaces beside that on its VLAN."""
    text = networked("a").xml.replace(FIRST[0], "".join(sender for sender, _ in ports))
    text = text.replace(FIRST[1], "".join(port for _, port in ports))
    return ChangeDomain("a", 7, text, interfaces=True, links=networked("a").links)


def rules_of(number: int, address: int) -> list[Rule]:
    """The rules of an interface on the shared network."""
    return list(rules_for(Sender(f"02:00:00:00:00:0{number}", True, (f"203.0.113.{address}",), (), ())))


def link_states(agent: Agent) -> list[str | None]:
    """Of the interfaces in their order; None: as at the start."""
    links = (nic.find("link") for nic in agent.domains.document("a").root.iterfind("devices/interface"))
    return [None if link is None else link.get("state") for link in links]


@pytest.fixture
def connected(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """Its guest `a` runs with an interface on a shared network, and releases none."""
    monkeypatch.setattr(change, "RELEASE_SECONDS", 0.0)
    agent.domains.guests_release = False
    agent.links.add("br1", "bridge")
    assert agent.error(networked("a")) is None and agent.filters.rules["vnet1"] == rules_of(2, 9)
    return agent


def test_an_interface_that_the_guest_keeps_is_filtered_and_down(connected: Agent) -> None:
    """It is on the shared network still, and its addresses may be another machine's."""
    for _ in range(2):
        assert "00:02 after 0 s, and its link is down" in connected.error(recorded(THIRD)).message
        assert link_states(connected) == [None, "down", "up"]
        assert connected.error(PauseDomain("a", 7)) is None and connected.error(ResumeDomain("a", 7)) is None
        assert connected.filters.rules["vnet1"] == rules_of(2, 9)
        assert connected.filters.rules["vnet2"] == rules_of(3, 10)


def test_an_interface_that_is_recorded_again_is_up_with_its_new_addresses(connected: Agent) -> None:
    """On another network it stays down, which a line says: it is on the network of the start still."""
    assert connected.error(recorded(THIRD)) is not None
    (outcome,) = connected.perform(recorded(ON_VLAN, THIRD))
    assert outcome.error is None and ELSEWHERE.format(", and its link is down,") in outcome.notes
    assert link_states(connected) == [None, "down", "up"] and connected.filters.rules["vnet1"] == rules_of(
        2, 9
    )
    assert connected.error(recorded((SHARED.format(2, 11), PORT.format(2)), THIRD)) is None
    assert link_states(connected) == [None, "up", "up"] and connected.filters.rules["vnet1"] == rules_of(
        2, 11
    )


def test_an_interface_whose_record_has_another_network_keeps_its_filter(connected: Agent) -> None:
    """It is there from the next start; another one gets the addresses of its record at once."""
    (outcome,) = connected.perform(recorded(ON_VLAN, THIRD))
    assert outcome.error is None and ELSEWHERE.format("") in outcome.notes
    assert link_states(connected) == [None, None, "up"] and connected.filters.rules["vnet1"] == rules_of(2, 9)
    new = (SHARED.format(3, 12), PORT.format(3))
    assert connected.error(recorded(ON_VLAN, new, (SHARED.format(4, 13), PORT.format(4)))) is None
    assert [connected.filters.rules[f"vnet{number}"] for number in (1, 2, 3)] == [
        rules_of(2, 9),
        rules_of(3, 12),
        rules_of(4, 13),
    ]


def test_a_changed_address_reaches_the_filter_of_a_guest_that_runs(connected: Agent) -> None:
    """Its former one may be another machine's; what an error left undone is done by the same change again."""
    changed = recorded((SHARED.format(2, 11), PORT.format(2)))
    connected.filters.missing.append("vnet1")
    assert "no network device vnet1" in connected.error(changed).message
    connected.filters.missing.clear()
    (outcome,) = connected.perform(changed)
    assert (outcome.changed, outcome.notes) == (True, ("the packet filter of a is set anew",))
    assert connected.filters.rules["vnet1"] == rules_of(2, 11)
    assert not connected.perform(changed)[0].changed


def test_a_guest_whose_filter_cannot_be_set_does_not_run(agent: Agent) -> None:
    """Nothing of its start remains: no domain, no device, no plan for the next boot."""
    agent.links.add("br1", "bridge")
    agent.filters.missing.append("vnet1")
    assert "has no network device vnet1" in agent.error(networked("a")).message
    assert agent.state("a") is None
    assert "ptrunk.7" not in agent.links.links and agent.host.stored_links.names() == ()


def test_the_sites_own_devices_are_only_checked(agent: Agent) -> None:
    """Missing, down or not a bridge: no start; a stop leaves them."""
    assert "no network device br1, on which the guest belongs" in agent.error(networked("a")).message
    agent.links.add("br1", "bridge", is_up=False)
    assert "is down: `ip link set br1 up`" in str(agent.perform(networked("a"))[0].error)
    agent.links.add("br1", "veth")
    assert "br1 of this host is not a bridge" in str(agent.perform(networked("a"))[0].error)
    agent.links.add("br1", "bridge")
    assert agent.perform(networked("a"), StopDomain("a", 7))[1].error is None
    assert "br1" in agent.links.links and "ptrunk.7" not in agent.links.links


def test_filters_are_restored_after_all_rules_of_the_kernel_went(agent: Agent) -> None:
    """As by the start of nftables.service; what is there stays."""
    agent.links.add("br1", "bridge")
    agent.perform(networked("a"))
    agent.filters.rules.clear()
    assert restore_filters(agent.host) == (["a"], [])
    assert sorted(agent.filters.rules) == ["macvtap0", "vnet1"]
    assert restore_filters(agent.host) == ([], [])
    agent.filters.missing.append("vnet1")
    agent.filters.rules.clear()
    names, errors = restore_filters(agent.host)
    assert names == [] and "no network device vnet1" in str(errors[0])


def test_devices_are_restored_after_a_boot(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all started machines; a failure of one does not stop the others, and a late device is waited for."""
    agent.links.add("other", "veth")
    agent.perform(start("a", links=(VLAN,)), start("b", links=(LinkSpec("other.9", "vlan", "other", 9),)))
    agent.perform(start("c", links=(VLAN,)), StopDomain("c", 7))
    rebooted = Agent(agent.folder)
    made, errors = restore_links(rebooted.host, 0)
    assert made == ["ptrunk.7"] and "has no network device other" in str(errors[0])
    monkeypatch.setattr(guest_network, "wait_seconds", lambda _: rebooted.links.add("other", "veth"))
    assert restore_links(rebooted.host, patience(60)) == (["other.9"], [])
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
    assert agent.host.stored_links.names() == ("a", "b", "moved")
    agent.perform(StopDomain("moved", 7))
    # `a` runs: the frontend has read its records before it was started
    found = {o.device: o.result for o in agent.ask(SyncLinksRequest((), ())).outcomes}
    assert found == {"ptrunk.7": "kept", "ptrunk.6": "removed", "ptrunk.9": "used"}
    assert agent.host.stored_links.names() == ("a",)


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
    assert agent.host.stored_links.names() == ("a",)
    assert not [o for o in agent.ask(request).outcomes if o.error]


def test_how_guests_are_connected(agent: Agent) -> None:
    """Of running domains of this system: devices, states, bytes from the view of the guest, drops."""
    agent.links.add("br1", "bridge")
    agent.perform(networked("a"), start("b"))
    below = agent.links.links["ptrunk.7"]
    for name, parent in (("macvtap0", below), ("vnet1", None)):
        made = agent.links.add(name, "tun", parent)
        agent.links.links[name] = made._replace(received_bytes=10, sent_bytes=20)
    agent.filters.dropped["macvtap0", "mac"] = 1
    tap, port = agent.ask(NetworkRequest()).interfaces
    assert (tap.domain, tap.mac) == ("a", "02:00:00:00:00:01")
    assert (tap.device, tap.source, tap.vlan) == ("macvtap0", "ptrunk.7", 7)
    assert (tap.received_bytes, tap.sent_bytes) == (10, 20)
    assert (port.received_bytes, port.sent_bytes) == (20, 10)
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
    assert "ptrunk.7" not in agent.links.links and agent.host.stored_links.names() == ()
