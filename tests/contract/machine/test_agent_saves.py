"""The agent saves machines and continues them: wholly or not at all, and with the disks that they were saved with."""

import os
from pathlib import Path

import pytest

from rocks.core.errors import RocksError, StateError, ToolError
from rocks.fleet.wire.errors import as_exception
from rocks.fleet.wire.facts import FactsRequest, LeaseEnd
from rocks.fleet.wire.requests import (
    ChangeDomain,
    DiskSpec,
    GrowDisk,
    Operation,
    PauseDomain,
    PerformRequest,
    ResumeDomain,
    SaveDomain,
    StartDomain,
    StopDomain,
)
from rocks.machine.host.disks import identity_at
from rocks.machine.host.libvirt.device_xml import changed_lease
from rocks.machine.host.libvirt.domain_xml import DiskIdentity
from rocks.storage.mapped_volumes import MappedImage, forget_mapped, write_mapped
from tests.contract.agents import Agent, leased_xml
from tests.contract.outcomes import refused

DISK = "<disk type='file' device='disk'><source file='{path}'/><target dev='vda' bus='virtio'/></disk>"
HOSTDEV = """<hostdev mode='subsystem' type='pci' managed='yes'><source>
<address domain='0x0000' bus='0x03' slot='0x00' function='0x1'/></source></hostdev>"""
INTERFACE = "<interface type='ethernet'><mac address='76:77:6e:80:00:01'/></interface>"
SAVE = SaveDomain("g", 7, 64)
RESTORE = StartDomain("g", 7, leased_xml("g", 7), restores=True, memory_reserve_mb=0)


class Saver(Agent):
    """An agent whose host runs the machine `g` with one disk, under lease 7."""

    def __init__(self, folder: Path, devices: str = "") -> None:
        super().__init__(folder)
        self.disk = folder / "g.vda"
        self.disk.write_bytes(b"disk")
        self.record = folder / "state/saved/g"
        self.domains.define(leased_xml("g", 7, devices or DISK.format(path=self.disk)))
        self.domains.start_paused("g")
        self.domains.resume("g")
        self.host.leases.admit("g", 7)

    def do(self, operation: Operation) -> bool:
        """Whether the operation changed anything; its error raised."""
        (outcome,) = self.ask(PerformRequest((operation,))).outcomes
        if outcome.error is not None:
            raise as_exception(outcome.error)
        return outcome.changed

    @property
    def now(self) -> tuple[str, bool]:
        found = self.domains.find("g")
        return found.state, found.has_managed_save


def test_a_saved_machine_keeps_its_lease_until_it_continues(tmp_path: Path) -> None:
    agent = Saver(tmp_path)
    assert agent.do(SAVE) and not agent.do(SAVE) and agent.now == ("shutoff", True)
    assert agent.ask(FactsRequest(lease_ends=(LeaseEnd("g", 7),))).ended == ()
    refused(StateError, "saved=remove discards", agent.do, StopDomain("g", 7))
    grow = GrowDisk("g", DiskSpec(str(agent.disk), "raw", 1, False))
    refused(StateError, "g is saved on this host", agent.do, grow)
    assert agent.do(RESTORE) and not agent.do(RESTORE)
    assert agent.now == ("running", False) and not agent.record.exists()
    assert agent.do(SAVE) and agent.do(StopDomain("g", 7, discards_save=True)) and not agent.record.exists()


def test_a_save_that_was_killed_is_completed_before_the_machine_continues(tmp_path: Path) -> None:
    agent = Saver(tmp_path)
    agent.domains.save("g")
    refused(StateError, "was interrupted; complete it: rocks save host vm g", agent.do, RESTORE)
    agent.domains.refusals["read the managed save"] = "save image is incomplete"
    refused(ToolError, "save image is incomplete", agent.do, SAVE)
    assert agent.do(SAVE) and agent.do(RESTORE) and agent.now == ("running", False)


@pytest.mark.parametrize("change", [b"dis.", b"longer disk", None])
def test_a_machine_whose_disk_has_changed_does_not_continue(tmp_path: Path, change: bytes | None) -> None:
    agent = Saver(tmp_path)
    agent.do(SAVE)
    agent.disk.unlink()
    if change is not None:
        agent.disk.write_bytes(change)
    refused(StateError, r"g\.vda of g has changed since", agent.do, RESTORE)
    assert agent.now == ("shutoff", True)


def test_a_disk_that_the_guest_had_not_released_is_checked_too(tmp_path: Path) -> None:
    """Its removal took it from the definition of the domain before."""
    agent = Saver(tmp_path)
    second = tmp_path / "g.vdb"
    second.write_bytes(b"disk")
    before = second.stat()
    agent.domains.attach("g", DISK.format(path=second).replace("vda'", "vdb'"))
    agent.do(SAVE)
    named = f"<name>g</name><uuid>{agent.domains.find('g').uuid}</uuid>"
    agent.domains.define(leased_xml("g", 7, DISK.format(path=agent.disk)).replace("<name>g</name>", named))
    second.write_bytes(b"edit")
    os.utime(second, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    refused(StateError, r"g\.vdb of g has changed since", agent.do, RESTORE)
    os.utime(second, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert agent.do(RESTORE) and agent.now == ("running", False)


def test_a_damaged_record_is_an_error(tmp_path: Path) -> None:
    agent = Saver(tmp_path)
    agent.do(SAVE)
    for text in ("", "[1]", "{"):
        agent.record.write_text(text)
        refused(RocksError, "the record of the saved g, cannot be read .*saved=remove", agent.do, RESTORE)


def test_what_cannot_be_saved_runs_on(tmp_path: Path) -> None:
    agent = Saver(tmp_path)
    agent.domains.refusals["save"] = "No space left on device"
    refused(ToolError, "No space left on device", agent.do, SAVE)
    refused(StateError, "under lease 7, not 8", agent.do, SaveDomain("g", 8, 64))
    refused(StateError, "absent is not running on this host", agent.do, SaveDomain("absent", 7, 64))
    assert agent.now == ("running", False) and not agent.record.exists()


def test_the_memory_that_the_guest_has_must_fit_whatever_its_records_say(tmp_path: Path) -> None:
    agent = Saver(tmp_path)
    agent.domains.destroy("g")
    agent.domains.undefine("g")
    agent.domains.define(leased_xml("g", 7).replace("65536", str(10**12)))
    agent.domains.start_paused("g")
    refused(StateError, "its memory takes up to .* must stay free", agent.do, SAVE)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (HOSTDEV, "it has the device 0000:03:00.1 of its host"),
        (DISK.format(path="/dev/null"), "its disk /dev/null is a device, which could change meanwhile"),
    ],
)
def test_machines_with_devices_are_not_saved(tmp_path: Path, devices: str, message: str) -> None:
    agent = Saver(tmp_path, devices)
    refused(StateError, message, agent.do, SAVE)
    assert agent.now == ("running", False)


class ImageSaver(Saver):
    """The disk is the device of an image of a NAS, which the image daemon has mapped."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.mapped = folder / "state/imgstorage/mapped"
        self.map(3)

    def map(self, epoch: int, image: str = "id") -> None:
        """What the image daemon records."""
        write_mapped(self.mapped, "g-vol", MappedImage(str(self.disk), image, epoch))


def test_a_machine_continues_with_the_images_that_have_not_left_its_host(tmp_path: Path) -> None:
    """Whatever its daemon did to the device below, and whichever number a boot has given it."""
    agent = ImageSaver(tmp_path)
    before = DiskIdentity(str(agent.disk), 1, 2)
    agent.domains.set_lease("g", changed_lease(agent.domains.document("g"), added=[before]))
    assert agent.do(SAVE)
    agent.disk.unlink()
    refused(StateError, r"g stays saved: its disk .*g\.vda is not there yet", agent.do, RESTORE)
    assert agent.now == ("shutoff", True)
    agent.disk.write_bytes(b"merged")
    agent.map(3)
    assert agent.do(RESTORE) and agent.now == ("running", False)
    assert agent.domains.document("g").disk_identities == (identity_at(str(agent.disk)),)


def test_a_machine_that_libvirt_started_after_a_boot_is_changed_paused_and_resumed(tmp_path: Path) -> None:
    """The boot has given the device of its image another number."""
    agent = ImageSaver(tmp_path)
    before = DiskIdentity(str(agent.disk), 1, 2)
    agent.domains.set_lease("g", changed_lease(agent.domains.document("g"), added=[before]))
    with_interface = leased_xml("g", 7, DISK.format(path=agent.disk) + INTERFACE)
    assert agent.do(ChangeDomain("g", 7, with_interface, interfaces=True))
    assert agent.do(PauseDomain("g", 7)) and agent.do(ResumeDomain("g", 7))
    assert agent.now == ("running", False)
    assert agent.domains.document("g").disk_identities == (identity_at(str(agent.disk)),)


@pytest.mark.parametrize(
    ("epoch", "image"), [(4, "id"), (3, "other"), (None, "")], ids=["again", "another", "unmapped"]
)
def test_an_image_that_has_left_its_host_is_another_disk(
    tmp_path: Path, epoch: int | None, image: str
) -> None:
    agent = ImageSaver(tmp_path)
    agent.do(SAVE)
    if epoch is None:
        forget_mapped(agent.mapped, "g-vol")
    else:
        agent.map(epoch, image)
    with pytest.raises(StateError, match="is an image of a NAS that has left this host since .*saved=remove"):
        agent.do(RESTORE)
    assert agent.now == ("shutoff", True)
    agent.map(3)
    assert agent.do(RESTORE), "the same image after all"


def test_a_damaged_record_of_an_image_names_what_writes_it_again(tmp_path: Path) -> None:
    agent = ImageSaver(tmp_path)
    agent.do(SAVE)
    for text in ("", "[]", '{"device": "/dev/x"}'):
        (agent.mapped / "g-vol").write_text(text)
        refused(RocksError, "systemctl restart rocks-imgstorage-host", agent.do, RESTORE)


def test_a_guest_that_may_be_frozen_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is when its agent has thawed it, and when the mark is that of a guest that has ended."""
    agent = Saver(tmp_path)
    mark = tmp_path / "state/frozen/g"
    mark.parent.mkdir()
    mark.write_text("7")
    refused(StateError, "the file systems of g may still be frozen", agent.do, SAVE)
    assert agent.now == ("running", False) and mark.exists()
    monkeypatch.setattr(type(agent.domains), "thaw", lambda *_: 0)
    assert agent.do(SAVE) and not mark.exists()
    monkeypatch.undo()
    assert agent.do(RESTORE)
    mark.write_text("6")
    assert agent.do(SAVE) and not mark.exists()
