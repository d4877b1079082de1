"""Block devices as disks, through the agent: each belongs to one machine, and what the host uses to none."""

import os
import subprocess  # noqa: TID251 - a mount that lasts while the test looks at it
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rocks.core.errors import RocksError, StateError
from rocks.fleet.wire.requests import Erase, GiveImageRequest, ImagesRequest, RemoveImageRequest, ResumeDomain
from rocks.machine.host import files
from rocks.machine.host.libvirt.device_xml import changed_lease
from rocks.machine.host.libvirt.domain_xml import DiskIdentity
from tests.contract.agents import ask
from tests.contract.attacked_host import MINE, THEIRS, Attacked, done
from tests.contract.outcomes import refused

pytestmark = pytest.mark.system  # root: other users' files, and attributes that only root can write


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    """A block device with a file system."""
    (tmp_path / "backing").touch()
    os.truncate(tmp_path / "backing", 16 * 1024**2)
    try:
        device = done(["losetup", "-f", "--show", str(tmp_path / "backing")])
    except RocksError as error:
        pytest.skip(f"no loop devices here: {error}")
    try:
        yield device
    finally:
        done(["losetup", "-d", device])


def test_block_devices_belong_to_a_machine(attacked: Attacked, loop: str, tmp_path: Path) -> None:
    """By their identity, whatever name is given; the record is root's."""
    spec = attacked.spec(Path(loop), is_block=True)
    assert "nobody is known to own" in attacked.start(spec)
    attacked.give(Path(loop), is_block=True)
    assert attacked.start(spec) == ""
    assert "belongs to another" in attacked.start(attacked.spec(Path(loop), is_block=True, machine=THEIRS))
    other = Path("/dev") / f"rocks-test-{os.getpid()}"
    other.symlink_to(loop)
    try:
        assert "belongs to another" in attacked.start(attacked.spec(other, is_block=True, machine=THEIRS))
    finally:
        other.unlink()
    (tmp_path / "link").symlink_to(loop)
    assert attacked.start(attacked.spec(tmp_path / "link", is_block=True)) == ""
    (record,) = (attacked.state / "images").iterdir()
    assert record.stat().st_mode & 0o777 == 0o600


def test_block_devices_that_the_host_uses(attacked: Attacked, loop: str, tmp_path: Path) -> None:
    """Mounted, or a file system's of the host."""
    done(["mkfs.ext4", "-q", loop])
    (tmp_path / "mounted").mkdir()
    # in a namespace of its own: whatever copies this one's mounts meanwhile would keep the device
    commands = f"mount {loop} {tmp_path}/mounted && echo mounted && read end; umount {tmp_path}/mounted"
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", commands], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as mounting:
        assert mounting.stdout is not None and mounting.stdout.readline() == "mounted\n"
        error = attacked.start(attacked.spec(Path(loop), is_block=True))
        mounting.communicate("\n")
    assert mounting.returncode == 0
    assert "the host itself uses the block device" in error
    attacked.give(Path(loop), is_block=True)
    assert attacked.start(attacked.spec(Path(loop), is_block=True)) == ""


def test_block_devices_outside_of_dev(attacked: Attacked, loop: str, tmp_path: Path) -> None:
    """A device file that somebody made elsewhere."""
    status = Path(loop).stat()
    os.mknod(tmp_path / "mine", status.st_mode, status.st_rdev)
    spec = attacked.spec(tmp_path / "mine", is_block=True)
    assert "outside of /dev" in attacked.start(spec)


def test_a_block_device_without_a_stable_identity(
    attacked: Attacked, loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another device may have its name after a boot: it is nobody's disk, unless it is a volume of ZFS."""
    name = Path(loop).name
    status = Path(loop).stat()
    (tmp_path / "sys" / name).mkdir(parents=True)
    (tmp_path / "sys" / f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}").symlink_to(name)
    monkeypatch.setattr(files, "_SYSFS", tmp_path / "sys")
    monkeypatch.setattr(files, "_ZFS_LINKS", tmp_path / "zvol")
    spec = attacked.spec(Path(loop), is_block=True)
    assert "no UUID, WWID or serial number" in attacked.start(spec)
    with pytest.raises(StateError, match="use a volume of LVM or ZFS, or an image file"):
        ask(attacked.host, GiveImageRequest(loop, "", True, MINE))
    (tmp_path / "zvol" / "tank").mkdir(parents=True)
    (tmp_path / "zvol" / "tank" / "vm").symlink_to(loop)
    attacked.give(Path(loop), is_block=True)
    assert attacked.start(spec) == ""
    assert attacked.host.image_owners.of_device("zvol=tank/vm") == MINE


def test_a_machine_is_resumed_after_a_boot_that_gave_its_device_another_number(
    attacked: Attacked, loop: str
) -> None:
    """libvirt has started it by itself; a device of another machine at that path is another disk."""
    attacked.give(Path(loop), is_block=True)
    operation = attacked.operation(attacked.spec(Path(loop), is_block=True))
    with_uuid = operation.xml.replace("</name>", f"</name><uuid>{MINE}</uuid>")
    assert attacked.perform(replace(operation, xml=with_uuid)) == ""
    attacked.domains.suspend("vm")
    document = attacked.domains.document("vm")
    attacked.domains.set_lease("vm", changed_lease(document, added=[DiskIdentity(loop, 1, 0)]))
    identity = files.identity_of(Path(loop).stat().st_rdev)
    attacked.host.image_owners.set_device(identity, loop, THEIRS)
    assert "was replaced" in attacked.perform(ResumeDomain("vm"))
    attacked.host.image_owners.set_device(identity, loop, MINE)
    assert attacked.perform(ResumeDomain("vm")) == ""
    assert attacked.domains.find("vm").state == "running"


@pytest.mark.parametrize("erase", ["discard", "overwrite"])
def test_a_removed_block_device_is_zeros_and_nobody_s(attacked: Attacked, loop: str, erase: Erase) -> None:
    """Only then it can be given to another machine."""
    Path(loop).write_bytes(b"the former owner's data")
    assert ask(attacked.host, GiveImageRequest(loop, "/dev", True, MINE)).changed
    (fact,) = ask(attacked.host, ImagesRequest(())).images
    assert (fact.path, fact.machine, fact.is_block, fact.size_bytes) == (loop, MINE, True, 16 * 1024**2)
    refused(StateError, "belongs to", ask, attacked.host, GiveImageRequest(loop, "/dev", True, THEIRS))
    assert ask(attacked.host, RemoveImageRequest(loop, "/dev", True, MINE, erase)).changed
    with Path(loop).open("rb") as device:
        assert device.read() == bytes(16 * 1024**2)
    assert ask(attacked.host, ImagesRequest(())).images == ()
    assert ask(attacked.host, GiveImageRequest(loop, "/dev", True, THEIRS)).changed
