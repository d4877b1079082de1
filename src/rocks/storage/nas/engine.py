"""The engine of the NAS: an event is decided and recorded, then one worker per image performs its effects.

Progress of transfers is in memory only: a transfer that continues after a restart reports it again.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Callable, Collection, Dict, Iterable, List, Mapping, NamedTuple, Optional, Set, Tuple

from rocks.core.clock import monotonic_seconds, utc_now
from rocks.core.errors import BugError, RocksError, StateError, code_of
from rocks.core.files import file_error
from rocks.core.periodic import PeriodicThread
from rocks.storage.image import transfers
from rocks.storage.image.effects import BETWEEN_NASES, AskHost, Effect
from rocks.storage.image.events import (
    EffectDone,
    EffectFailed,
    Event,
    GracePassed,
    HostFailed,
    RetryDue,
    StartPull,
    StartSeed,
)
from rocks.storage.image.image import Decision, Facts, Image, Outcome, Rejection, Work
from rocks.storage.image.names import is_target_of, target_name
from rocks.storage.image.state_machine import is_ready
from rocks.storage.image.states import DELETING, LOCAL, MAPPED, MAPPING, TRANSFERS
from rocks.storage.image.transfers import LONGEST_DELAY_SECONDS
from rocks.storage.nas.hosts import HostCorrespondence
from rocks.storage.nas.sequences import MACHINE
from rocks.storage.store.file import RecordsError
from rocks.storage.store.nas import NasStore
from rocks.storage.stream.pace import Progress
from rocks.storage.wire.replies import OperationRow
from rocks.storage.zfs.pool import PoolDriver


class ProgressBoard:
    """The last report of each image's transfer."""

    def __init__(self) -> None:
        self._entries: Dict[str, Progress] = {}
        self._lock = threading.Lock()

    def report(self, image_id: str, progress: Progress) -> None:
        """Record the progress of a transfer."""
        with self._lock:
            self._entries[image_id] = progress

    def end(self, image_id: str) -> None:
        """The transfer has ended, successfully or not."""
        with self._lock:
            self._entries.pop(image_id, None)

    def row(self, operation: str, action: str, zvol: str, image: Optional[Image]) -> OperationRow:
        """A row of the list of operations, with what is known of the image's work."""
        with self._lock:
            progress = None if image is None else self._entries.get(image.image_id)
        row = OperationRow(operation, action, zvol)
        if image is not None:
            row = replace(row, host=image.owner or image.peer, phase=_phase(image), reason=image.reason)
        if progress is None:
            return row
        left = progress.seconds_left
        return replace(
            row,
            percent=round(progress.percent, 1),
            bytes=progress.bytes_done,
            rate=round(progress.rate) or None,
            eta=None if left is None else round(left),
            reason="",  # that of an earlier attempt
        )

    def rows_without(self, named: Collection[str], images: Iterable[Image]) -> List[OperationRow]:
        """Rows of transfers without an operation: those of other images than the named."""
        with self._lock:
            running = set(self._entries)
        return [
            self.row("-", _phase(image), image.zvol, image)
            for image in images
            if image.image_id in running and image.zvol not in named
        ]


def _phase(image: Image) -> str:
    return "importing" if image.importing else image.state


# --- the engine ------------------------------------------------------------------------------------------------------


_log = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0
WORKERS = 8
"""Images with effects under way at the same time; transfers have threads of their own."""

Perform = Callable[[Effect], Facts]
"""Performs an effect and returns its facts. RocksError when it fails."""

SendRequest = Callable[[Image, Work, AskHost], None]
"""Records the request to a host; within the transaction of its caller."""

BeginMove = Callable[[Image, Work, Effect], None]
"""Begins an effect between two NASes, unless it is under way; its result comes back as an event."""

CreateSecrets = Callable[[Image], object]
"""Records the passwords of an export that is to be made; within the transaction of its caller."""

OnChange = Callable[[str], None]
"""Called with the id of an image after its change is recorded."""

PublishOutcome = Callable[[Image, Outcome], None]
"""Records how an operation ended; within the transaction of its caller."""


def now_seconds() -> int:
    """UNIX time, for records; it orders nothing."""
    return int(utc_now().timestamp())


class Engine:
    """All images of the NAS. Their records are in memory too: they are few, and read every second."""

    def __init__(
        self,
        store: NasStore,
        perform: Perform,
        send_request: SendRequest,
        publish: PublishOutcome,
        on_change: OnChange,
        begin_move: BeginMove,
        create_secrets: CreateSecrets,
    ) -> None:
        self._create_secrets = create_secrets
        self._begin_move = begin_move
        self._store = store
        self._perform = perform
        self._send_request = send_request
        self._publish = publish
        self._on_change = on_change
        self._images: Dict[str, Image] = {image.image_id: image for image in store.images()}
        self._start = now_seconds()
        self._queued: Dict[str, int] = {}  # image → when its transfer was, UNIX seconds
        self._busy: Set[str] = set()
        self._again: Set[str] = set()
        self._lock = threading.RLock()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="image")
        self.posted = threading.Event()
        """Set when there may be messages to send."""

    def close(self) -> None:
        """Let the effects under way end, and begin no others."""
        self._workers.shutdown(wait=True)

    # --- reading

    def images(self) -> Tuple[Image, ...]:
        """All images as they are now, by volume."""
        with self._lock:
            return tuple(sorted(self._images.values(), key=lambda image: (image.zvol, image.pool)))

    def image(self, image_id: str) -> Optional[Image]:
        """The image with this id; None when there is none."""
        return self._images.get(image_id)

    def image_of(self, zvol: str) -> Optional[Image]:
        """The image of a volume name."""
        with self._lock:
            return next((image for image in self._images.values() if image.zvol == zvol), None)

    def check_target(self, zvol: str) -> None:
        """StateError for the name of a new image whose iSCSI target another has: such names have no capitals."""
        for image in self.images():
            if image.zvol != zvol and is_target_of(target_name(image.nas, zvol, 0), image.nas, image.zvol):
                raise StateError(
                    f"ZVol {zvol} would have the same iSCSI target as ZVol {image.zvol} on {image.nas}: their names "
                    "differ in capitals only, or by _ and -5f; use another name"
                )

    def queued_at(self, image_id: str) -> int:
        """When the transfer of the image was queued, or when the daemon started; UNIX seconds."""
        return self._queued.get(image_id, self._start)

    # --- events

    def add(self, *images: Image) -> None:
        """Record images before their first events: new ones, and others for their ids. All are recorded or none is, and
        only then others see them.
        """
        with self._lock:
            with self._store.transaction():
                for image in images:
                    self._store.save(image)
            self._images.update((image.image_id, image) for image in images)

    def set_importing(self, zvol: str, importing: bool) -> None:
        """Record whether the content of an image is still to come."""
        with self._lock:
            image = self.image_of(zvol)
            if image is not None:
                self.add(replace(image, importing=importing))

    def take(self, image_id: str, event: Event, now: Optional[int] = None) -> Optional[Rejection]:
        """Decide, record and wake a worker; returns the rejection, if any. `now` is UNIX time."""
        with self._lock:
            image = self._images.get(image_id)
            if image is None:
                return Rejection("state", f"there is no image {image_id} (any more)", is_stale=True)
            decision = MACHINE.decide(image, event, now_seconds() if now is None else now)
            if isinstance(decision, Rejection):
                _log.info("%s %s: rejected: %s", image.zvol, type(event).__name__, decision.text)
                return decision
            self._record(image, event, decision)
        self.posted.set()
        self._on_change(image_id)
        self.wake(image_id if decision.image is None else decision.image.image_id)
        return None

    def wake(self, image_id: str) -> None:
        """Have a worker perform the open effects of the image, if any."""
        with self._lock:
            if image_id in self._busy:
                self._again.add(image_id)
                return
            self._busy.add(image_id)
        try:
            self._workers.submit(self._work_on, image_id)
        except RuntimeError:
            pass  # the daemon is ending; open effects are performed at its next start

    def _record(self, image: Image, event: Event, decision: Decision) -> None:
        new = decision.image
        with self._store.transaction():
            if new is None:
                self._store.forget(image.image_id)
            else:
                if new.image_id != image.image_id:
                    self._store.forget(image.image_id)
                self._store.save(new)
                self._record_secrets(new)
            for outcome in decision.outcomes:
                self._publish(new or image, outcome)
        if new is None or new.image_id != image.image_id:
            del self._images[image.image_id]
            self._queued.pop(image.image_id, None)
        if new is not None:
            self._images[new.image_id] = new
            # a transfer that failed and waits for its next try was queued once
            if TRANSFERS.get(new.state) != TRANSFERS.get(image.state):
                self._queued[new.image_id] = now_seconds()
        if new is None or new.state != image.state:
            _log.info(
                "%s %s: %s -> %s",
                image.zvol,
                type(event).__name__,
                image.state,
                "gone" if new is None else new.state,
            )

    def _record_secrets(self, image: Image) -> None:
        """Store the secrets with the map. A backup of the map alone would lead to others, which no session knows."""
        if image.state == MAPPING:
            try:
                self._create_secrets(image)
            except RecordsError:
                raise
            except RocksError as error:  # LIO cannot be read now: they are made with the export
                _log.warning("%s: the passwords of its export are not recorded yet: %s", image.zvol, error)

    # --- effects

    def _work_on(self, image_id: str) -> None:
        try:
            while self._do_next(image_id):
                pass
        except Exception:  # noqa: BLE001 - one image's fault must not end the worker of all
            _log.exception("a fault at image %s; please report this", image_id)
            later = threading.Timer(AGAIN_SECONDS, self.wake, (image_id,))
            later.daemon = True
            later.start()
        finally:
            with self._lock:
                self._busy.discard(image_id)
                again = image_id in self._again
                self._again.discard(image_id)
            if again:
                self.wake(image_id)

    def _do_next(self, image_id: str) -> bool:
        """Perform the next effect of the open step; returns whether there may be another."""
        image = self._images.get(image_id)
        if image is None or image.work is None or not is_ready(image):
            return False
        work = image.work
        effect = work.effects[work.position]
        if isinstance(effect, AskHost):
            # the lock first, as everywhere: the request may depend on other images
            with self._lock, self._store.transaction():
                self._send_request(image, work, effect)
            self.posted.set()
            return False
        if isinstance(effect, BETWEEN_NASES):
            self._begin_move(image, work, effect)
            return False
        done = self._do(image, work, effect)
        with self._lock:
            if self._has_changed(image_id, work, effect):
                return True
            self.take(image_id, done)
        return True

    def _has_changed(self, image_id: str, work: Work, effect: Effect) -> bool:
        """Whether a command has changed the effect while it was performed, as `Configure`: it is performed again."""
        image = self._images.get(image_id)
        if image is None or image.work is None or image.work.work_id != work.work_id:
            return False
        return image.work.position == work.position and image.work.effects[work.position] != effect

    def _do(self, image: Image, work: Work, effect: Effect) -> Event:
        try:
            return EffectDone(work.work_id, work.position, self._perform(effect))
        except Exception as error:  # noqa: BLE001 - reported, and the image blocked, instead of ending the worker
            return failed_effect(image, work, effect, error)


class NasContext(NamedTuple):
    """What most parts of the daemon of a NAS use: its volumes, its images, the records, and what is under way."""

    pools: PoolDriver
    engine: Engine
    store: NasStore
    progress: ProgressBoard


def failed_effect(image: Image, work: Work, effect: Effect, error: Exception) -> EffectFailed:
    """The event of an effect that has failed, which is logged."""
    kind = type(effect).__name__
    known = error if isinstance(error, RocksError) else None
    if isinstance(error, OSError):
        known = file_error(error)
    if known is None:
        _log.exception("a fault in %s of %s", kind, image.zvol)
        known = BugError(f"{type(error).__name__} in {kind}: {error}; please report this")
    else:
        _log.warning("%s %s: %s: %s", image.zvol, work.step, kind, known)
    return EffectFailed(work.work_id, work.position, known.family, str(known), code_of(known))


# --- timed events: retries, transfers that may start, due pulls, silent hosts ----------------------------------------


_TICK_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = LONGEST_DELAY_SECONDS + 60
_LONGEST_WAIT_SECONDS = 8 * 86400
_COUNT_SECONDS = 300
"""After that much of a grace period the rest is recorded, for the next start of the daemon."""


class Scheduler(PeriodicThread):
    """One thread that checks all images periodically; no error ends it."""

    def __init__(
        self,
        engine: Engine,
        store: NasStore,
        hosts: HostCorrespondence,
        limits: transfers.Limits,
        look_for_hosts: Callable[[Iterable[Image]], None],
    ) -> None:
        """`look_for_hosts` reports hosts that have become silent."""
        super().__init__(
            "scheduler", _TICK_SECONDS, lambda: self.tick(now_seconds()), "a round of the scheduler failed"
        )
        self._look_for_hosts = look_for_hosts
        self._engine = engine
        self._store = store
        self._hosts = hosts
        self._limits = limits
        self._since: Dict[str, int] = {}
        self._counted: Dict[Tuple[str, int], float] = {}
        """Image and end of its grace period → when it was counted last."""

    def tick(self, now: int) -> None:
        """One round at that time (UNIX seconds)."""
        images = self._engine.images()
        for image in images:
            self._look_at(image, now)
        self._count_graces(images, now)
        self._start_transfers(now)
        self._look_for_hosts(images)
        known = {image.image_id for image in images}
        for image_id in [one for one in self._since if one not in known]:
            del self._since[image_id]

    def _look_at(self, image: Image, now: int) -> None:
        if image.retry_at is not None and not now < image.retry_at <= now + _LONGEST_PAUSE_SECONDS:
            # a time beyond any pause was set by a wrong clock
            self._engine.take(image.image_id, RetryDue(), max(now, image.retry_at))
        silent = self._hosts.silent_seconds(image)
        if (
            silent is not None
            and image.retry_at is None
            and image.work is not None
            and image.owner is not None
        ):
            text = f"{image.owner} has not answered for {silent:.0f} s"
            failed = HostFailed(image.work.work_id, image.owner, image.epoch, "host", text)
            self._engine.take(image.image_id, failed)
        if image.state in (MAPPED, LOCAL):
            self._since.setdefault(image.image_id, now)
        else:
            self._since.pop(image.image_id, None)

    def _count_graces(self, images: Iterable[Image], now: int) -> None:
        """A grace period ends when it is due, and counted by the monotonic clock: a wrong clock destroys no volume."""
        clock = monotonic_seconds()
        waiting = {
            (image.image_id, image.due_at): image.grace_seconds
            for image in images
            if image.state == DELETING and image.work is None and image.due_at is not None
        }
        self._counted = {key: self._counted.get(key, clock) for key in waiting}
        for (image_id, due_at), left_seconds in waiting.items():
            seconds = int(clock - self._counted[image_id, due_at])
            if seconds >= _COUNT_SECONDS or (seconds >= left_seconds and due_at <= now):
                self._counted[image_id, due_at] = clock
                self._engine.take(image_id, GracePassed(seconds))

    def _start_transfers(self, now: int) -> None:
        images = self._engine.images()
        running = [job for job in map(transfers.running_of, images) if job is not None]
        attributes = self._store.all_attributes()
        period = int(self._store.attributes().get("frequency") or 0) or None
        waiting = []
        for image in images:
            own = attributes.get(image.zvol, {})
            due_at = self._pull_due_at(image, own, own.get("frequency") or period, now)
            job = transfers.job_of(image, self._since.get(image.image_id, now), due_at, now)
            if job is not None:
                waiting.append(job)
        for job in transfers.choose(waiting, running, self._limits, now):
            rejection = self._engine.take(job.image_id, StartSeed() if job.kind == "seed" else StartPull())
            image_now = self._engine.image(job.image_id)
            if rejection is None and job.kind != "seed" and image_now is not None:
                every = attributes.get(image_now.zvol, {}).get("frequency") or period
                self._store.set_attribute_of(image_now.zvol, "nextsync", transfers.next_pull(now, every))

    def _pull_due_at(self, image: Image, own: Mapping[str, Any], every: Optional[int], now: int) -> int:
        """When the image's changes are due; recorded, since it is listed, may be set, and survives a restart."""
        due_at = own.get("nextsync")
        if image.state == LOCAL and due_at is None:
            due_at = transfers.next_pull(now, every)
            self._store.set_attribute_of(image.zvol, "nextsync", due_at)
        elif image.state == LOCAL and int(due_at or 0) > now + _LONGEST_WAIT_SECONDS:
            due_at = now  # not intended: the clock was wrong when it was set
        elif image.owner is None and due_at is not None:
            self._store.set_attribute_of(image.zvol, "nextsync", None)
        return now + 1 if due_at is None else int(due_at)
