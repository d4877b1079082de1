"""A live migration between two hosts: this machine passes the frames of both agents on.

Memory and disks pass it by where the old host reaches the new one (`direct_way`). What the agents say to this machine
is how far they are, and how it ended.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from rocks.core.clock import Deadline
from rocks.core.errors import HostError, IncoherentError, RocksError, StateError
from rocks.fleet.local import PipeStream
from rocks.fleet.settings import FleetSettings, HostAddress
from rocks.fleet.wire.codec import decode, encode
from rocks.fleet.wire.live_moves import (
    PROGRESS,
    REFUSED_STATUS,
    RESULT,
    TICK,
    Arrive,
    Frames,
    Leave,
    Progress,
    Result,
    frame,
)
from rocks.library.limits import STALLED_SECONDS
from rocks.library.streams import END_SECONDS, end_of, start_agent
from rocks.machine.limits import LIVE_SILENT_SECONDS, LIVE_TICK_SECONDS

LIVE_STILL_SECONDS = 600.0
"""A live migration that has sent nothing more for this long has failed, though both agents are there."""

Watch = Callable[[Progress], None]
_OTHER_SECONDS = 2.0
"""In which the thread of the other stream reports why that one has ended."""

_MAX_REPORT_BYTES = 4096
_MAX_BYTES_SENT = 2**63


def move_live(
    source: HostAddress,
    target: HostAddress,
    settings: FleetSettings,
    leave: Leave,
    arrive: Arrive,
    watch: Watch = lambda progress: None,
) -> Result:
    """Move the machine; how libvirt of the old host ended it. `watch` gets the progress.

    StateError when one of the hosts refuses the machine as it is, before anything is copied. HostError when an agent
    fails, is silent, or gets no further. Only both hosts know then where the machine is.
    """
    return _Migration(source, target, settings).run(leave, arrive, watch)


class _Migration:
    def __init__(self, source: HostAddress, target: HostAddress, settings: FleetSettings) -> None:
        self._source, self._target, self._settings = source, target, settings
        self._reported = threading.Condition()
        self._progress: Progress | None = None
        self._outcome: Result | RocksError | None = None
        self._has_ended = threading.Event()
        self._streams: dict[str, PipeStream] = {}
        self._threads: list[threading.Thread] = []
        self._locks = {source.name: threading.Lock(), target.name: threading.Lock()}

    def run(self, leave: Leave, arrive: Arrive, watch: Watch) -> Result:
        """As `move_live`."""
        # the old host first, at the end as well: it must never outlive the way to the new one
        try:
            self._start(self._target, ["live-arrive"], arrive)
            self._start(self._source, ["live-leave"], leave)
            self._start_thread(self._pass_on, self._source, self._target)
            self._start_thread(self._pass_on, self._target, self._source)
            self._start_thread(self._tick)
            return self._watched(watch)
        finally:
            self._end()

    def _start_thread(self, run: Callable[..., None], *arguments: HostAddress) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _end(self) -> None:
        """Kill both agents, and close their streams when no thread uses them any more.

        A thread that reads from a closed stream may read what the next migration gets under the same descriptor.
        """
        self._has_ended.set()
        streams = [
            self._streams[host.name] for host in (self._source, self._target) if host.name in self._streams
        ]
        for stream in streams:
            stream.kill()
        soon = Deadline(END_SECONDS)
        for thread in self._threads:
            thread.join(soon.remaining_seconds())
        for stream in streams:
            stream.end()

    def _watched(self, watch: Watch) -> Result:
        """Show the latest progress until the end. HostError when there is none for too long."""
        sent, still = -1, Deadline(LIVE_STILL_SECONDS)
        while True:
            report = self._next_report(still)
            if isinstance(report, RocksError):
                raise report
            if isinstance(report, Result):
                return report
            if report is not None:
                if report.sent_bytes != sent:
                    sent, still = report.sent_bytes, Deadline(LIVE_STILL_SECONDS)
                watch(report)
            if still.passed():
                raise HostError(f"{self._source.name} has sent nothing more for {LIVE_STILL_SECONDS:g} s")

    def _next_report(self, deadline: Deadline) -> Progress | Result | RocksError | None:
        """The end, else the latest progress that was not read; None at the deadline."""
        with self._reported:
            self._reported.wait_for(
                lambda: self._outcome is not None or self._progress is not None, deadline.remaining_seconds()
            )
            progress, self._progress = self._progress, None
            return progress if self._outcome is None else self._outcome

    def _report(self, report: Progress | Result | RocksError) -> None:
        """Of all progress the latest counts, of all ends the first: an agent may send any number."""
        with self._reported:
            if isinstance(report, Progress):
                self._progress = report
            elif self._outcome is None:
                self._outcome = report
            self._reported.notify_all()

    def _start(self, host: HostAddress, mode: list[str], request: Any) -> None:
        self._streams[host.name] = start_agent(host, self._settings, mode)
        try:
            self._send(host, json.dumps(encode(request)).encode() + b"\n")
        except OSError as error:  # its agent has ended, or takes nothing for too long
            raise HostError(f"{host.name} does not take the request of the migration: {error}") from None

    def _send(self, host: HostAddress, data: bytes) -> None:
        with self._locks[host.name]:
            self._streams[host.name].send(data, Deadline(STALLED_SECONDS))

    def _pass_on(self, source: HostAddress, target: HostAddress) -> None:
        """Everything from one host to the other, until the first error."""
        try:
            self._pass_frames(source, target)
        except RocksError as error:
            self._report(error)
        except TimeoutError:
            self._report(
                HostError(f"{source.name} or {target.name} was silent for {LIVE_SILENT_SECONDS:g} s")
            )
        except (OSError, ValueError) as error:
            # the other stream has ended; its own thread knows why
            self._has_ended.wait(_OTHER_SECONDS)
            self._report(HostError(f"the connection to {target.name} has ended: {error}"))
        except Exception as error:  # noqa: BLE001 - the command waits for a report of this thread
            self._report(
                HostError(f"{source.name} has sent what cannot be passed on: {type(error).__name__}")
            )

    def _pass_frames(self, source: HostAddress, target: HostAddress) -> None:
        frames, stream = Frames(), self._streams[source.name]
        while not self._has_ended.is_set():
            data = stream.receive(Deadline(LIVE_SILENT_SECONDS))
            if not data:
                raise self._failure(source)
            passed = bytearray()
            for kind, channel, content in frames.put(data):
                if kind in (PROGRESS, RESULT):
                    if source is not self._source:
                        raise HostError(
                            f"{source.name} reports the end of a migration that only the old host knows"
                        )
                    self._report(_decoded(source.name, kind, content))
                else:
                    passed += frame(kind, channel, content)
            if passed:
                self._send(target, bytes(passed))

    def _failure(self, host: HostAddress) -> RocksError:
        status, reason = end_of(self._streams[host.name], END_SECONDS, "its agent does not end")
        kind = StateError if status == REFUSED_STATUS else HostError
        return kind(f"{host.name}: {reason or 'its agent has ended'}")

    def _tick(self) -> None:
        """Both agents end themselves when they receive nothing."""
        while not self._has_ended.wait(LIVE_TICK_SECONDS):
            for host in (self._source, self._target):
                try:
                    self._send(host, frame(TICK))
                except (OSError, ValueError, TimeoutError):
                    return  # the thread that passes frames on reports it


def _decoded(host: str, kind: int, content: bytes) -> Progress | Result:
    """The report of the old host. IncoherentError for one that no agent of ours sends."""
    if len(content) > _MAX_REPORT_BYTES:
        raise IncoherentError(f"{host} sends a report of {len(content)} bytes on the migration")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise IncoherentError(f"{host} reports what is no JSON on the migration") from None
    if kind == RESULT:
        return decode(Result, value, "result")
    progress = decode(Progress, value, "progress")
    if not all(0 <= count < _MAX_BYTES_SENT for count in (progress.sent_bytes, progress.remaining_bytes)):
        raise IncoherentError(f"{host} reports an impossible number of bytes of the migration")
    return progress
