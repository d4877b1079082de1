"""Virtual functions in the agent: assigned at a start, released at the end of the guest, restored after a boot."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from rocks.core.errors import StateError
from rocks.fleet.host.state_folder import locked
from rocks.fleet.wire.facts import AdapterSpec, AdaptersRequest, FactsRequest, Fence, VfFact
from rocks.fleet.wire.requests import (
    DiskSpec,
    InterfaceFact,
    NetworkRequest,
    OperationOutcome,
    StartDomain,
    StopDomain,
    VfSpec,
)
from rocks.machine.host.guest_network import restore_vfs
from rocks.machine.host.libvirt.domain_xml import parse_domain, vf_addresses
from rocks.network.sriov.host import guests as guest_vfs
from rocks.network.sriov.host import guests as vf_records
from rocks.network.sriov.host.rules import NO_MAC
from tests.contract.agents import Agent, leased_xml
from tests.contract.outcomes import refused
from tests.fakes.packet_filters import FakeFilters

MAC, OTHER_MAC = "52:54:00:aa:00:01", "52:54:00:aa:00:02"
FIRST, SECOND = VfSpec("trunk", 2, 0, MAC, 100), VfSpec("trunk", 2, 1, OTHER_MAC, 200)
INTERFACE = """<interface type='hostdev' managed='yes'><source><address type='pci' domain='0x0' bus='0x0' slot='0x0'
function='0x0'/></source><mac address='{mac}'/><vlan><tag id='{vlan}'/></vlan></interface>"""
TAP = "<interface type='direct'><source dev='trunk.7'/><mac address='52:54:00:aa:00:09'/></interface>"


class VfAgent(Agent):
    """An agent whose host has an adapter with VFs, and a kernel without packet filters."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.vfs.add("trunk")
        self.filters = FakeFilters(knows_filters=False)

    def vf(self, number: int) -> VfFact:
        return self.vfs.adapters["trunk"].vfs[number]

    def record(self, name: str) -> Path:
        return self.state_folder / "functions" / f"{name}.json"


@pytest.fixture
def agent(tmp_path: Path, without_kvm: None) -> VfAgent:
    """A host without domains, without KVM, and with an adapter without VFs."""
    return VfAgent(tmp_path)


def start(name: str, *vfs: VfSpec, token: int = 7, **changes: Any) -> StartDomain:
    """The operation that starts a machine with these VFs."""
    interfaces = "".join(INTERFACE.format(mac=one.mac, vlan=one.vlan) for one in vfs)
    xml = leased_xml(name, token, interfaces)
    return replace(StartDomain(name, token, xml, vfs=vfs), **changes)


def test_a_guest_gets_its_vf_before_it_starts(agent: VfAgent) -> None:
    """Made, configured, in its XML, recorded; repeated, nothing changes."""
    (outcome,) = agent.perform(start("a", FIRST))
    assert outcome.error is None and outcome.changed
    made = agent.vf(0)
    assert (made.mac, made.vlan, made.checks_source, made.is_trusted) == (MAC, 100, True, False)
    document = agent.domains._domains["a"].document
    assert vf_addresses(document) == {MAC: "0000:01:10.0"}
    assert document.root.find("devices/interface/vlan/tag").get("id") == "100"
    assert json.loads(agent.record("a").read_text())["token"] == 7
    # paused and resumed as any other, also where the kernel has no packet filters
    assert agent.domains.find("a").state == "running" and agent.filters.rules == {}
    assert agent.perform(start("a", FIRST)) == (OperationOutcome("a", False),)


def test_two_guests_get_two_vfs(agent: VfAgent) -> None:
    """At the same time, from one adapter whose VFs are made once."""
    outcomes = agent.perform(start("a", FIRST), start("b", SECOND))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert [agent.vf(number).mac for number in (0, 1)] == [MAC, OTHER_MAC]
    assert agent.vfs.adapters["trunk"].most == 7
    assert len(agent.vfs.adapters["trunk"].vfs) == 2


def test_vfs_are_released_with_the_guest(agent: VfAgent) -> None:
    """Also when the guest ended by itself; then there is no record."""
    for crash in (False, True):
        agent.perform(start("a", FIRST))
        if crash:
            agent.domains.destroy("a")
            agent.domains.undefine("a")
        assert agent.error(StopDomain("a", 7)) is None
        assert (agent.vf(0).mac, agent.vf(0).vlan) == (NO_MAC, 0)
        assert not agent.record("a").exists()


def test_settings_by_libvirt_are_cleared_too(agent: VfAgent) -> None:
    """When a guest ends, libvirt 9.0 sets an address of the host in its VF, and the VLAN again."""
    agent.perform(start("a", FIRST))
    agent.vfs.ensure(replace(FIRST, mac="52:54:00:cc:00:01"))
    assert agent.error(StopDomain("a", 7)) is None
    assert (agent.vf(0).mac, agent.vf(0).vlan) == (NO_MAC, 0)


def test_a_vf_that_was_reassigned_stays(agent: VfAgent) -> None:
    """An old record of it has no effect."""
    agent.perform(start("a", FIRST))
    text = agent.record("a").read_text()
    agent.perform(StopDomain("a", 7), start("b", replace(FIRST, mac=OTHER_MAC)))
    agent.record("a").write_text(text)
    assert agent.perform(StopDomain("a", 7))[0].notes == ()
    assert (agent.vf(0).mac, agent.vf(0).vlan) == (OTHER_MAC, 100)
    assert not agent.record("a").exists()


def test_a_start_that_fails_leaves_no_settings(agent: VfAgent) -> None:
    """Otherwise frames for the guest would go to a free VF instead of its next place."""
    agent.domains.refusals["start"] = "boom"
    assert agent.error(start("a", FIRST)).family == "tool"
    assert agent.vf(0).mac == NO_MAC
    assert not agent.record("a").exists()
    assert agent.domains.find("a") is None


def test_a_start_that_fails_releases_what_a_killed_one_has_left(
    agent: VfAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although it fails before it comes to the VFs."""
    with monkeypatch.context() as killed:
        killed.setattr(agent.domains, "define", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            agent.perform(start("a", FIRST))
    assert agent.vf(0).mac == MAC and agent.record("a").exists() and agent.domains.find("a") is None
    missing = DiskSpec("/nowhere/a.iso", "raw", 0, False, is_cdrom=True)
    assert agent.error(start("a", FIRST, disks=(missing,))).family == "state"
    assert agent.vf(0).mac == NO_MAC and not agent.record("a").exists()


def test_a_failed_filter_releases_the_vf(agent: VfAgent) -> None:
    """Of a machine that also has an interface of the other kind."""
    operation = start("a", FIRST)
    error = agent.error(replace(operation, xml=operation.xml.replace("</devices>", f"{TAP}</devices>")))
    assert error.family == "tool" and "did not filter macvtap1" in error.message
    assert agent.domains.find("a") is None
    assert agent.vf(0).mac == NO_MAC and not agent.record("a").exists()


def test_how_guests_with_vfs_are_connected(agent: VfAgent) -> None:
    """Adapter, PCI address and VLAN from the host's record; there are no counters."""
    agent.perform(start("a", FIRST), start("b", replace(SECOND, checks_source=False)))
    one, other = agent.ask(NetworkRequest()).interfaces
    address = "0000:01:10.0"
    assert one == InterfaceFact("a", MAC, address, "trunk", 100, True, True, None, None, "adapter", ())
    assert (other.domain, other.vlan, other.filter) == ("b", 200, "off")
    agent.links.links.clear()
    agent.record("b").write_text("?")
    (left,) = agent.ask(NetworkRequest()).interfaces
    assert (left.domain, left.is_up, left.has_carrier) == ("a", False, False)


def test_a_vf_of_another_user(agent: VfAgent) -> None:
    """The start fails with the name of the user; no domain is defined, the VF stays unchanged."""
    agent.vfs.ensure_count("trunk", 2)
    agent.vfs.use("trunk", 0, "the guest stranger")
    before = agent.vf(0)
    error = agent.error(start("a", FIRST))
    assert error.family == "busy"
    assert "function 0 of trunk on this host is in use, by the guest stranger" in error.message
    assert agent.domains.find("a") is None and agent.vf(0) == before
    agent.vfs.use("trunk", 0, "")
    assert agent.error(start("a", FIRST)) is None


@pytest.mark.parametrize(
    ("adapter", "text"),
    [
        ({}, "this host has no network adapter trunk"),
        ({"most": 0}, "has no virtual functions: the adapter or driver lacks SR-IOV"),
        ({"has_iommu": False}, "no IOMMU in use, so no function of trunk can be assigned to a guest"),
        ({"is_up": False}, "is down: `ip link set trunk up`"),
        ({"most": 1}, "has at most 1 virtual functions, not 2"),
    ],
)
def test_an_unsuitable_adapter(agent: VfAgent, adapter: dict[str, Any], text: str) -> None:
    """Nothing of the attempt remains."""
    del agent.vfs.adapters["trunk"]
    if adapter:
        agent.vfs.add("trunk", **adapter)
    error = agent.error(start("a", FIRST))
    assert error.family == "state" and text in error.message
    assert agent.domains.find("a") is None and not agent.record("a").exists()


def test_more_vfs_only_while_none_is_in_use(agent: VfAgent) -> None:
    """A guest whose VF exists starts all the same, whatever number the site sets meanwhile."""
    agent.perform(start("a", FIRST))
    agent.vfs.use("trunk", 0, "the guest a")
    third = VfSpec("trunk", 3, 2, "52:54:00:aa:00:03")
    error = agent.error(start("c", third))
    assert error.family == "busy" and "has 2 virtual functions, and 3 are requested" in error.message
    assert agent.error(start("b", replace(SECOND, count=3))) is None
    agent.vfs.use("trunk", 0, "")
    agent.perform(StopDomain("a", 7), StopDomain("b", 7))
    assert agent.error(start("c", third)) is None
    assert len(agent.vfs.adapters["trunk"].vfs) == 3


def test_their_number_changes_only_between_starts(agent: VfAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making VFs removes all of them first, also one that is configured but not yet in use."""
    monkeypatch.setattr(guest_vfs, "_DEADLINE_SECONDS", 0.05)
    lock = agent.state_folder / "functions.lock"
    with locked(lock, shared=True, deadline_seconds=1, busy=""):
        error = agent.error(start("a", FIRST))
        assert error.family == "busy" and "so their number cannot be changed; try again" in error.message
        agent.vfs.ensure_count("trunk", 2)
        assert agent.error(start("a", FIRST)) is None


def test_a_guest_with_another_vf(agent: VfAgent) -> None:
    """Under its next lease; the first VF becomes free."""
    agent.perform(start("a", FIRST))
    agent.domains.destroy("a")
    assert agent.error(start("a", replace(SECOND, mac=MAC), token=8)) is None
    assert [agent.vf(number).mac for number in (0, 1)] == [NO_MAC, MAC]
    agent.domains.destroy("a")
    assert agent.error(start("a", token=9)) is None
    assert [agent.vf(number).mac for number in (0, 1)] == [NO_MAC, NO_MAC]
    assert not agent.record("a").exists()


def test_a_fence_releases_the_vfs_too(agent: VfAgent) -> None:
    """They are free when the fence is reported, not before; those of a newer lease stay."""
    agent.perform(start("a", FIRST), start("b", SECOND, token=9))
    agent.vfs.use("trunk", 0, "process 5 (qemu)")
    fences = (Fence("a", 8), Fence("b", 9))
    assert agent.ask(FactsRequest(fences=fences)).fenced == ("b",)
    assert agent.domains.find("a") is None
    agent.vfs.use("trunk", 0, "")
    assert agent.ask(FactsRequest(fences=fences)).fenced == ("a", "b")
    assert (agent.vf(0).mac, agent.vf(1).mac) == (NO_MAC, OTHER_MAC)
    assert not agent.record("a").exists() and agent.record("b").exists()


def test_a_failed_release_is_reported(agent: VfAgent) -> None:
    """The stop succeeds; the next one tries again."""
    agent.perform(start("a", FIRST))
    agent.vfs.use("trunk", 0, "process 5 (dpdk)")
    (outcome,) = agent.perform(StopDomain("a", 7))
    assert outcome.error is None
    assert "function 0 of trunk still has the settings of a" in outcome.notes[0]
    assert "process 5 (dpdk)" in outcome.notes[0]
    agent.vfs.use("trunk", 0, "")
    assert agent.perform(StopDomain("a", 7))[0].notes == ()
    assert agent.vf(0).mac == NO_MAC


def test_a_record_that_cannot_be_read(agent: VfAgent) -> None:
    """The error names its path; a stop ends the guest all the same."""
    agent.perform(start("a", FIRST))
    agent.record("a").write_text('{"token": "x"}')
    (outcome,) = agent.perform(StopDomain("a", 7))
    assert outcome.error is None and "a.json, the record of the virtual functions of a" in outcome.notes[0]
    error = agent.error(start("a", FIRST, token=8))
    assert error.family == "incoherent" and "remove the file" in error.message
    agent.record("a").unlink()
    assert agent.error(start("a", FIRST, token=8)) is None


def test_xml_with_other_vfs(agent: VfAgent) -> None:
    """A filter or plugin that changed the interfaces would give the guest another machine's VF."""
    for operation in (
        start("a", FIRST, xml=start("a", SECOND).xml),
        start("a", FIRST, xml=start("a").xml),
        start("a", xml=start("a", FIRST).xml),
    ):
        error = agent.error(operation)
        assert error.family == "incoherent" and "rocks report host vm config" in error.message
        assert agent.domains.find("a") is None
    assert agent.error(start("a", replace(FIRST, number=2))).family == "user"


def boot(agent: VfAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's VFs and running guests are gone; definitions and records stay."""
    adapter = agent.vfs.adapters["trunk"]
    agent.vfs.adapters["trunk"] = adapter._replace(vfs=())
    monkeypatch.setattr(vf_records, "boot_id", lambda: "next")
    for module in ("rocks.machine.host.guest_network", "rocks.network.sriov.host.guests"):
        monkeypatch.setattr(f"{module}.boot_id", lambda: "next")


def test_a_guest_that_starts_with_its_host(agent: VfAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """libvirt's hook makes and configures its VF again, once per boot."""
    agent.perform(start("a", FIRST))
    document = agent.domains._domains["a"].document
    restore_vfs(agent.host, document)
    assert len(agent.vfs.adapters["trunk"].vfs) == 2
    boot(agent, monkeypatch)
    restore_vfs(agent.host, document)
    assert (agent.vf(0).mac, agent.vf(0).vlan) == (MAC, 100)
    agent.vfs.adapters.clear()
    restore_vfs(agent.host, document)


def test_a_guest_whose_vf_has_another_address(agent: VfAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter in another slot: libvirt would assign the device at the old address."""
    agent.perform(start("a", FIRST))
    document = agent.domains._domains["a"].document
    boot(agent, monkeypatch)
    moved = parse_domain(document.text.replace("0x10", "0x11"))
    with pytest.raises(StateError, match="have other addresses on this host .* `rocks start host vm a`"):
        restore_vfs(agent.host, moved)


def test_adapters_are_read_and_vfs_made(agent: VfAgent) -> None:
    """Only with a count; a problem is reported, or raised."""
    agent.vfs.add("down", is_up=False)
    reply = agent.ask(AdaptersRequest((AdapterSpec("trunk"), AdapterSpec("down"), AdapterSpec("none"))))
    assert [adapter.most for adapter in reply.adapters] == [7, 7, 0]
    assert [bool(adapter.problem) for adapter in reply.adapters] == [False, True, True]
    assert reply.adapters[0].vfs == ()
    made = agent.ask(AdaptersRequest((AdapterSpec("trunk", 3),)))
    assert [one.address for one in made.adapters[0].vfs][-1] == "0000:01:10.4"
    refused(StateError, "down", agent.ask, AdaptersRequest((AdapterSpec("down", 1),)))
