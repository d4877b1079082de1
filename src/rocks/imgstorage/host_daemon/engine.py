"""Requests of NASes: recorded, done effect by effect, answered; one worker per image, many images at once."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Dict, Mapping, Optional, Protocol, Set, Tuple

from rocks.clock import Deadline, monotonic_seconds, utc_now, wait_seconds
from rocks.devices.iscsi_target.chap import ChapSecrets
from rocks.errors import (
    BugError,
    BusyError,
    HostError,
    IncoherentError,
    PoolFullError,
    RocksError,
    StateError,
)
from rocks.imgstorage.model.effects import DetachDevice, DropMap, HostRequest
from rocks.imgstorage.model.facts import NOTHING, Facts, Stage, laid_over
from rocks.imgstorage.model.host_actions import HostImage, check_order, rebuild_effects, sequence_for
from rocks.imgstorage.model.host_effects import (
    EnsureDeviceGone,
    EnsureSessionGone,
    EnsureUnused,
    HostEffect,
    ReceiveSeed,
    RecordStage,
)
from rocks.imgstorage.model.image import Refusal
from rocks.imgstorage.perform.access import Access
from rocks.imgstorage.store.host import CopyRecord, HostStore, RequestRecord
from rocks.wire.codec import decode, encode
from rocks.wire.imgstorage_messages import HOST_ANSWER, Message, error_fields, read_message, write_message
from rocks.wire.queues import nas_queue

_log = logging.getLogger(__name__)

WORKERS = 32
"""More than merges and copies at once, which each keep one; they mostly wait."""

_REBUILD_AGAIN_SECONDS = 2.0
_POLL_SECONDS = 0.1
_QUIET_SECONDS = 120.0
"""A copy that was asked for within that time is about to be used: it does not go to make room."""


class EffectHandlers(Protocol):
    """What does effects: `rocks.imgstorage.perform.host_handlers.HostHandlers`."""

    def do(self, effect: HostEffect, access: Access) -> Facts:
        """Do it, and tell what was found. RocksError when it cannot be done."""


class HostEngine:
    """All images that this host has something of."""

    def __init__(self, store: HostStore, operations: EffectHandlers) -> None:
        self._store = store
        self._deeds = operations
        self._busy: Set[str] = set()
        self._again: Set[str] = set()
        self._to_rebuild: Set[str] = set()
        self._waiting_for: Set[str] = set()
        self._lock = threading.Lock()
        self._asked_at: Dict[str, float] = {}
        self._closing = threading.Event()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="image")
        self.posted = threading.Event()
        """Set when there may be messages to send."""

    def start(self) -> None:
        """Have every image's device again, then go on with what is open."""
        self._to_rebuild = {copy.known.zvol for copy in self._store.copies()}
        self._waiting_for = set(self._to_rebuild)
        for zvol in sorted(self._to_rebuild | {request.zvol for request in self._store.open_requests()}):
            self._wake(zvol)

    def wait_until_rebuilt(self, deadline: Deadline) -> None:
        """Until every image's device has been tried, so that what is started next may find it."""
        while self._waiting_for and not deadline.passed():
            wait_seconds(_POLL_SECONDS)

    def is_idle(self, zvol: str) -> bool:
        """Whether nobody is at that image, or has asked for anything of it for a while."""
        copy = self._store.copy(zvol)
        with self._lock:
            is_quiet = monotonic_seconds() - self._asked_at.get(zvol, -_QUIET_SECONDS) >= _QUIET_SECONDS
            return is_quiet and zvol not in self._busy and (copy is None or copy.known.stage == "none")

    def close(self) -> None:
        """Let what is being done come to its end, and begin nothing more."""
        self._closing.set()
        self._workers.shutdown(wait=True)

    # --- requests

    def take(self, message: Message, sender: str, body: bytes) -> None:
        """Record a request; a worker does it. One that is known is answered again, or goes on."""
        if sender != message.fields.get("nas"):
            raise IncoherentError(f"{sender} speaks for {message.fields.get('nas')!r}")
        request = _request(message)
        zvol = str(request.zvol)
        with self._lock:
            self._asked_at[zvol] = monotonic_seconds()
        epoch, sequence = _numbers(message.op_id)
        came = int(utc_now().timestamp())
        with self._store.transaction():
            known = self._store.request(message.op_id)
            if known is not None:
                if known.answer is not None:
                    self._store.send_answer(known.op_id, nas_queue(known.nas), known.answer)
                    self.posted.set()
                return
            copy = self._store.copy(zvol) or CopyRecord(message.image_id, HostImage(zvol), {})
            if copy.image_id != message.image_id or copy.details.get("nas", sender) != sender:
                if copy.known.stage != "none":
                    words = f"this host has another image {zvol}, of {copy.details.get('nas')} ({copy.known.stage})"
                    self._refuse(message, sender, StateError(words))
                    return
                # a name that is used again: what the one before has left goes aside, and its numbers mean nothing
                copy = CopyRecord(message.image_id, HostImage(zvol, copy.known.pool), {})
            refusal = check_order(copy.known, epoch, sequence)
            if refusal is not None:
                _log.info("%s: %s", zvol, refusal.text)
                self._refuse(message, sender, StateError(refusal.text))
                return
            self._store.begin(RequestRecord(message.op_id, sender, zvol, body, None, came))
            taken = replace(copy.known, last_epoch=epoch, last_sequence=sequence)
            self._store.keep(CopyRecord(message.image_id, taken, _details(message, copy.details)))
        self._wake(zvol)

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
            while not self._closing.is_set() and self._do_next(zvol):
                pass
        except Exception:  # noqa: BLE001 - one image's fault must not end the worker of all
            _log.exception("a fault at %s; please report this", zvol)
        finally:
            with self._lock:
                self._busy.discard(zvol)
                again = zvol in self._again
                self._again.discard(zvol)
            if again:
                self._wake(zvol)

    def _do_next(self, zvol: str) -> bool:
        requests = [request for request in self._store.open_requests() if request.zvol == zvol]
        if zvol in self._to_rebuild and self._rebuild(zvol, requests[-1] if requests else None):
            self._to_rebuild.discard(zvol)
        self._waiting_for.discard(zvol)
        for overtaken in requests[:-1]:
            self._answer(overtaken, IncoherentError(f"{zvol}: a newer request has come"))
        if not requests:
            return False
        self._perform(requests[-1])
        return True

    def _perform(self, record: RequestRecord) -> None:
        message = read_message(record.body)
        request = _request(message)
        copy = self._store.copy(record.zvol)
        assert copy is not None
        try:
            found = sequence_for(request, copy.known, message.epoch)
            if isinstance(found, Refusal):
                raise IncoherentError(found.text) if found.family == "incoherent" else HostError(found.text)
            facts = NOTHING
            for effect in found:
                facts = laid_over(facts, self._do_one(effect, record.zvol, message.epoch, request))
                if facts.has_changes:
                    self._to_rebuild.add(record.zvol)  # the guest's device, which was taken away to look
                    break
        except RocksError as error:
            _log.warning("%s %s: %s", record.zvol, type(request).__name__, error)
            self._answer(record, error)
        except Exception as error:  # noqa: BLE001 - it is told, instead of a dead worker
            _log.exception("a fault in %s of %s", type(request).__name__, record.zvol)
            self._answer(record, BugError(f"{type(error).__name__}: {error}; please report this"))
        else:
            self._forget_secrets(record.zvol)
            self._answer(record, facts)

    def _do_one(self, effect: HostEffect, zvol: str, epoch: int, request: HostRequest) -> Facts:
        """As `_do`. What fails after the guest's device has gone is no word about the device: the NAS tries again."""
        try:
            return self._do(effect, zvol, epoch, request)
        except (BusyError, StateError) as error:
            is_about_device = isinstance(effect, (EnsureUnused, EnsureDeviceGone)) or (
                # the guest of an image that is not copied uses the session's disk itself
                isinstance(effect, EnsureSessionGone) and self._stage_of(zvol) == "remote"
            )
            if isinstance(request, (DropMap, DetachDevice)) and not is_about_device:
                raise HostError(str(error)) from error
            if isinstance(effect, ReceiveSeed) and isinstance(error, PoolFullError):
                # images that were mapped side by side have promised the same room: it comes when one of them has ended
                raise HostError(f"{error}; the copying goes on when there is room") from error
            raise

    def _stage_of(self, zvol: str) -> Stage:
        copy = self._store.copy(zvol)
        return "none" if copy is None else copy.known.stage

    def _do(self, effect: HostEffect, zvol: str, epoch: int, request: Optional[HostRequest]) -> Facts:
        copy = self._store.copy(zvol)
        assert copy is not None
        if isinstance(effect, RecordStage):
            self._record_stage(copy, effect, epoch, request)
            return NOTHING
        known = copy.known
        size = getattr(request, "size_bytes", 0)
        if size and known.size_bytes != size:
            known = replace(known, size_bytes=size)
        return self._deeds.do(effect, _access(copy, known, epoch))

    def _forget_secrets(self, zvol: str) -> None:
        """Where nothing of the NAS is in use any more, nothing is kept that lets anybody in there."""
        copy = self._store.copy(zvol)
        if copy is not None and copy.known.stage == "none" and copy.details.get("chap") is not None:
            self._store.keep(copy._replace(details={**copy.details, "chap": None}))

    def _record_stage(
        self, copy: CopyRecord, effect: RecordStage, epoch: int, request: Optional[HostRequest]
    ) -> None:
        known = replace(
            copy.known,
            stage=effect.stage,
            target=effect.target,
            serial=effect.serial,
            epoch=epoch,
            pool=getattr(request, "pool", None) or copy.known.pool,
            size_bytes=getattr(request, "size_bytes", 0) or copy.known.size_bytes,
        )
        self._store.keep(copy._replace(known=known))
        self._to_rebuild.discard(known.zvol)  # the request builds the rest
        _log.info("%s: %s -> %s", known.zvol, copy.known.stage, known.stage)

    def _refuse(self, message: Message, sender: str, error: RocksError) -> None:
        """Answer a request that is not taken on; a NAS that has gone on since passes the answer over."""
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
        body = write_message(
            HOST_ANSWER, fields, op_id=record.op_id, image_id=message.image_id, epoch=message.epoch
        )
        self._store.answer(record.op_id, nas_queue(record.nas), body)
        self.posted.set()

    # --- after a restart

    def _rebuild(self, zvol: str, request: Optional[RequestRecord]) -> bool:
        """Whether there is nothing to be rebuilt any more. While the NAS is away it is tried again and again, since a
        guest may be waiting too; requests do not wait for that."""
        copy = self._store.copy(zvol)
        if copy is None:
            return True
        asked = None if request is None else _request(read_message(request.body))
        for effect in rebuild_effects(copy.known, asked):
            try:
                self._deeds.do(effect, _access(copy, copy.known, copy.known.epoch))
            except IncoherentError as error:
                _log.error("%s (%s) cannot be rebuilt: %s", zvol, copy.known.stage, error)
                return True
            except RocksError as error:
                # whatever it is may pass: a NAS that is away, a pool that is late, a daemon that is not up yet
                _log.warning("%s cannot be rebuilt yet: %s", zvol, error)
                again = threading.Timer(_REBUILD_AGAIN_SECONDS, self._wake, (zvol,))
                again.daemon = True
                again.start()
                return False
        if copy.known.stage != "none":
            _log.info("%s: rebuilt as %s", zvol, copy.known.stage)
        return True


def _request(message: Message) -> Any:
    return decode(HostRequest, message.fields.get("request"), "message.request")  # type: ignore[arg-type] # a Union


def _numbers(op_id: str) -> Tuple[int, int]:
    _, _, work_id = op_id.rpartition(".")
    epoch, _, sequence = work_id.partition("-")
    if not epoch.isdigit() or not sequence.isdigit():
        raise IncoherentError(f"the request's number {op_id!r} is none")
    return int(epoch), int(sequence)


def _details(message: Message, before: Mapping[str, Any]) -> Dict[str, Any]:
    """The way to the NAS, and what it can spare now; secrets come with the map only, and are kept as long as the image
    is there."""
    said = {
        name: message.fields.get(name) for name in ("nas", "volume", "address", "portal_port", "stream_port")
    }
    spare = message.fields.get("spare") or {}
    return {**said, "chap": message.fields.get("chap", before.get("chap")), "spare": spare}


def _access(copy: CopyRecord, known: HostImage, epoch: int) -> Access:
    details = copy.details
    chap = details.get("chap")
    return Access(
        copy.image_id,
        epoch,
        known,
        str(details["nas"]),
        str(details["volume"]),
        str(details["address"]),
        int(details["portal_port"]),
        int(details["stream_port"]),
        None if chap is None else decode(ChapSecrets, chap, "chap"),
        details.get("spare") or {},
    )
