"""Requests of NASes: recorded, performed effect by effect, answered; by one worker per image.

A request is journalled before its first effect and its answer is stored after the last. After a crash the open request
begins again from the stage that is stored by then.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from rocks.core.clock import Deadline, monotonic_seconds, utc_now, wait_seconds
from rocks.core.dataclasses import dataclass
from rocks.core.errors import (
    BugError,
    BusyError,
    HostError,
    IncoherentError,
    PoolFullError,
    RocksError,
    StateError,
)
from rocks.core.files import file_error
from rocks.fleet.wire.codec import decode_lenient, encode
from rocks.storage.bus.link import Backoff
from rocks.storage.host.effects import HostEffect, Name, RecordStage
from rocks.storage.host.sequences import rebuild_effects, sequence_for
from rocks.storage.image.effects import DetachDevice, DropMap, HostRequest, LookAtCopy
from rocks.storage.image.image import (
    NOTHING,
    Facts,
    HostImage,
    Rejection,
    Stage,
    check_order,
    laid_over,
    number_is_used,
)
from rocks.storage.iscsi.names import ChapSecrets
from rocks.storage.store.host import CopyRecord, HostStore, RequestRecord
from rocks.storage.wire.messages import HOST_ANSWER, Message, error_fields, read_message, write_message
from rocks.storage.wire.names import nas_queue


class GrantedImage(NamedTuple):
    """An image that a host has under a grant, and the address of its NAS.

    `volume` is the image's whole name on the NAS. `known` is the host's record, whose stage a rebuild needs.
    `evictable` maps volumes of unmapped images to the guid of the snapshot that the NAS has of them.
    """

    image_id: str
    epoch: int
    known: HostImage
    nas: str
    volume: str
    address: str
    portal_port: int
    stream_port: int
    chap: Optional[ChapSecrets]
    evictable: Mapping[str, str] = {}

    @property
    def zvol(self) -> str:
        """The image's name."""
        return self.known.zvol

    @property
    def pool(self) -> str:
        """The pool of its volumes here; empty without one."""
        return self.known.pool or ""


Handler = Callable[..., Facts]
"""Performs an effect: the request, or None in a rebuild, and the image → its facts. RocksError when it fails."""


def granted_image(copy: CopyRecord, known: HostImage, epoch: int) -> GrantedImage:
    """The image of a record, as `known`, for a request of that epoch."""
    details = copy.details
    chap = details.get("chap")
    return GrantedImage(
        copy.image_id,
        epoch,
        known,
        str(details["nas"]),
        str(details["volume"]),
        str(details["address"]),
        int(details["portal_port"]),
        int(details["stream_port"]),
        None if chap is None else decode_lenient(ChapSecrets, chap, "chap"),
        details.get("evictable") or {},
    )


# --- what the messages of requests say: the request itself, its image and its numbers --------------------------------


def request_of(message: Message) -> Any:
    """The request. IncoherentError when the message is none."""
    return decode_lenient(HostRequest, message.fields.get("request"), "message.request")


def digest_of(message: Message) -> str:
    """What distinguishes the request from another one of its number."""
    text = json.dumps(message.fields.get("request"), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def image_id_of(request: RequestRecord) -> str:
    """The id of the image that it is about."""
    return request.op_id.rpartition(".")[0]


def numbers_of(op_id: str) -> Tuple[int, int]:
    """Epoch and sequence of a request. IncoherentError without them."""
    _, _, work_id = op_id.rpartition(".")
    epoch, _, sequence = work_id.partition("-")
    if not epoch.isdigit() or not sequence.isdigit():
        raise IncoherentError(f"the request's number {op_id!r} is invalid")
    return int(epoch), int(sequence)


# --- the engine; it has no thread of its own -------------------------------------------------------------------------


_log = logging.getLogger(__name__)

Perform = Callable[[Name, Optional[HostRequest], GrantedImage], Facts]
"""Performs an effect, of a request or else of a rebuild, and returns the facts it found. RocksError when it fails."""


@dataclass
class _Job:
    """A request under way: the effects that are left and the facts found so far."""

    record: RequestRecord
    message: Message
    request: Any
    effects: List[HostEffect]
    facts: Facts = NOTHING


@dataclass
class _Rebuild:
    """Devices of an image that are still to be rebuilt: the effects that are left, None before it begins."""

    is_tried: bool
    effects: Optional[List[Name]] = None
    cause: str = ""  # why it cannot go on, as it was logged


class HostEngine:
    """All images of this host. For each image, `step` is called by one thread at a time."""

    def __init__(
        self,
        store: HostStore,
        perform: Perform,
        publish: Callable[[CopyRecord], None] = lambda copy: None,
    ) -> None:
        """`publish` gets each record whose stage changes, before it is stored."""
        self._store = store
        self._publish = publish
        self._perform = perform
        self._jobs: Dict[str, _Job] = {}
        self._rebuilds = {copy.known.zvol: _Rebuild(is_tried=False) for copy in store.copies()}
        self.posted = threading.Event()
        """Set when there may be messages to send."""

    @property
    def images(self) -> Tuple[str, ...]:
        """Images with devices to rebuild or requests to perform, after a start."""
        return tuple(sorted({*self._rebuilds, *(request.zvol for request in self._store.open_requests())}))

    @property
    def has_untried(self) -> bool:
        """Whether the rebuild of an image's devices has not been tried since the start."""
        return not all(one.is_tried for one in [*self._rebuilds.values()])

    def must_rebuild(self, zvol: str) -> bool:
        """Whether devices of the image are still to be rebuilt."""
        return zvol in self._rebuilds

    def is_performing(self, zvol: str) -> bool:
        """Whether a request of the image is under way: begun and not answered."""
        return zvol in self._jobs

    # --- requests

    def take(self, message: Message, request: HostRequest, sender: str, body: bytes) -> Optional[str]:
        """Record a request; returns the image whose worker must wake. A known one is answered again, or continues."""
        if sender != message.fields.get("nas"):
            raise IncoherentError(f"{sender} sent a request of the NAS {message.fields.get('nas')!r}")
        zvol = request.zvol
        epoch, sequence = numbers_of(message.op_id)
        came = int(utc_now().timestamp())
        with self._store.transaction():
            known = self._store.request(message.op_id)
            if known is not None and known.digest != digest_of(message):
                # the NAS's record has gone back and uses its numbers again: the answer would be that of another request
                self.reject(message, sender, number_is_used(zvol, epoch, sequence).error())
                return None
            if known is not None:
                if known.answer is not None:
                    self._store.send_answer(known.op_id, nas_queue(known.nas), known.answer)
                    self.posted.set()
                return None
            copy = self._store.copy(zvol) or CopyRecord(message.image_id, HostImage(zvol), {})
            if copy.details.get("nas", sender) != sender and copy.known.stage != "none":
                text = (
                    f"this host has another image {zvol}, of {copy.details.get('nas')} ({copy.known.stage})"
                )
                self.reject(message, sender, StateError(text))
                return None
            seen = _seen_by(copy, message)
            rejection = check_order(seen.known, epoch, sequence)
            if rejection is not None:
                _log.info("%s: %s", zvol, rejection.text)
                self.reject(message, sender, rejection.error())
                return None
            awaited = {image_id_of(one) for one in self._store.open_requests() if one.zvol == zvol}
            is_free = seen.known.stage == "none" and copy.image_id not in awaited - {message.image_id}
            self._store.begin(
                RequestRecord(message.op_id, sender, zvol, body, None, came, digest_of(message))
            )
            # a late request of a former image of the name must not replace the record
            if seen is copy or is_free or getattr(request, "quarantines", False):
                taken = replace(seen.known, last_epoch=epoch, last_sequence=sequence)
                self._store.keep(CopyRecord(message.image_id, taken, _details(message, seen.details)))
        return zvol

    def step(self, zvol: str) -> bool:
        """Perform the next effect of the image: of the request under way, of a rebuild, or of the newest request.

        Returns whether there may be another.
        """
        job = self._jobs.get(zvol)
        if job is None:
            requests = [request for request in self._store.open_requests() if request.zvol == zvol]
            if zvol in self._rebuilds and self._rebuild_next(zvol, requests[-1] if requests else None):
                return True
            for overtaken in self._overtaken_by_last(requests):
                self._answer(overtaken, IncoherentError(f"{zvol}: a newer request has come"))
            if not requests:
                return False
            job = self._begin(requests[-1])
        if job is not None:
            self._go_on(zvol, job)
        return True

    def _overtaken_by_last(self, requests: List[RequestRecord]) -> List[RequestRecord]:
        """Not a request of the recorded image by one of another image, which may be a late one."""
        if not requests:
            return []
        copy, last = self._store.copy(requests[-1].zvol), image_id_of(requests[-1])
        waits = "" if copy is None or copy.image_id == last else copy.image_id
        return [request for request in requests[:-1] if image_id_of(request) != waits]

    def _begin(self, record: RequestRecord) -> Optional[_Job]:
        """The job of a request; None when the stage of the image rejects it."""
        message = read_message(record.body)
        request = request_of(message)
        copy = self._store.copy(record.zvol)
        assert copy is not None
        known = _seen_by(copy, message).known
        try:
            # an open request may come back from a backup, beside volumes of a later grant
            overtaken = check_order(known, *numbers_of(record.op_id))
            found = overtaken or sequence_for(request, known, message.epoch)
        except Exception as error:  # noqa: BLE001 - reported to the NAS, instead of ending the worker
            self._report_fault(record, request, error)
            return None
        if isinstance(found, Rejection):
            kind = IncoherentError if found.family == "incoherent" else HostError
            self._fail(record, request, kind(found.text, code=found.code))
            return None
        job = self._jobs[record.zvol] = _Job(record, message, request, list(found))
        return job

    def _go_on(self, zvol: str, job: _Job) -> None:
        """Perform the job's next effect; after the last, or a failure, answer."""
        try:
            if job.effects:
                found = self._do_one(job.effects[0], zvol, job)
                job.facts = laid_over(job.facts, found)
                job.effects.pop(0)
                if found.has_changes:
                    # the guest's device, which was removed for the check
                    self._rebuilds.setdefault(zvol, _Rebuild(is_tried=True))
                    job.effects.clear()
        except RocksError as error:
            del self._jobs[zvol]
            self._fail(job.record, job.request, error)
        except Exception as error:  # noqa: BLE001 - reported to the NAS, instead of ending the worker
            del self._jobs[zvol]
            self._report_fault(job.record, job.request, error)
        else:
            if not job.effects:
                del self._jobs[zvol]
                self._forget_secrets(zvol)
                self._answer(job.record, job.facts)

    def _fail(self, record: RequestRecord, request: HostRequest, error: RocksError) -> None:
        _log.warning("%s %s: %s", record.zvol, type(request).__name__, error)
        self._answer(record, error)

    def _report_fault(self, record: RequestRecord, request: HostRequest, error: Exception) -> None:
        known = file_error(error) if isinstance(error, OSError) else None
        if known is not None:
            self._fail(record, request, known)
            return
        _log.exception("a fault in %s of %s", type(request).__name__, record.zvol)
        self._answer(record, BugError(f"{type(error).__name__}: {error}; please report this"))

    def _do_one(self, effect: HostEffect, zvol: str, job: _Job) -> Facts:
        """As `_do`. A failure after the guest's device is gone becomes a HostError, so that the NAS tries again."""
        try:
            return self._do(effect, zvol, job)
        except (BusyError, StateError) as error:
            is_about_device = effect in ("RequireUnused", "EnsureDeviceGone") or (
                # the guest of an image that is not copied uses the session's disk itself
                effect == "EnsureSessionGone" and self._stage_of(zvol) == "remote"
            )
            if isinstance(job.request, (DropMap, DetachDevice)) and not is_about_device:
                raise HostError(str(error)) from error
            if effect == "ReceiveSeed" and isinstance(error, PoolFullError):
                # parallel copies may count on the same free space, which returns when one of them ends
                raise HostError(f"{error}; the copy continues when the pool has free space") from error
            raise

    def _stage_of(self, zvol: str) -> Stage:
        copy = self._store.copy(zvol)
        return "none" if copy is None else copy.known.stage

    def _do(self, effect: HostEffect, zvol: str, job: _Job) -> Facts:
        copy = self._store.copy(zvol)
        assert copy is not None
        seen = _seen_by(copy, job.message)
        if isinstance(effect, RecordStage):
            self._record_stage(seen, effect, job)
            return NOTHING
        known = _with_request(seen.known, job.request)
        return self._perform(effect, job.request, granted_image(seen, known, job.message.epoch))

    def _forget_secrets(self, zvol: str) -> None:
        """Delete the passwords of an image that no longer uses its NAS."""
        copy = self._store.copy(zvol)
        if copy is not None and copy.known.stage == "none" and copy.details.get("chap") is not None:
            self._store.keep(copy._replace(details={**copy.details, "chap": None}))

    def _record_stage(self, copy: CopyRecord, effect: RecordStage, job: _Job) -> None:
        uses_nas = effect.stage in ("overlay", "remote")
        known = replace(
            _with_request(copy.known, job.request),
            stage=effect.stage,
            target=job.request.target if uses_nas else None,
            serial=job.request.serial if uses_nas else None,
            epoch=job.message.epoch,
        )
        recorded = copy._replace(known=known)
        self._publish(recorded)
        self._store.keep(recorded)
        self._rebuilds.pop(known.zvol, None)  # the request builds the other devices
        _log.info("%s: %s -> %s", known.zvol, copy.known.stage, known.stage)

    def reject(self, message: Message, sender: str, error: RocksError) -> None:
        """Answer a request that is not recorded; a NAS that no longer waits ignores the answer."""
        fields = error_fields(error)
        body = write_message(
            HOST_ANSWER, fields, op_id=message.op_id, image_id=message.image_id, epoch=message.epoch
        )
        self._store.send_answer(message.op_id, nas_queue(sender), body)
        self.posted.set()

    def _answer(self, record: RequestRecord, result: Any) -> None:
        message = read_message(record.body)
        fields: Mapping[str, Any]
        if isinstance(result, RocksError):
            fields = error_fields(result)
        else:
            fields = {"status": "success", "facts": encode(result)}
        known = {"op_id": record.op_id, "image_id": message.image_id, "epoch": message.epoch}
        body = write_message(HOST_ANSWER, fields, **known)
        chap = None if isinstance(result, RocksError) else self._session_chap(message)
        sent = None if chap is None else write_message(HOST_ANSWER, {**fields, "chap": chap}, **known)
        self._store.answer(record.op_id, nas_queue(record.nas), body, sent)
        self.posted.set()

    def _session_chap(self, message: Message) -> Any:
        """The passwords of the image's session, for a NAS that asks what there is; None without a session."""
        request = request_of(message)
        copy = self._store.copy(request.zvol) if isinstance(request, LookAtCopy) else None
        if copy is None:
            return None
        known = _seen_by(copy, message).known
        has_session = known.stage in ("overlay", "remote") and known.epoch == message.epoch
        return copy.details.get("chap") if has_session else None

    # --- rebuilding, after a restart

    def _rebuild_next(self, zvol: str, request: Optional[RequestRecord]) -> bool:
        """Perform the next effect of a rebuild; False when the rebuild has ended or cannot go on now.

        A rebuild that cannot go on, as while the NAS is away, stays due and starts anew; requests do not wait for it.
        """
        copy = self._store.copy(zvol)
        if copy is None:
            del self._rebuilds[zvol]
            return False
        rebuild = self._rebuilds[zvol]
        if rebuild.effects is None:
            # one of a backup, beside volumes of a later grant, builds no device
            is_next = request is not None and image_id_of(request) == copy.image_id
            is_next = is_next and not (request and check_order(copy.known, *numbers_of(request.op_id)))
            open_request = request_of(read_message(request.body)) if request and is_next else None
            rebuild.effects = list(rebuild_effects(copy.known, open_request))
        try:
            if rebuild.effects:
                image = granted_image(copy, copy.known, copy.known.epoch)
                self._perform(rebuild.effects[0], None, image)
                rebuild.effects.pop(0)
        except IncoherentError as error:
            _log.error("%s (%s) cannot be rebuilt: %s", zvol, copy.known.stage, error)
            del self._rebuilds[zvol]
            return False
        except RocksError as error:
            # any cause may pass: a NAS that is away, a pool that is late, a daemon that is not running yet
            if rebuild.cause != str(error):
                _log.warning("%s cannot be rebuilt yet: %s", zvol, error)
            self._rebuilds[zvol] = _Rebuild(is_tried=True, cause=str(error))
            return False
        if rebuild.effects:
            return True
        if copy.known.stage != "none":
            _log.info("%s: rebuilt as %s", zvol, copy.known.stage)
        del self._rebuilds[zvol]
        return False


def _with_request(known: HostImage, request: Any) -> HostImage:
    """The record with the pool and the size that the request has, where it has them."""
    pool = getattr(request, "pool", None) or known.pool
    return replace(known, pool=pool, size_bytes=getattr(request, "size_bytes", 0) or known.size_bytes)


def _details(message: Message, before: Mapping[str, Any]) -> Dict[str, Any]:
    """The address of the NAS, and the copies that it allows to evict. Secrets arrive with a map only, and are stored
    as long as the image is on this host. `by_volume` is the epoch of a record that was made from volumes.
    """
    sent = {
        name: message.fields.get(name) for name in ("nas", "volume", "address", "portal_port", "stream_port")
    }
    evictable = message.fields.get("evictable") or {}
    chap, by_volume = message.fields.get("chap", before.get("chap")), before.get("by_volume")
    return {**sent, "chap": chap, "evictable": evictable, "by_volume": by_volume}


def _seen_by(copy: CopyRecord, message: Message) -> CopyRecord:
    """The record as the image of a request sees it: numbers and details of a former image of the name do not count.

    One NAS has one image of a name: a map quarantines remains of the former, and removes its devices unless they are
    used.
    """
    if (copy.image_id, copy.details.get("nas")) == (message.image_id, message.fields.get("nas")):
        return copy
    former = replace(copy.known, epoch=0, last_epoch=0, last_sequence=0)
    return CopyRecord(message.image_id, former, _details(message, {}))


# --- threads that drive the engine: one worker per image, many images at once ----------------------------------------


WORKERS = 32
"""More than the merges and copies at once, each of which occupies a worker; they mostly wait."""

_REBUILD_AGAIN_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 10.0
"""Between two tries of a rebuild: its guest may wait for the NAS."""
_POLL_SECONDS = 0.1
_QUIET_SECONDS = 120.0
"""A copy of an image with a request within that time is about to be used: it is not evicted."""


class HostWorkers:
    """Calls the engine for every image that has a request or a rebuild, until there is none."""

    def __init__(self, store: HostStore, engine: HostEngine) -> None:
        self._store = store
        self._engine = engine
        self._busy: Set[str] = set()
        self._again: Set[str] = set()
        self._lock = threading.Lock()
        self._asked_at: Dict[str, float] = {}
        self._pauses: Dict[str, Backoff] = {}
        self._closing = threading.Event()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="image")
        self.posted = self._engine.posted
        """Set when there may be messages to send."""

    def start(self) -> None:
        """Rebuild every image's devices, then perform the open requests."""
        for zvol in self._engine.images:
            self._wake(zvol)

    def wait_until_rebuilt(self, deadline: Deadline) -> None:
        """Until the rebuild of every image's devices has been tried, so that the next services find the devices."""
        while self._engine.has_untried and not deadline.passed():
            wait_seconds(_POLL_SECONDS)

    def take(self, message: Message, sender: str, body: bytes) -> None:
        """Record a request; a worker performs it. One that this release cannot read is answered by an error."""
        try:
            request = request_of(message)
        except IncoherentError as error:
            self.reject(message, sender, error)
            return
        with self._lock:
            self._asked_at[request.zvol] = monotonic_seconds()
        waiting = self._engine.take(message, request, sender, body)
        if waiting is not None:
            self._wake(waiting)

    def reject(self, message: Message, sender: str, error: RocksError) -> None:
        """Answer a request that another release has sent: its NAS reports the cause, and tries again later."""
        text = f"this daemon cannot read the request ({error}): install the release of {sender} on this host"
        self._engine.reject(message, sender, HostError(text))

    @contextmanager
    def reserved(self, zvol: str) -> Iterator[bool]:
        """Whether no worker has the image and no request for it has come for a while; none begins in the `with`."""
        copy = self._store.copy(zvol)
        with self._lock:
            is_quiet = monotonic_seconds() - self._asked_at.get(zvol, -_QUIET_SECONDS) >= _QUIET_SECONDS
            is_unused = copy is None or copy.known.stage == "none"
            is_idle = is_quiet and is_unused and zvol not in self._busy
            if is_idle:
                self._busy.add(zvol)
        try:
            yield is_idle
        finally:
            if is_idle and self._leave(zvol):
                self._wake(zvol)

    def close(self) -> None:
        """Let the requests under way end, and begin no others."""
        self._closing.set()
        self._workers.shutdown(wait=True)

    def _wake(self, zvol: str) -> None:
        with self._lock:
            if zvol in self._busy:
                self._again.add(zvol)
                return
            if self._closing.is_set():
                return
            self._busy.add(zvol)
        self._workers.submit(self._work_on, zvol)

    def _work_on(self, zvol: str) -> None:
        try:
            while self._may_go_on(zvol) and self._engine.step(zvol):
                pass
        except Exception:  # noqa: BLE001 - one image's fault must not end the worker of all
            _log.exception("a fault at %s; please report this", zvol)
        finally:
            if self._leave(zvol):
                self._wake(zvol)
            elif not self._engine.must_rebuild(zvol):
                self._pauses.pop(zvol, None)
            elif not self._closing.is_set():
                self._wake_later(zvol)

    def _leave(self, zvol: str) -> bool:
        """Nobody has the image any more; returns whether a worker is to wake."""
        with self._lock:
            self._busy.discard(zvol)
            is_needed = zvol in self._again
            self._again.discard(zvol)
            return is_needed

    def _may_go_on(self, zvol: str) -> bool:
        """A request that has begun ends before the daemon does."""
        return not self._closing.is_set() or self._engine.is_performing(zvol)

    def _wake_later(self, zvol: str) -> None:
        pause = self._pauses.setdefault(zvol, Backoff(_REBUILD_AGAIN_SECONDS, _LONGEST_PAUSE_SECONDS))
        later = threading.Timer(pause.next_seconds(), self._wake, (zvol,))
        later.daemon = True
        later.start()
