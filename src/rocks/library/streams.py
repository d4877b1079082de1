"""Images and disks on their way between this machine and hosts, and the storing of what arrives.

The agent is started by SSH, or directly on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rocks.core import dry_run
from rocks.core.clock import Deadline
from rocks.core.errors import HostError, IncoherentError, StateError
from rocks.core.files import draft, ensure_folders, explain
from rocks.core.image_blocks import Content, content_of, receive_content, send_content
from rocks.core.values import BYTES_PER_SECTOR, size_text
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.local import PipeStream
from rocks.fleet.openssh import arguments_on
from rocks.fleet.wire.requests import BaseImage
from rocks.library.conversion import check_space
from rocks.library.limits import STALLED_SECONDS, STORE_SECONDS
from rocks.library.progress import Progress
from rocks.library.records import LibraryImage, check_new, image_file, remove_leftovers, write_new_record

SLOW_SECONDS, LEAST_BYTES = 600.0, 10 * 1024**2
"""A host that sends less than that, again and again, has failed, too: 17 kB/s."""

END_SECONDS = 10.0
"""In which an agent whose stream is wrong states why, and ends."""

_PIECE_BYTES = 256 * 1024


class StoredDisk(NamedTuple):
    """A disk on its host: its path, the image directory that it is in, the UUID of its machine, and the most bytes."""

    path: str
    directory: str
    machine: str
    max_bytes: int


def send_image(host: HostAddress, settings: FleetSettings, base: BaseImage, descriptor: int) -> None:
    """Have the host store the open image as its copy `base`.

    HostError when the host does not take it, or says why it cannot store it.
    """
    if dry_run.would(host.name, f"store image {base.digest[:12]} of the library in {base.directory}"):
        return
    stream = start_agent(host, settings, ["receive-image", base.directory, base.digest, str(base.size_bytes)])
    waiting = bytearray()

    def send(data: bytes, at_least: int = _PIECE_BYTES) -> None:
        waiting.extend(data)
        if len(waiting) >= at_least:
            stream.send(bytes(waiting), Deadline(STALLED_SECONDS))
            waiting.clear()

    try:
        send_content(descriptor, send)
        send(b"", 1)
    except TimeoutError:
        stream.end()
        raise HostError(
            f"host {host.name} accepted no data of the image for {STALLED_SECONDS:g} s: look at its network and disk"
        ) from None
    except BrokenPipeError:
        pass  # the agent has ended, and says why; or it has a copy since
    except BaseException:
        stream.end()
        raise
    stream.close()
    reason = failure_of(stream, STORE_SECONDS, f"it was not on its disk after {STORE_SECONDS:g} s")
    if reason:
        raise HostError(f"host {host.name} has not stored the image: {reason}")


def receive_disk(
    host: HostAddress,
    settings: FleetSettings,
    disk: StoredDisk,
    descriptor: int,
    watch: Callable[[int], None] = lambda received: None,
) -> Content:
    """Write a disk of the host into an empty file; `watch` gets the bytes that have come, and may end it.

    HostError when the host does not send it, or states why not.
    """
    max_bytes = str(disk.max_bytes)
    stream = start_agent(host, settings, ["send-disk", disk.path, disk.directory, disk.machine, max_bytes])
    stream.close()
    waiting, received = bytearray(), 0
    check_rate = _rate_check(host)

    def read(count: int) -> bytes:
        nonlocal received
        while len(waiting) < count:
            data = stream.receive(Deadline(STALLED_SECONDS))
            if not data:
                break
            waiting.extend(data)
            received += len(data)
            check_rate(len(data))
            watch(received)
        taken = bytes(waiting[:count])
        del waiting[:count]
        return taken

    try:
        content = receive_content(read, descriptor, disk.max_bytes)
    except TimeoutError:
        stream.end()
        raise HostError(
            f"host {host.name} sent no data of the disk for {STALLED_SECONDS:g} s: look at its network and disk"
        ) from None
    except IncoherentError as error:
        reason = failure_of(stream, END_SECONDS, "")
        raise HostError(f"host {host.name} has not sent the disk: {reason or error}") from None
    except BaseException:
        stream.end()
        raise
    reason = failure_of(stream, STALLED_SECONDS, "its agent has not ended; repeat the command")
    if reason:
        raise HostError(f"host {host.name} has not sent the disk: {reason}")
    return content


def _rate_check(host: HostAddress) -> Callable[[int], None]:
    """Takes the numbers of bytes as they come. HostError when they were too few for too long."""
    end, came = Deadline(SLOW_SECONDS), 0

    def check(count: int) -> None:
        nonlocal end, came
        came += count
        if not end.passed():
            return
        if came < LEAST_BYTES:
            raise HostError(
                f"host {host.name} sent {came} bytes of the disk in {SLOW_SECONDS:g} s; look at its network, and "
                "repeat the command"
            )
        end, came = Deadline(SLOW_SECONDS), 0

    return check


def start_agent(host: HostAddress, settings: FleetSettings, mode: Sequence[str]) -> PipeStream:
    """The agent on the host, in this mode."""
    return PipeStream(arguments_on(host, settings, [settings.agent_program, *mode]))


def failure_of(stream: PipeStream, seconds: float, late: str) -> str:
    """Why the agent failed, empty when it did not; `late` when it has not ended after so many seconds."""
    return end_of(stream, seconds, late)[1]


def end_of(stream: PipeStream, seconds: float, late: str) -> tuple[int | None, str]:
    """The agent's exit status, and as `failure_of`."""
    ended = stream.collect(Deadline(seconds))
    printed = ended.error_output.decode("utf-8", "replace").strip().splitlines()
    if ended.exit_status == 0:
        return 0, ""
    if ended.exit_status is None:
        return None, late
    return ended.exit_status, printed[-1] if printed else f"its agent ended with {ended.exit_status}"


# Stores what another machine sends as an image of the library. It is raw, whatever its first bytes are.


Receive = Callable[[int, Callable[[int], None]], Content]
"""(descriptor, watch) → what was written into the empty file; `watch` gets the bytes that have come."""

_CHECK_EVERY_BYTES = 64 * 1024**2


def store_received(
    library: Path, name: str, comment: str, receive: Receive, progress: Progress
) -> LibraryImage:
    """Store the image. StateError when there is one of this name, or all is zeros; HostError. Then nothing is left."""
    check_new(library, name)
    target = image_file(library, name)
    try:
        ensure_folders(library, 0o755)
        remove_leftovers(library)
        check_space(library)
        with draft(target) as image:
            content = _whole_sectors(
                image.descriptor, receive(image.descriptor, _watch(library, name, progress))
            )
            if content.used_bytes == 0:
                raise StateError(f"the image {name} is not made: the disk has no data, all of it is zeros")
        made = LibraryImage(name, "raw", *content, "", comment)
        write_new_record(library, made)
    except OSError as error:
        raise HostError(f"the image {name} is not made: {explain(error, target)}") from None
    return made


def _watch(library: Path, name: str, progress: Progress) -> Callable[[int], None]:
    next_check = 0

    def watch(received: int) -> None:
        nonlocal next_check
        if received >= next_check:
            next_check = received + _CHECK_EVERY_BYTES
            check_space(library)
            progress(f"{name}: {size_text(received)}")

    return watch


def _whole_sectors(descriptor: int, content: Content) -> Content:
    size = -(-content.size_bytes // BYTES_PER_SECTOR) * BYTES_PER_SECTOR
    if size == content.size_bytes:
        return content
    os.ftruncate(descriptor, size)
    return content_of(descriptor)
