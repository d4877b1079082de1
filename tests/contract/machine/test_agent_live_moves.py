"""What the agents of both hosts do at the end of a live migration: with a host in memory."""

from dataclasses import replace
from pathlib import Path

import pytest

from rocks.core.clock import Deadline
from rocks.core.errors import HostError, IncoherentError, StateError
from rocks.fleet.wire.live_moves import DiskSize, Leave
from rocks.fleet.wire.requests import (
    EndArrival,
    EndDeparture,
    Operation,
    OperationOutcome,
    ResumeDomain,
    StopDomain,
    SyncLinksRequest,
)
from rocks.machine.host import disks as arriving_images
from rocks.machine.host import live_move as live_moves
from rocks.machine.host.guest_network import sync_links
from rocks.storage.device_mapper.tables import Linear, Placeholder
from tests.contract.agents import VLAN, Agent
from tests.contract.outcomes import refused

XML = """<domain type='kvm'><name>g</name><uuid>u</uuid>
<metadata><rocks:lease xmlns:rocks="urn:rocks:lease" token="{}"/></metadata>
<memory>65536</memory><vcpu>1</vcpu><devices/></domain>"""


class End(Agent):
    """A host of the migration under lease 7."""

    def done(self, operation: Operation) -> OperationOutcome:
        (outcome,) = self.perform(operation)
        return outcome

    def run(self, token: int = 7) -> None:
        self.domains.define(XML.format(token))
        self.domains.start_paused("g")
        self.domains.resume("g")


@pytest.fixture
def end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> End:
    """The host; an incomplete arrival is not waited for."""
    monkeypatch.setattr(live_moves, "_SETTLED_SECONDS", 0.0)
    return End(tmp_path)


def test_an_incomplete_arrival_is_removed_with_its_devices(end: End) -> None:
    """The domain, its lease, its network devices and the plan to make them again at the next boot."""
    end.domains.begin_arrival(XML.format(7))
    end.host.links().ensure(VLAN)
    end.host.stored_links.remember("g", (VLAN,))
    outcome = end.done(EndArrival("g", 7, autostart=True))
    assert outcome.changed and outcome.error is None
    assert end.domains.find("g") is None and end.host.leases.remembered("g") == 8
    assert "ptrunk.7" not in end.links.links and end.host.stored_links.recall("g") == ()


@pytest.mark.parametrize("since", ["runs", "ended", "paused by its disk", "paused"])
def test_what_has_arrived_stays_whatever_happened_since(end: End, since: str) -> None:
    """Its disk is the only one that is current."""
    end.domains.begin_arrival(XML.format(7))
    end.domains.end_arrival("g")
    if since != "paused":
        end.domains.resume("g")
    if since == "ended":
        end.domains.destroy("g")
    elif since == "paused by its disk":
        end.domains.fail_disk("g")
    outcome = end.done(EndArrival("g", 7, autostart=True))
    assert not outcome.changed and outcome.error is None
    assert end.domains.find("g").autostart and end.host.leases.remembered("g") is None


def test_another_domain_keeps_its_devices(end: End) -> None:
    """An end of another lease changes nothing of a machine that runs here since."""
    end.run(token=9)
    end.host.stored_links.remember("g", (VLAN,))
    end.done(EndArrival("g", 7))
    assert end.domains.find("g").state == "running"
    assert end.host.stored_links.recall("g") == (VLAN,)


def test_a_machine_that_leaves_does_not_start_with_its_host(end: End) -> None:
    """A host that boots in the moment of the switch would start it from the old disk; it starts again if it stays."""
    end.run(token=6)
    end.domains.set_autostart("g", True)
    live_moves._renewed(end.host, Leave("g", 7, "m", ()))
    found = end.domains.find("g")
    assert (found.autostart, found.token) == (False, 7)
    assert end.done(EndDeparture("g", 7)) == OperationOutcome("g", False)
    found = end.domains.find("g")
    assert found is not None and not found.autostart, "it is not known yet where it runs"
    outcome = end.done(EndDeparture("g", 7, resumes=True, autostart=True))
    found = end.domains.find("g")
    assert outcome.error is None and not outcome.changed
    assert (found.autostart, found.state) == (True, "running")


def test_a_machine_that_stays_goes_on_under_its_new_lease(end: End) -> None:
    """Also when it was paused for the switch, and when its agent had not renewed the lease."""
    end.run(token=6)
    end.domains.suspend("g")
    assert end.done(EndDeparture("g", 7, resumes=True)).changed
    found = end.domains.find("g")
    assert (found.state, found.token) == ("running", 7)
    end.domains.destroy("g")
    error = end.done(EndDeparture("g", 7, resumes=True)).error
    assert "g is not running on this host: it is shutoff" in error.message


def test_the_end_of_a_departure_waits_for_the_agent_that_moves_it(
    end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the host reports meanwhile is not final."""
    monkeypatch.setattr("rocks.machine.host.operations.LOCK_SECONDS", 0.0)
    end.run()
    with end.host.leases.held("g", 1.0):
        error = end.done(EndDeparture("g", 7)).error
    assert error.family == "busy"
    with pytest.raises(StateError, match="lease 9"):
        end.host.leases.admit("g", 9)
        end.host.leases.admit("g", 7)


def test_an_arriving_machine_keeps_its_devices_in_a_synchronisation(end: End) -> None:
    """Before libvirt has it, the plan stays that its agent made; the frontend names it as one that may run here."""
    end.host.links().ensure(VLAN)
    end.host.stored_links.remember("g", (VLAN,))
    reply = sync_links(end.host, SyncLinksRequest((), ("g",)))
    assert [(one.device, one.result) for one in reply.outcomes] == [("ptrunk.7", "kept")]
    assert end.host.stored_links.recall("g") == (VLAN,)


def test_nothing_arrives_when_the_locks_of_its_devices_have_ended(
    end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another command could remove the devices then: the migration ends."""
    monkeypatch.setattr(live_moves, "_PREPARE_SECONDS", 0.0)
    refused(HostError, "libvirt began to receive nothing of g", live_moves._wait_until_there, end.host, "g")
    end.domains.begin_arrival(XML.format(7))
    live_moves._wait_until_there(end.host, "g")


def test_a_guest_that_may_be_frozen_does_not_leave(end: End) -> None:
    """Nothing would thaw it on its new host; nothing is changed."""
    end.run(token=6)
    end.domains.set_autostart("g", True)
    mark = end.host.state_folder / "frozen/g"
    mark.parent.mkdir(parents=True)
    mark.write_text("6")
    with pytest.raises(StateError, match="the file systems of g may still be frozen"):
        live_moves._renewed(end.host, Leave("g", 7, "m", ()))
    found = end.domains.find("g")
    assert (found.autostart, found.token) == (True, 6)


IMAGE = DiskSize("vda", "/dev/mapper/g-vol-snap", 2**30)


def test_a_machine_whose_images_follow_has_arrived_when_it_is_paused(
    end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libvirt does not resume it, so nothing is waited for; without an arrival its placeholder is removed."""
    monkeypatch.setattr(live_moves, "_SETTLED_SECONDS", 3600.0)
    arriving_images.create_placeholders(end.host, [IMAGE])
    end.domains.begin_arrival(XML.format(7))
    end.domains.end_arrival("g")
    outcome = end.done(EndArrival("g", 7, images=(IMAGE.path,)))
    assert not outcome.changed and outcome.error is None
    end.domains.destroy("g")
    end.domains.erase("g")
    assert end.dm_devices.read("g-vol-snap") is not None
    assert end.done(EndArrival("g", 7, images=(IMAGE.path,))).error is None
    assert end.dm_devices.read("g-vol-snap") is None


def test_placeholders_replace_those_of_an_earlier_attempt_only(end: End) -> None:
    """An image that grew has another size; the device of an image that is mapped is neither replaced nor removed."""
    arriving_images.create_placeholders(end.host, [IMAGE])
    arriving_images.create_placeholders(end.host, [replace(IMAGE, size_bytes=2**31)])
    assert end.dm_devices.read("g-vol-snap").table == Placeholder(2**31 // 512)
    end.dm_devices.ensure_gone("g-vol-snap", Deadline(0))
    end.dm_devices.ensure("g-vol-snap", Linear(2**21, "/dev/zvol/tank/g-vol"))
    with pytest.raises(StateError, match="this host has a device /dev/mapper/g-vol-snap already"):
        arriving_images.create_placeholders(end.host, [IMAGE])
    arriving_images.remove_placeholders(end.host, [IMAGE.path])
    assert end.dm_devices.read("g-vol-snap") is not None
    with pytest.raises(IncoherentError, match="is no device of an image"):
        arriving_images.create_placeholders(end.host, [replace(IMAGE, path="/dev/sda")])


def test_a_machine_that_waits_for_its_image_is_not_resumed_and_its_end_removes_the_placeholder(
    end: End,
) -> None:
    """A write of its guest would fail; with the image's content it goes on."""
    disk = f"<disk type='block' device='disk'><source dev='{IMAGE.path}'/><target dev='vda'/></disk>"
    arriving_images.create_placeholders(end.host, [IMAGE])
    end.domains.begin_arrival(XML.format(7).replace("<devices/>", f"<devices>{disk}</devices>"))
    end.domains.end_arrival("g")
    error = end.done(ResumeDomain("g", 7)).error
    assert f"waits on this host for its image {IMAGE.path}" in error.message
    assert end.domains.find("g").state == "paused"
    assert end.done(StopDomain("g", 7)).error is None
    assert end.domains.find("g") is None and end.dm_devices.read("g-vol-snap") is None


def test_a_request_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_moves, "MAXIMUM_LINE_BYTES", 1000)
    monkeypatch.setattr(live_moves.os, "read", lambda descriptor, size: b" ")
    with pytest.raises(IncoherentError, match="no end"):
        live_moves._request(live_moves.Leave)
