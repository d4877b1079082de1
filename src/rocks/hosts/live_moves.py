"""A live migration between two hosts: this machine passes the frames of both agents on.

No host needs access to another one, and no port is open. What the agents say to this machine is how far they are, and
how it ended.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from typing import Any

from rocks.clock import Deadline, wait_seconds
from rocks.errors import HostError, IncoherentError, RocksError
from rocks.hosts.image_streams import END_SECONDS, STALLED_SECONDS, failure_of, start_agent
from rocks.hosts.local import PipeStream
from rocks.hosts.settings import FleetSettings, HostAddress
from rocks.wire.codec import decode, encode
from rocks.wire.live_moves import (
    PROGRESS,
    RESULT,
    SILENT_SECONDS,
    TICK,
    TICK_SECONDS,
    Arrive,
    Frames,
    Leave,
    Progress,
    Result,
    frame,
)

Watch = Callable[[Progress], None]
_POLL_SECONDS = 0.5


def move_live(
    source: HostAddress,
    target: HostAddress,
    settings: FleetSettings,
    leave: Leave,
    arrive: Arrive,
    watch: Watch = lambda progress: None,
) -> Result:
    """Move the machine; how libvirt of the old host ended it. `watch` gets the progress.

    HostError when an agent fails, or is silent: then only both hosts know where the machine is.
    """
    return _Migration(source, target, settings).run(leave, arrive, watch)


class _Migration:
    def __init__(self, source: HostAddress, target: HostAddress, settings: FleetSettings) -> None:
        self._source, self._target, self._settings = source, target, settings
        self._events: queue.Queue[Progress | Result | RocksError | None] = queue.Queue()
        self._has_ended = threading.Event()
        self._streams: dict[str, PipeStream] = {}
        self._locks = {source.name: threading.Lock(), target.name: threading.Lock()}

    def run(self, leave: Leave, arrive: Arrive, watch: Watch) -> Result:
        """As `move_live`."""
        # the old host first, at the end as well: it must never outlive the way to the new one
        try:
            self._start(self._target, ["live-arrive"], arrive)
            self._start(self._source, ["live-leave"], leave)
            threads = [
                threading.Thread(target=self._pass_on, args=ends, daemon=True)
                for ends in ((self._source, self._target), (self._target, self._source))
            ]
            threads.append(threading.Thread(target=self._tick, daemon=True))
            for thread in threads:
                thread.start()
            while True:
                event = self._events.get()
                if isinstance(event, Progress):
                    watch(event)
                elif isinstance(event, Result):
                    return event
                elif event is not None:
                    raise event
        finally:
            self._has_ended.set()
            for host in (self._source, self._target):
                if host.name in self._streams:
                    self._streams[host.name].end()

    def _start(self, host: HostAddress, mode: list[str], request: Any) -> None:
        self._streams[host.name] = start_agent(host, self._settings, mode)
        self._send(host, json.dumps(encode(request)).encode() + b"\n")

    def _send(self, host: HostAddress, data: bytes) -> None:
        with self._locks[host.name]:
            self._streams[host.name].send(data, Deadline(STALLED_SECONDS))

    def _pass_on(self, source: HostAddress, target: HostAddress) -> None:
        """Everything from one host to the other, until the first error."""
        try:
            self._pass_frames(source, target)
        except RocksError as error:
            self._events.put(error)
        except TimeoutError:
            self._events.put(HostError(f"{source.name} or {target.name} was silent for {SILENT_SECONDS:g} s"))
        except (OSError, ValueError) as error:
            # the other stream has ended; its own thread knows why
            wait_seconds(_POLL_SECONDS * 4)
            self._events.put(HostError(f"the connection to {target.name} has ended: {error}"))

    def _pass_frames(self, source: HostAddress, target: HostAddress) -> None:
        frames, stream = Frames(), self._streams[source.name]
        while not self._has_ended.is_set():
            data = stream.receive(Deadline(SILENT_SECONDS))
            if not data:
                raise self._failure(source)
            passed = bytearray()
            for kind, channel, content in frames.put(data):
                if kind in (PROGRESS, RESULT):
                    self._events.put(_decoded(kind, content))
                else:
                    passed += frame(kind, channel, content)
            if passed:
                self._send(target, bytes(passed))

    def _failure(self, host: HostAddress) -> RocksError:
        reason = failure_of(self._streams[host.name], END_SECONDS, "its agent does not end")
        return HostError(f"{host.name}: {reason or 'its agent has ended'}")

    def _tick(self) -> None:
        """Both agents end themselves when they receive nothing."""
        while not self._has_ended.wait(TICK_SECONDS):
            for host in (self._source, self._target):
                try:
                    self._send(host, frame(TICK))
                except (OSError, ValueError, TimeoutError):
                    return  # the thread that passes frames on reports it


def _decoded(kind: int, content: bytes) -> Progress | Result:
    try:
        value = json.loads(content)
    except ValueError:
        raise IncoherentError("an agent reports what is no JSON") from None
    return decode(Progress, value, "progress") if kind == PROGRESS else decode(Result, value, "result")
