"""Disks of stopped machines from one host to another: this machine passes the stream of one agent on to the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rocks.core import dry_run
from rocks.core.clock import Deadline
from rocks.core.errors import HostError
from rocks.fleet.local import PipeStream
from rocks.fleet.settings import FleetSettings, HostAddress
from rocks.fleet.wire.disk_moves import CHECKED, DIFFERS, HAVE, STORED
from rocks.library.limits import STALLED_SECONDS
from rocks.library.streams import END_SECONDS, failure_of, start_agent

_LONGEST_LINE = 200
_FLUSH_SECONDS = 3600.0
"""In which a host has what it took on its disk: before that it reports nothing."""


class MovingDisk(NamedTuple):
    """A disk, its image directory on the old host, its place on the new one, its machine's UUID, its size in bytes.

    `is_repeated`: a file of the machine at the new place is a copy that an earlier move made.
    """

    path: str
    directory: str
    new_path: str
    new_directory: str
    machine: str
    size_bytes: int
    is_repeated: bool


def move_disk(
    source: HostAddress,
    target: HostAddress,
    settings: FleetSettings,
    disk: MovingDisk,
    watch: Callable[[int], None] = lambda passed: None,
) -> str:
    """Store the disk on `target`, which has its part of an earlier attempt; returns the digest that both have.

    `watch` gets the bytes that were passed on, and may end it. HostError when a host fails, or states why not.
    """
    if dry_run.would(target.name, f"receive the disk {disk.new_path} from {source.name}"):
        return ""
    try:
        return _Attempt(source, target, settings, disk).run(watch)
    except _DifferentError:  # the part of an earlier attempt is cut there now
        return _Attempt(source, target, settings, disk).run(watch)


class _DifferentError(HostError):
    """The disk has changed since a part of it was sent."""


class _Attempt:
    """Both agents. The new host is asked first, so that the old one knows what is there already."""

    def __init__(
        self, source: HostAddress, target: HostAddress, settings: FleetSettings, disk: MovingDisk
    ) -> None:
        self._source, self._target, self._settings, self._disk = source, target, settings, disk
        self._lines = b""
        self._has_ended = False

    def run(self, watch: Callable[[int], None]) -> str:
        disk = self._disk
        mode = ["move-disk-to", disk.new_path, disk.new_directory, disk.machine, str(disk.size_bytes)]
        to = start_agent(self._target, self._settings, [*mode, "again" if disk.is_repeated else "new"])
        try:
            have = self._line(to, STALLED_SECONDS)
            if have[0] != HAVE or not have[1].isdigit():
                raise self._not_stored(f"it reported {' '.join(have)!r}")
            self._pass_on(to, have[1], watch)
            to.close()
            return self._digest(to)
        except (EOFError, BrokenPipeError):
            raise self._fault(to) from None
        except TimeoutError:
            raise self._not_stored(
                f"it took nothing, or reported nothing, for {STALLED_SECONDS:g} s"
            ) from None
        finally:
            if not self._has_ended:
                to.end()

    def _pass_on(self, to: PipeStream, have: str, watch: Callable[[int], None]) -> None:
        """Send the new host what the old one sends, to its end."""
        disk, passed = self._disk, 0
        stream = start_agent(
            self._source, self._settings, ["move-disk-from", disk.path, disk.directory, disk.machine, have]
        )
        try:
            stream.close()
            while data := self._received(stream):
                to.send(data, Deadline(STALLED_SECONDS))
                passed += len(data)
                watch(passed)
            reason = failure_of(stream, STALLED_SECONDS, "its agent has not ended; repeat the command")
        except BaseException:
            stream.end()
            raise
        if reason:
            raise HostError(f"host {self._source.name} has not sent the disk {disk.path}: {reason}")

    def _received(self, stream: PipeStream) -> bytes:
        try:
            return stream.receive(Deadline(STALLED_SECONDS))
        except TimeoutError:
            raise HostError(
                f"host {self._source.name} sent no data of the disk for {STALLED_SECONDS:g} s"
            ) from None

    def _digest(self, to: PipeStream) -> str:
        """What the new host reports at its end; while it reads the disk back, it reports now and then."""
        while True:
            parts = self._line(to, _FLUSH_SECONDS)
            if parts[0] == STORED:
                self._has_ended = True
                reason = failure_of(to, END_SECONDS, "its agent has not ended; repeat the command")
                if reason:
                    raise self._not_stored(reason)
                return parts[1]
            if parts[0] == DIFFERS:
                raise self._fault(to, is_different=True)
            if parts[0] != CHECKED:
                raise self._not_stored(f"it reported {' '.join(parts)!r}")

    def _fault(self, to: PipeStream, is_different: bool = False) -> HostError:
        """Why the new host takes nothing any more."""
        self._has_ended = True
        ended = to.collect(Deadline(END_SECONDS))
        if is_different or (self._lines + ended.output).startswith(DIFFERS.encode()):
            return _DifferentError(f"the part of {self._disk.new_path} on {self._target.name} differs")
        printed = ended.error_output.decode("utf-8", "replace").strip().splitlines()
        return self._not_stored(printed[-1] if printed else f"its agent ended with {ended.exit_status}")

    def _line(self, to: PipeStream, seconds: float) -> list[str]:
        """The two parts of the next line. EOFError at the end, TimeoutError."""
        while b"\n" not in self._lines:
            data = to.receive(Deadline(seconds))
            if not data:
                raise EOFError
            self._lines += data
            if len(self._lines) > _LONGEST_LINE * 100:
                raise self._not_stored("it reports what is no progress of a disk")
        line, _, self._lines = self._lines.partition(b"\n")
        parts = line[:_LONGEST_LINE].decode("ascii", "replace").split()
        return parts if len(parts) == 2 else ["nothing", repr(parts)]

    def _not_stored(self, reason: str) -> HostError:
        return HostError(f"host {self._target.name} has not stored the disk {self._disk.new_path}: {reason}")
