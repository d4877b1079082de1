"""An image on its way from the library to the disk of a machine, through the installed agent and the host's files."""

import base64
import os
import subprocess  # noqa: TID251 - an agent that is killed at a chosen moment
import zlib
from pathlib import Path

import pytest

from lab import agent_archive
from lab.namespace import Machine
from lab.sshd import SshServer
from rocks.core.errors import HostError
from rocks.core.image_blocks import content_of, send_content
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.wire.requests import (
    BaseImage,
    DiskSpec,
    PerformRequest,
    SeedSpec,
    StartDomain,
    StopDomain,
    base_path,
)
from rocks.library.streams import send_image
from rocks.machine.host.files import ATTRIBUTE
from rocks.machine.host.host import Host
from tests.contract.agents import ask, leased_xml
from tests.contract.attacked_host import MINE, THEIRS
from tests.contract.outcomes import refused
from tests.contract.ssh_hosts import known_host
from tests.fakes.libvirt import FakeDomains
from tests.fakes.links import FakeLinks
from tests.fakes.packet_filters import FakeFilters
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.system,  # root: attributes that only root can write
    pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="there is no /usr/bin/python3"),
]

HERE = HostAddress("here", "127.0.0.1", is_local=True)
SIZE = 3_000_000_000


class Receiver:
    """A host whose image directory is `images`, and an image of 3 GB with a few bytes in it."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.images = folder / "images"
        self.images.mkdir(mode=0o711)
        agent_archive.install(folder / "opt")
        self.settings = FleetSettings(agent_program=str(folder / "opt/libexec/rocks-agent"))
        self.source = folder / "source"
        with self.source.open("wb") as file:
            file.truncate(SIZE)
            file.write(b"boot")
            file.seek(SIZE - 3)
            file.write(b"end")
        with self.source.open("rb") as file:
            content = content_of(file.fileno())
        self.base = BaseImage(str(self.images), content.digest, SIZE, content.used_bytes)
        self.copy = Path(base_path(self.base))
        self.domains, self.filters = FakeDomains(), FakeFilters()
        self.host = Host(folder / "state", lambda: self.domains, FakeLinks, open_filters=lambda: self.filters)
        self.token = 0

    def send(self, base: BaseImage | None = None) -> None:
        """Send the image as the frontend does."""
        with self.source.open("rb") as file:
            send_image(HERE, self.settings, base or self.base, file.fileno())

    def start(self, disk: DiskSpec, seed: SeedSpec | None = None) -> str:
        """The error of a start, empty when the guest runs; it is stopped again."""
        self.token += 10
        xml = leased_xml("vm", self.token)
        error = self._perform(StartDomain("vm", self.token, xml, (disk,), seed=seed))
        assert not self._perform(StopDomain("vm"))
        return error

    def disk(self, name: str = "vm.vda", machine: str = MINE, size_gb: int = 4) -> DiskSpec:
        """A disk of `size_gb` that is made from the image."""
        path = str(self.images / name)
        return DiskSpec(path, "raw", size_gb, False, machine, directory=str(self.images), base=self.base)

    def seed(self, content: bytes, machine: str = MINE) -> SeedSpec:
        text = base64.b64encode(zlib.compress(content)).decode()
        return SeedSpec(str(self.images / "vm.vda.seed"), str(self.images), machine, text)

    def _perform(self, operation: StartDomain | StopDomain) -> str:
        (outcome,) = ask(self.host, PerformRequest((operation,))).outcomes
        return "" if outcome.error is None else outcome.error.message


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return Receiver(tmp_path)


@pytest.mark.slow
def test_a_disk_is_a_copy_of_the_image_with_the_size_of_its_machine(receiver: Receiver) -> None:
    receiver.send()
    assert receiver.copy.stat().st_mode & 0o777 == 0o600
    assert receiver.copy.stat().st_blocks * 512 < 1_000_000
    assert receiver.start(receiver.disk()) == ""
    disk = receiver.images / "vm.vda"
    assert disk.stat().st_size == 4_000_000_000
    assert disk.stat().st_blocks * 512 < 1_000_000
    assert os.getxattr(disk, ATTRIBUTE).decode() == MINE
    with disk.open("rb") as file:
        assert file.read(4) == b"boot"
        file.seek(SIZE - 3)
        assert file.read(4) == b"end\0"

    disk.write_bytes(b"what the guest has written")
    os.truncate(disk, 4_000_000_000)
    receiver.send()  # a second time is no change
    assert receiver.start(receiver.disk()) == ""
    with disk.open("rb") as file:
        assert file.read(26) == b"what the guest has written"
    assert "belongs to another machine" in receiver.start(receiver.disk(machine=THEIRS))


def test_an_image_that_is_not_what_was_announced_is_not_stored(receiver: Receiver) -> None:
    other = BaseImage(str(receiver.images), "ab" * 32, SIZE, 0)
    refused(HostError, f"what came is the image {receiver.base.digest}, not abab", receiver.send, other)
    small = BaseImage(str(receiver.images), receiver.base.digest, SIZE - 512, 0)
    refused(HostError, "is of an image of 3000000000 bytes, not of 2999999488", receiver.send, small)
    with pytest.raises(HostError, match="is not the digest of an image"):
        receiver.send(BaseImage(str(receiver.images), "../../etc/passwd", SIZE, 0))
    assert list(receiver.copy.parent.iterdir()) == []
    assert "there is no copy" in receiver.start(receiver.disk())
    assert not (receiver.images / "vm.vda").exists()


@pytest.mark.slow
def test_an_image_arrives_by_ssh(
    machine: Machine, ssh_settings: tuple[FleetSettings, SshServer], receiver: Receiver
) -> None:
    settings, server = ssh_settings
    host = known_host(server, settings)
    base = BaseImage("/var/lib/rocks-images", receiver.base.digest, SIZE, 0)
    stored = machine.outside(base_path(base))
    with receiver.source.open("rb") as file:
        for _ in range(2):  # the second time is no change
            send_image(host, settings, base, file.fileno())
        with stored.open("rb") as copy:
            assert content_of(copy.fileno()) == content_of(file.fileno())
        stored.unlink()
        with pytest.raises(HostError, match="is not an absolute, normalized path"):
            send_image(host, settings, BaseImage("../tmp", base.digest, SIZE, 0), file.fileno())
        with pytest.raises(HostError, match="has not stored the image"):
            send_image(host._replace(name="unknown-host"), settings, base, file.fileno())
    assert list(stored.parent.iterdir()) == []


@pytest.mark.slow
def test_a_transfer_that_is_killed_leaves_nothing_that_the_next_one_does_not_remove(
    receiver: Receiver,
) -> None:
    with receiver.source.open("r+b") as file:
        for number in range(400):  # 26 MB that are not zero
            file.seek(number * 1_000_000)
            file.write(b"data")
        file.flush()
        content, sent = content_of(file.fileno()), bytearray()
        send_content(file.fileno(), sent.extend)
    receiver.base = BaseImage(str(receiver.images), content.digest, SIZE, content.used_bytes)
    copy = Path(base_path(receiver.base))
    line = [receiver.settings.agent_program, "receive-image", str(receiver.images), content.digest, str(SIZE)]
    agent = subprocess.Popen(line, stdin=subprocess.PIPE)
    agent.stdin.write(sent[: len(sent) // 2])
    agent.stdin.flush()
    wait_until(lambda: any(path.stat().st_size == SIZE for path in copy.parent.glob(".*")))
    agent.kill()
    agent.wait()
    agent.stdin.close()
    assert not copy.exists() and list(copy.parent.iterdir())
    receiver.send()
    assert list(copy.parent.iterdir()) == [copy]


def test_a_copy_that_others_could_have_changed_is_not_used(receiver: Receiver) -> None:
    receiver.send()
    os.chown(receiver.copy, 1234, 1234)
    assert "belongs to user 1234" in receiver.start(receiver.disk())
    os.chown(receiver.copy, 0, 0)
    os.truncate(receiver.copy, 1_000_000)
    assert "is not the copy of an image any more" in receiver.start(receiver.disk())
    receiver.copy.unlink()
    receiver.copy.symlink_to("/etc/passwd")
    assert "symbolic link" in receiver.start(receiver.disk())
    receiver.copy.unlink()
    receiver.copy.parent.chmod(0o777)
    refused(HostError, "others than root can change its entries", receiver.send)
    assert list(receiver.images.iterdir()) == [receiver.copy.parent]


@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_nothing_is_copied_where_no_disk_can_be_made(receiver: Receiver, mode: int) -> None:
    receiver.images.chmod(mode)
    refused(HostError, f"{receiver.images} is not safe for disk images: others than root", receiver.send)
    assert list(receiver.images.iterdir()) == []


def test_a_disk_smaller_than_its_image_is_not_made(receiver: Receiver) -> None:
    receiver.send()
    assert "too small" in receiver.start(receiver.disk(size_gb=2))
    assert not (receiver.images / "vm.vda").exists()


def test_the_seed_is_the_machines_own_and_new_at_each_start(receiver: Receiver) -> None:
    receiver.send()
    path = receiver.images / "vm.vda.seed"
    assert receiver.start(receiver.disk(), receiver.seed(b"first")) == ""
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert receiver.start(receiver.disk(), receiver.seed(b"second")) == ""
    assert path.read_bytes() == b"second"
    error = receiver.start(receiver.disk("other.vda", THEIRS), receiver.seed(b"third", THEIRS))
    assert "belongs to 11111111-1111-4111-8111-111111111111" in error
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert "symbolic link" in receiver.start(receiver.disk(), receiver.seed(b"fourth"))
    path.unlink()
    broken = receiver.seed(b"fifth")
    for content in (
        "no base64!",
        base64.b64encode(b"no zlib").decode(),
        broken.content[: len(broken.content) // 2 // 4 * 4],
    ):
        spec = SeedSpec(broken.path, broken.directory, MINE, content)
        assert "the content of" in receiver.start(receiver.disk(), spec)
    large = base64.b64encode(zlib.compress(bytes(20_000_000))).decode()
    assert "larger than" in receiver.start(
        receiver.disk(), SeedSpec(broken.path, broken.directory, MINE, large)
    )
    assert not path.exists()


def test_a_drive_has_the_copy_of_the_iso_and_nothing_else(receiver: Receiver) -> None:
    path = str(receiver.copy)
    directory = str(receiver.images)
    medium = DiskSpec(path, "raw", 0, False, directory=directory, is_cdrom=True, base=receiver.base)
    assert "there is no file" in receiver.start(medium)
    receiver.send()
    assert receiver.start(medium) == "" and receiver.start(medium) == ""
    os.utime(receiver.copy)  # copied by hand, or stored by an earlier release: its content decides
    assert receiver.start(medium) == ""
    with receiver.copy.open("r+b") as file:
        file.write(b"BOOT")
    for _ in range(2):
        assert "is not the ISO any more that this host received" in receiver.start(medium)
    receiver.copy.unlink()
    receiver.send()
    assert receiver.start(medium) == ""
    os.setxattr(receiver.copy, ATTRIBUTE, MINE.encode())
    assert "is not the ISO any more" in receiver.start(medium)
