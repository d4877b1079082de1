"""The disk of a stopped machine becomes an image, through the streams of the agent; one that is in use does not."""

import os
import subprocess  # noqa: TID251 - a program that has the disk open
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.errors import HostError, RocksError, StateError
from rocks.core.image_blocks import content_of
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.library import streams as image_streams
from rocks.library.records import LibraryImage, image_file, read_images
from rocks.library.streams import StoredDisk, receive_disk, store_received
from tests.contract.attacked_host import MINE, THEIRS
from tests.contract.machine.disk_agents import CHECKOUT, mark, write_agent
from tests.contract.outcomes import refused

pytestmark = [pytest.mark.system]  # root: attributes that only root can write

HERE = HostAddress("here", "127.0.0.1", is_local=True)
SIZE = 1_000_000_000


class Origin:
    """A host without libvirt that has the disk of a machine, and an empty library."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.images, self.library = folder / "images", folder / "library"
        self.images.mkdir(mode=0o711)
        self.disk = self.images / "vm.vda"
        with self.disk.open("wb") as file:
            file.truncate(SIZE)
            file.write(b"QFI\xfb, as a guest may write into its disk")
            file.seek(5_000_000)
            file.write(os.urandom(3_000_000))
        mark(folder, self.disk, MINE)
        self.agent = write_agent(folder)
        self.stored = StoredDisk(str(self.disk), str(self.images), MINE, 2 * SIZE)

    def add(
        self, stored: StoredDisk | None = None, watched: Callable[[int], None] = lambda received: None
    ) -> LibraryImage:
        """Copy the disk into the library as `rocks add image vm=` does."""

        def receive(descriptor: int, watch: Callable[[int], None]):  # type: ignore[no-untyped-def]
            def both(received: int) -> None:
                watched(received)
                watch(received)

            settings = FleetSettings(agent_program=str(self.agent))
            return receive_disk(HERE, settings, stored or self.stored, descriptor, both)

        return store_received(self.library, "golden", "", receive, lambda line: None)

    def refused(self, text: str, **changes: object) -> None:
        """The disk is not copied, and nothing of it is left."""
        with pytest.raises(HostError, match=text):
            self.add(self.stored._replace(**changes))  # type: ignore[arg-type]
        assert list(self.library.iterdir()) == []


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path)


def test_a_disk_becomes_a_raw_image_whatever_the_guest_wrote(origin: Origin) -> None:
    image = origin.add()
    with origin.disk.open("rb") as disk, image_file(origin.library, "golden").open("rb") as file:
        assert content_of(disk.fileno()) == content_of(file.fileno())
    assert (image.format, image.size_bytes) == ("raw", SIZE)
    assert image_file(origin.library, "golden").stat().st_blocks * 512 < 5_000_000
    assert read_images(origin.library) == [image]
    refused(StateError, "there is an image golden already", origin.add)


def test_a_disk_that_may_not_be_copied_is_not(origin: Origin) -> None:
    origin.refused(f"belongs to {MINE} now, not to {THEIRS}; see rocks list host image", machine=THEIRS)
    origin.refused("is a disk of 1.0 GB, and 0.5 GB is the most", max_bytes=SIZE // 2)
    origin.refused("there is no file .*absent", path=str(origin.images / "absent"))
    origin.refused("is not below the image directory", path="/etc/passwd")
    with origin.disk.open("rb") as file, subprocess.Popen(["sleep", "600"], stdin=file) as program:
        try:
            origin.refused(f"is in use by process ({program.pid}|{os.getpid()})")  # both have it open
        finally:
            program.kill()
    with origin.disk.open("r+b") as file:
        file.truncate(0)
        file.truncate(SIZE)
    refused(StateError, "the disk has no data", origin.add)
    assert list(origin.library.iterdir()) == []


def test_a_disk_that_changes_meanwhile_is_not_taken(origin: Origin) -> None:
    changed = []

    def change(received: int) -> None:
        if not changed:
            changed.append(received)
            with origin.disk.open("r+b") as file:
                file.write(b"started")

    refused(HostError, "was changed while it was read", origin.add, watched=change)
    assert changed and list(origin.library.iterdir()) == []


SLOW = """#!/bin/sh
'''exec' "{python}" "$0" "$@" # a path with blanks begins no script
'''
import os, sys, time
sys.path.insert(0, {sources!r})
from rocks.core.image_blocks import send_content

def send(data):
    for byte in data:
        os.write(1, bytes([byte]))
        time.sleep(0.01)

send_content(os.open({disk!r}, os.O_RDONLY), send)
"""


def test_a_host_that_sends_a_byte_now_and_then_is_not_waited_for(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would hold the names of the image and of the machine for ever."""
    monkeypatch.setattr(image_streams, "SLOW_SECONDS", 0.5)
    origin.agent.write_text(
        SLOW.format(python=sys.executable, sources=str(CHECKOUT / "src"), disk=str(origin.disk))
    )
    refused(HostError, r"host here sent \d+ bytes of the disk in 0.5 s", origin.add)
    assert list(origin.library.iterdir()) == []


def test_a_host_that_does_not_send_all_is_named(origin: Origin) -> None:
    """An agent that is killed, or of another version, and one that sends something else."""
    for script, text in (
        ("kill -9 $$", "the stream of the image ended early"),
        ("echo usage >&2; exit 2", "usage"),
        ("echo something else altogether", "is not the stream of an image"),
    ):
        origin.agent.write_text(f"#!/bin/sh\n{script}\n")
        refused(RocksError, f"host here has not sent the disk: .*({text}|its agent ended)", origin.add)
        assert list(origin.library.iterdir()) == []
