"""What changes a domain that runs, on libvirt in memory and on a real one whose guest has no system.

Such a guest releases no device; `tests/system/vms/test_changes.py` has one with a kernel.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.errors import BusyError, RocksError, StateError, ToolError
from rocks.fleet.host.change import UNCHANGED
from rocks.fleet.wire.requests import ChangeDomain, DiskSpec, StartDomain
from rocks.machine.host import change
from rocks.machine.host.change import (
    add_memory,
    attach_disk,
    ensure_cpus,
    ensure_grown,
    ensure_interfaces,
    plan_memory,
)
from rocks.machine.host.disks import ensure_disk, grow_image, is_same
from rocks.machine.host.files import ImageOwners
from rocks.machine.host.libvirt.device_xml import disk_of, text_of
from rocks.machine.host.libvirt.domain_xml import DiskIdentity, DomainDocument, parse_domain
from tests.contract.machine.libvirt.world import NAME, World, run, start, unsecured, xml_of
from tests.contract.outcomes import refused
from tests.fakes.libvirt import FakeDomains

LARGEST = (
    "<maxMemory slots='16' unit='KiB'>1048576</maxMemory>",
    "<vcpu current='1'>4</vcpu><cpu mode='maximum'><numa>"
    "<cell id='0' cpus='0-3' memory='65536' unit='KiB'/></numa></cpu>",
)
MACHINE = "0f0e0d0c-0000-4000-8000-000000000001"


def requested(world: World, cpus: int = 1, memory_mb: int = 64) -> DomainDocument:
    """The document of a guest with a maximum of four CPUs and 1 GiB."""
    text = xml_of(world).replace("<memory>65536</memory>", f"{LARGEST[0]}<memory>{memory_mb * 1024}</memory>")
    return parse_domain(text.replace("<vcpu>1</vcpu>", LARGEST[1].replace("'1'", f"'{cpus}'", 1)))


def second_disk(world: World, device: str = "vdb") -> tuple[DomainDocument, str, DiskIdentity, ImageOwners]:
    """A document with a second disk, its path and identity."""
    path = str(world.image.with_name("second.img"))
    owners = ImageOwners(world.image.parent / "state")
    identity = ensure_disk(DiskSpec(path, "raw", 1, False, MACHINE), owners)[1]
    disk = (
        f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>"
        f"<target dev='{device}' bus='virtio'/></disk>"
    )
    return parse_domain(xml_of(world).replace("<serial", f"{disk}<serial")), path, identity, owners


def attach(
    world: World, is_same_now: Callable[[], bool] | None = None, device: str = "vdb"
) -> tuple[str, ...]:
    document, path, identity, owners = second_disk(world, device)
    disk = disk_of(document, path)
    assert disk is not None
    check = is_same_now or (lambda: is_same(identity, owners))
    return attach_disk(world.domains, NAME, disk, path, identity, check).notes


def test_cpus_and_memory_are_added_up_to_the_maximum(world: World) -> None:
    """More than it, or less than now, waits for the next start, and the note says why."""
    text = requested(world).text
    run(world, StartDomain(NAME, 7, text))
    live = world.domains.document(NAME)
    assert (live.cpus, live.max_cpus, live.memory_mb, live.max_memory_mb) == (1, 4, 64, 1024)
    assert ensure_cpus(world.domains, live, requested(world, cpus=3), 8).changed
    assert add_memory(world.domains, live, requested(world, memory_mb=64 + 256)).changed
    live = world.domains.document(NAME)
    assert (live.cpus, live.memory_mb) == (3, 320)
    found = world.domains.find(NAME)
    assert (found.cpus, found.memory_mb) == (3, 320)
    for cpus, word in ((3, ""), (2, "not taken"), (5, "maximum of 4")):
        change = ensure_cpus(world.domains, live, requested(world, cpus=cpus), 8)
        assert not change.changed and word in "".join(change.notes), cpus
    for memory_mb, word in (
        (320, ""),
        (64, "not taken"),
        (2048, "maximum of 1024 MB"),
        (400, "steps of 128"),
    ):
        plan = plan_memory(live, requested(world, memory_mb=memory_mb))
        assert not plan.steps and word in "".join(plan.notes), memory_mb
    assert world.domains.document(NAME).cpus == 3


@pytest.mark.slow
def test_without_a_maximum_all_waits_for_the_next_start(world: World) -> None:
    """The note names the command that sets one."""
    start(world)
    live = world.domains.document(NAME)
    assert "maxcpus=N" in ensure_cpus(world.domains, live, requested(world, cpus=2), 8).notes[0]
    assert "maxmem=MB" in plan_memory(live, requested(world, memory_mb=192)).notes[0]


def test_a_disk_is_attached_once_and_is_in_the_lease(world: World) -> None:
    """Under the name of the document, or the next free one; the lease stays the guest's."""
    start(world)
    assert attach(world, device="vda") == (
        f"{world.image.with_name('second.img')} is attached to {NAME} as vdb; at its next start it is vda",
    )
    live = world.domains.document(NAME)
    (identity,) = live.disk_identities
    assert live.token == 7
    assert (identity[0], identity[3]) == (str(world.image.with_name("second.img")), MACHINE)
    disk = disk_of(live, identity[0])
    assert disk is not None
    assert not attach_disk(world.domains, NAME, disk, identity[0], identity, lambda: True).changed


def test_a_disk_of_virtio_is_attached_in_the_order_of_the_guests_names_only(world: World) -> None:
    """The guest names it by that order, whatever its record says; another name fits after its next start alone."""
    start(world)
    for device in ("vdc", "vdaa"):
        with pytest.raises(StateError, match=f"as {device}: the guest would name it vdb, .* the device vdb"):
            attach(world, device=device)
    assert world.domains.document(NAME).disk_identities == ()
    assert attach(world)[0].endswith("as vdb")


def test_a_disk_is_removed_from_the_definition_any_number_of_times(world: World) -> None:
    """Before the guest has released it: the running domain has it still."""
    start(world)
    attach(world)
    live = world.domains.document(NAME)
    path = live.disk_identities[0][0]
    disk = disk_of(live, path)
    assert disk is not None
    for _ in range(2):
        world.domains.forget_device(NAME, text_of(disk))
    assert disk_of(world.domains.document(NAME), path) is not None


@pytest.mark.slow
def test_a_failed_attach_leaves_the_domain_as_it_was(world: World) -> None:
    """Neither the disk nor its identity is there."""
    start(world)
    document, path, identity, _ = second_disk(world)
    disk = disk_of(document, path)
    assert disk is not None
    Path(path).unlink()
    refused(ToolError, "", attach_disk, world.domains, NAME, disk, path, identity, lambda: True)
    live = world.domains.document(NAME)
    assert disk_of(live, path) is None and live.disk_identities == () and live.token == 7


def test_a_disk_grows_and_never_shrinks(world: World) -> None:
    """Under a running guest, and when it is off."""
    start(world)
    assert ensure_grown(world.domains, NAME, str(world.image), 2 * 1000**3).changed
    assert world.image.stat().st_size == 2 * 1000**3 == world.domains.disk_bytes(NAME, str(world.image))
    assert not ensure_grown(world.domains, NAME, str(world.image), 2 * 1000**3).changed
    refused(StateError, "only grows", ensure_grown, world.domains, NAME, str(world.image), 1000**3)
    world.domains.destroy(NAME)
    owners = ImageOwners(world.image.parent / "state")
    assert grow_image(DiskSpec(str(world.image), "raw", 3, False), owners).changed
    refused(StateError, "only grows", grow_image, DiskSpec(str(world.image), "raw", 1, False), owners)
    assert world.image.stat().st_size == 3 * 1000**3


@pytest.mark.slow
def test_only_a_domain_that_runs_under_the_lease_is_changed(world: World) -> None:
    """Under another lease, or off, nothing is."""

    def change(token: int) -> ChangeDomain:
        return ChangeDomain(
            NAME, token, requested(world, cpus=2).text.replace('"7"', f'"{token}"'), cpus=True
        )

    assert world.do(change(7)) == UNCHANGED
    run(world, StartDomain(NAME, 7, requested(world).text))
    refused(StateError, "under lease 7, not 8", world.do, change(8))
    assert world.do(change(7)).notes == (f"{NAME} has 2 CPUs now",)
    world.domains.destroy(NAME)
    assert world.do(change(7)) == UNCHANGED


def with_interface(world: World) -> DomainDocument:
    """The document of the guest with an interface."""
    nic = "<interface type='ethernet'><mac address='76:77:6e:80:00:01'/><model type='virtio'/></interface>"
    return parse_domain(xml_of(world).replace("<serial", f"{nic}<serial"))


@pytest.mark.slow
def test_an_interface_that_the_guest_keeps_is_down_until_it_is_recorded_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The definition does not have it any more."""
    monkeypatch.setattr(change, "RELEASE_SECONDS", 0.0)
    if isinstance(world.domains, FakeDomains):
        world.domains.guests_release = False
    start(world)

    def sync(requested: DomainDocument) -> bool:
        return ensure_interfaces(world.domains, world.domains.document(NAME), requested, unsecured).changed

    def links() -> list[str | None]:
        found = world.domains.document(NAME).root.iterfind("devices/interface/link")
        return [link.get("state") for link in found]

    assert sync(with_interface(world)) and links() in (["up"], [])
    for _ in range(2):
        refused(BusyError, "and its link is down", sync, parse_domain(xml_of(world)))
        assert links() == ["down"]
    assert sync(with_interface(world)) and links() in (["up"], [])


def test_an_interface_is_up_only_when_its_filter_is_set(world: World) -> None:
    """The link of a new one is down while `secure` runs; an error leaves it down, and the next change completes it."""
    start(world)
    planned = with_interface(world)
    seen = []

    def fail(document: DomainDocument) -> None:
        seen.extend(found.get("state") for found in document.root.iterfind("devices/interface/link"))
        raise StateError("no filter")

    live = world.domains.document(NAME)
    with pytest.raises(RocksError, match="no filter"):
        ensure_interfaces(world.domains, live, planned, fail)  # type: ignore[arg-type]
    assert seen == ["down"]
    live = world.domains.document(NAME)
    assert ensure_interfaces(world.domains, live, planned, unsecured).changed
    live = world.domains.document(NAME)
    assert [link.get("state") for link in live.root.iterfind("devices/interface/link")] in (["up"], [])
    assert not ensure_interfaces(world.domains, live, planned, unsecured).changed
