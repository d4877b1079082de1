"""Requests of commands to a NAS: each is answered at once, or becomes an event whose outcome answers it later.

A dry run asks what the NAS would refuse: a request is performed as far as its first change, which is left out.
"""

from __future__ import annotations

import logging
import uuid
from contextlib import suppress
from typing import Any, Callable, Dict, NamedTuple, NoReturn, Optional, Type, TypeVar, cast

from rocks.core.errors import CLASSES, BusyError, Code, IncoherentError, RocksError, StateError, UserError
from rocks.core.values import BYTES_PER_GIB
from rocks.fleet.wire.codec import encode
from rocks.storage.image import events
from rocks.storage.image.effects import BETWEEN_NASES, AskHost, Grant
from rocks.storage.image.events import EffectDone, Event, Retry
from rocks.storage.image.image import Image, Outcome, Rejection
from rocks.storage.image.rejections import check_machine
from rocks.storage.image.state_machine import is_ready
from rocks.storage.image.transfers import DEFAULT_PULL_SECONDS
from rocks.storage.nas.attribute_rules import attribute_value, global_value
from rocks.storage.nas.bases import Bases, Clones
from rocks.storage.nas.engine import Engine, NasContext, Perform, failed_effect, now_seconds
from rocks.storage.nas.exports import Exports
from rocks.storage.nas.hosts import HostPresence
from rocks.storage.nas.listing import arrival_row, first_page, image_row, snapshot_row
from rocks.storage.nas.lost_records import adopt, adopt_volume
from rocks.storage.nas.moves import Arrivals
from rocks.storage.nas.sequences import MACHINE
from rocks.storage.nas.snapshots import HeldSnapshots
from rocks.storage.nas.volumes import Imports, standing_grant
from rocks.storage.store.file import OutboxMessage
from rocks.storage.store.nas import Operation
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import Message, read_message, read_request, write_error, write_success
from rocks.storage.wire.names import is_base
from rocks.storage.wire.replies import Fields
from rocks.storage.wire.requests import ACTIONS, action_of
from rocks.storage.zfs.facts import OUR_PREFIX

CHECK = "check"
"""The id of the operation that is checked; no other has it."""

_QUESTIONS = ("read_", "list_", "written_", "estimate_", "arrivals", "attributes", "all_", "operation")
"""How the names of methods begin that change nothing."""

_Real = TypeVar("_Real")


class FirstChangeError(Exception):
    """What follows would change something. Not an error of ours, so that no handler of one catches it."""


def end(*_: object, **__: object) -> NoReturn:
    """In place of a change."""
    raise FirstChangeError


class _Unchanged:
    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name) if name.startswith(_QUESTIONS) else end


def unchanged(real: _Real) -> _Real:
    """Pools, records or exports that answer questions, and end at the first change."""
    return cast("_Real", _Unchanged(real))


class UnchangedEngine(Engine):
    """The images as they are, and the records that a request would add."""

    def __init__(self, real: Engine, perform: Perform) -> None:
        self._lock, self._perform, self.queued_at = real._lock, perform, real.queued_at  # type: ignore[method-assign]
        self._images: Dict[str, Image] = {image.image_id: image for image in real.images()}

    def add(self, *images: Image) -> None:
        """For this request only."""
        self._images.update((image.image_id, image) for image in images)

    def take(self, image_id: str, event: Event, now: Optional[int] = None) -> Optional[Rejection]:
        """The rejection, or the error with which the operation would end before its first change."""
        image = self._images[image_id]
        while True:
            decision = MACHINE.decide(image, event, now_seconds())
            if isinstance(decision, Rejection):
                return decision
            for outcome in decision.outcomes:
                if outcome.op_id == CHECK and outcome.family is not None:
                    raise CLASSES[outcome.family](outcome.text)
            if isinstance(event, Retry) and event.op_id != CHECK and decision.image is not None:
                self.add(decision.image)  # a volume is adopted before its request is taken
                return None
            if decision.image is None or decision.image.work is None or not is_ready(decision.image):
                raise FirstChangeError
            image, work = decision.image, decision.image.work
            effect = work.effects[work.position]
            if isinstance(effect, (AskHost, *BETWEEN_NASES)):
                raise FirstChangeError
            try:
                event = EffectDone(work.work_id, work.position, self._perform(effect))
            except RocksError as error:
                event = failed_effect(image, work, effect, error)


# --- answers from records: images, operations and their attributes ---------------------------------------------------


_log = logging.getLogger(__name__)

PAGE_BYTES = 512 * 1024
"""The size of the rows in one answer: half of a message's limit."""


class ImageRecords:
    """The images of this NAS as commands see them."""

    def __init__(
        self, context: NasContext, presence: HostPresence, arrivals: Arrivals, exports: Exports, node: str
    ) -> None:
        self._pools, self._engine, self._store, self._progress = context
        self._presence = presence
        self._arrivals = arrivals
        self._exports = exports
        self._node = node

    def known(self, zvol: str) -> Image:
        """The image of that name. StateError without one."""
        image = self._engine.image_of(zvol)
        if image is None:
            raise StateError(f"ZVol {zvol} not found in database", code=Code.IMAGE_UNKNOWN)
        return image

    def list_zvols(self, request: wire.ListZvols) -> Fields:
        """The images by name, as many as fit into a message."""
        attributes = self._store.all_attributes()
        rows = [
            image_row(
                image,
                attributes.get(image.zvol, {}),
                self._engine.queued_at(image.image_id),
                self._presence.silent_seconds(image.owner),
                self._exports.failures.get(image.target or "", ""),
            )
            for image in self._engine.images()
            if image.zvol > request.after
        ]
        rows += [arrival_row(one) for one in self._arrivals.all() if one.zvol > request.after]
        rows.sort(key=lambda row: row.zvol)
        body, has_more = first_page(map(encode, rows), PAGE_BYTES)
        return {"body": body, "more": has_more}

    def get_zvol_attrs(self, request: wire.GetZvolAttrs) -> Fields:
        """The attributes of an image."""
        image = self.known(request.zvol)
        return {
            "body": {
                "zvol": image.zvol,
                **self._store.attributes_of(image.zvol),
                "persistent": image.persistent,
            }
        }

    def set_zvol_attrs(self, request: wire.SetZvolAttrs) -> Fields:
        """Set some of them; all, or none when a value is wrong."""
        image = self.known(request.zvol)
        check_machine(image, request.machine)
        values = {name: attribute_value(name, value) for name, value in request.changes}
        persistent = values.pop("persistent", None)
        if persistent is not None:
            self._set_persistent(image, bool(persistent), bool(request.machine))
        with self._store.transaction():
            for name, value in values.items():
                self._store.set_attribute_of(image.zvol, name, value)
        return self.get_zvol_attrs(wire.GetZvolAttrs(image.zvol))

    def _set_persistent(self, image: Image, persistent: bool, is_mapped_next: bool) -> None:
        """On the volume, for a NAS that loses its records, then in the record.

        Before the first map, which comes next, that of a machine writes it, unless an earlier one is there: other
        requests wait for `zfs set`. It is written once more afterwards: a grant that was being written has the former
        value.
        """
        is_new = persistent != image.persistent
        if is_new and is_mapped_next and not persistent and not image.epoch:
            volume = self._pools.read_volume(image.volume)
            is_new = volume is not None and standing_grant(volume).persistent is not None
        event = events.Configure(str(uuid.uuid4()), persistent)
        refused = MACHINE.decide(image, event, now_seconds())
        if isinstance(refused, Rejection):  # before the first change, for a check
            raise refused.error()
        if is_new:
            self._mark_persistent(image, persistent)
        rejection = self._engine.take(image.image_id, event)
        if rejection is not None:
            if is_new:
                self._mark_persistent(image, image.persistent)
            raise rejection.error()
        if is_new or not is_mapped_next:
            try:
                self._mark_persistent(image, persistent)
            except RocksError as error:  # the record has it, so the answer is that it is set
                _log.warning("%s has no mark that it is persistent=%s: %s", image.volume, persistent, error)

    def _mark_persistent(self, image: Image, persistent: bool) -> None:
        volume = self._pools.read_volume(image.volume)
        if volume is not None and image.volume_guid in (None, volume.guid):
            mark = {f"{OUR_PREFIX}persistent": "yes" if persistent else "no"}
            self._pools.ensure_properties(volume.name, volume.guid, mark)

    def get_attrs(self, request: wire.GetAttrs) -> Fields:
        """The attributes of the NAS, and the period that holds where none is set."""
        attributes = self._store.attributes()
        attributes["frequency"] = attributes.get("frequency") or str(DEFAULT_PULL_SECONDS)
        return {"attrs": attributes}

    def set_attrs(self, request: wire.SetAttrs) -> Fields:
        """Set some of them; all, or none when a value is wrong."""
        values = {name: global_value(name, value) for name, value in request.attrs}
        with self._store.transaction():
            for name, value in values.items():
                self._store.set_attribute(name, value)
        return self.get_attrs(wire.GetAttrs())

    def del_attrs(self, request: wire.DelAttrs) -> Fields:
        """Remove some of them."""
        self._store.forget_attributes(request.attrs)
        return self.get_attrs(wire.GetAttrs())

    def list_snapshots(self, request: wire.ListSnapshots) -> Fields:
        """The snapshots of an image, or of a volume without a record, and what it is a clone of and its size."""
        image = self._engine.image_of(request.zvol)
        name = f"{request.zpool}/{request.zvol}" if image is None else image.volume
        volume = self._pools.read_volume(name) if image is not None or request.zpool else None
        if image is not None or volume is None:
            machine = self.known(request.zvol).machine
        else:
            machine = standing_grant(volume).machine  # a question makes no record of it
        return {
            "body": [encode(snapshot_row(snapshot)) for snapshot in self._pools.read_history(name).snapshots],
            "origin": "" if volume is None else volume.origin or "",
            "size_bytes": 0 if volume is None else volume.size_bytes,
            "machine": machine,
        }

    def list_operations(self, request: wire.ListOperations) -> Fields:
        """What is in progress."""
        by_zvol = {image.zvol: image for image in self._engine.images()}
        rows = [
            self._progress.row(operation.op_id, operation.action, operation.zvol, by_zvol.get(operation.zvol))
            for operation in self._store.open_operations()
        ]
        rows += self._progress.rows_without({row.image for row in rows}, by_zvol.values())
        return {"body": list(map(encode, rows + self._arrivals.operation_rows()))}

    def operation_status(self, request: wire.OperationStatus) -> Fields:
        """The answer of an operation, None before its end. IncoherentError when it is not on record."""
        operation = self._store.operation(request.operation)
        if operation is None:
            raise IncoherentError(f"{self._node} has no record of operation {request.operation}")
        answer = None if operation.answer is None else operation.answer.decode("utf-8")
        return {
            "operation": request.operation,
            "action": operation.action,
            "zvol": operation.zvol,
            "answer": answer,
        }


# --- requests --------------------------------------------------------------------------------------------------------


class Site(NamedTuple):
    """This NAS, its frontend, and how a host's address is found (HostError when it has none)."""

    node: str
    frontend: str
    find_address: Callable[[str], str]


class Commands:
    """Handles requests of commands. Only the frontend may send them, even those that only read."""

    def __init__(
        self,
        context: NasContext,
        imports: Imports,
        presence: HostPresence,
        arrivals: Arrivals,
        bases: Bases,
        exports: Exports,
        site: Site,
        checking: Callable[[], Commands],
    ) -> None:
        """`checking` makes an object of this class that ends at the first change."""
        self._checking = checking
        self._pools, self._engine, self._store, _ = context
        self._arrivals = arrivals
        self._bases = bases
        self._clones = Clones(self._pools, self._engine, imports, site.node)
        self._held = HeldSnapshots(self._pools, self._adopted, self._clones.snapshot_of_now)
        self._imports = imports
        self._node = site.node
        self._frontend = site.frontend
        self._find_address = site.find_address
        self._records = ImageRecords(context, presence, arrivals, exports, site.node)
        self._answers = self._answers_by_request()
        self._begins = self._begins_by_request()

    def _answers_by_request(self) -> Dict[Type[object], Callable[[Any], Fields]]:
        """Requests that are answered at once."""
        return {
            wire.AddZvol: self._add,
            wire.AddBase: self._bases.add,
            wire.ListBases: lambda request: {"body": self._bases.rows()},
            wire.CloneZvols: self._clones.clone,
            wire.FreezeZvols: self._clones.freeze,
            wire.HoldSnapshot: self._held.hold,
            wire.ReleaseSnapshot: self._held.release,
            wire.AcceptZvol: self._accept,
            wire.CheckRequest: self._check,
            wire.ListZvols: self._records.list_zvols,
            wire.GetZvolAttrs: self._records.get_zvol_attrs,
            wire.SetZvolAttrs: self._records.set_zvol_attrs,
            wire.GetAttrs: self._records.get_attrs,
            wire.SetAttrs: self._records.set_attrs,
            wire.DelAttrs: self._records.del_attrs,
            wire.ListSnapshots: self._records.list_snapshots,
            wire.ListOperations: self._records.list_operations,
            wire.OperationStatus: self._records.operation_status,
        }

    def _begins_by_request(self) -> Dict[Type[object], Callable[[Any, str], None]]:
        """Requests that become an event of an image."""
        return {
            wire.MapZvol: self._map,
            wire.UnmapZvol: lambda request, op: self._take(request.zvol, events.Unmap(op)),
            wire.DelZvol: self._delete,
            wire.UndeleteZvol: lambda request, op: self._take(request.zvol, events.Undelete(op)),
            wire.PullZvol: lambda request, op: self._take(request.zvol, events.PullNow(op)),
            wire.CancelZvol: self._cancel,
            wire.MoveZvol: self._move,
            wire.GrowZvol: self._grow,
            wire.RetryZvol: lambda request, op: self._take(
                request.zvol, events.Retry(op, self._standing(request.zvol))
            ),
            wire.AbandonZvol: lambda request, op: self._take(
                request.zvol,
                events.Abandon(op, request.reason, self._standing(request.zvol)),
            ),
            wire.RestoreZvol: self._restore,
        }

    def handle(self, message: Message, sender: str, op_id: str, reply_to: Optional[str]) -> None:
        """Record a request, and answer it now or when it is done. A repeated request gets the same answer."""
        action = ACTIONS.get(message.action)
        is_recorded = action is None or action.role != "nas" or action.repetition == "once"
        if sender != self._frontend or not is_recorded:  # of others, who are refused, no record is made
            self._answer_now(message, sender, op_id, reply_to)
        else:
            self._begin(message, sender, op_id, reply_to)
        self._engine.posted.set()

    def _answer_now(self, message: Message, sender: str, op_id: str, reply_to: Optional[str]) -> None:
        """Requests without an event are not recorded: a repeated one is performed again, which changes nothing."""
        try:
            request = self._permitted(message, sender)
            if action_of(request).repetition == "in time":
                _check_deadline(message)
            body = write_success(message.action, self._answers[type(request)](request), op_id=op_id)
        except RocksError as error:
            body = write_error(message.action, error, op_id=op_id)
        if reply_to:
            self._store.post(OutboxMessage(f"answer-{uuid.uuid4()}", reply_to, "reply", op_id, None, body))

    def _begin(self, message: Message, sender: str, op_id: str, reply_to: Optional[str]) -> None:
        known = self._store.operation(op_id)
        if known is not None and known.answer is not None:
            if reply_to:
                self._store.answer_again(known._replace(reply_to=reply_to))
            return
        if known is not None and reply_to:
            self._store.redirect(op_id, reply_to)
        if known is not None and self._is_under_way(op_id):
            return
        zvol = str(message.fields.get("zvol", ""))
        self._store.begin(Operation(op_id, message.action, zvol, sender, reply_to or "", now_seconds(), None))
        try:
            request = self._permitted(message, sender)
            if known is not None and self._has_removed_base(request):
                self._store.answer(op_id, write_success(message.action, {"zvol": zvol}, op_id=op_id))
                return
            _check_deadline(message)
            self._begins[type(request)](request, op_id)
        except RocksError as error:
            self._store.answer(op_id, write_error(message.action, error, op_id=op_id))

    def _has_removed_base(self, request: Any) -> bool:
        """Whether a daemon that ended before its answer has destroyed the base."""
        return (
            isinstance(request, wire.DelZvol)
            and is_base(request.zvol)
            and self._bases.is_gone(request.zpool, request.zvol)
        )

    def _is_under_way(self, op_id: str) -> bool:
        """Whether an image has the operation: a daemon that ended in between has recorded it and not begun."""
        return any(
            op_id in (image.operation_id, *image.unmap_ids, *image.pull_ids, *image.move_ids)
            for image in self._engine.images()
        )

    def _permitted(self, message: Message, sender: str) -> Any:
        request = read_request(message, "nas")
        if sender != self._frontend:
            raise UserError(f"{sender} may not send that request to {self._node}; only {self._frontend} may")
        return request

    def publish(self, image: Image, outcome: Outcome) -> None:
        """Answer the client of an operation that has ended."""
        operation = self._store.operation(outcome.op_id)
        if operation is None:
            return
        if outcome.family is not None:
            error = CLASSES[outcome.family](outcome.text)
            body = write_error(operation.action, error, op_id=outcome.op_id)
        else:
            fields = {} if outcome.device is None else {"bdev": outcome.device}
            body = write_success(operation.action, {"zvol": image.zvol, **fields}, op_id=outcome.op_id)
        self._store.answer(outcome.op_id, body)

    # --- begun now, answered by their outcome

    def _map(self, request: wire.MapZvol, op_id: str) -> None:
        if not request.initiator:
            raise UserError("no initiator name")
        if request.sync and not request.remotepool:
            raise UserError(
                f"ZVol {request.zvol} cannot be copied to {request.remotehost}: no remotepool was given"
            )
        if is_base(request.zvol):
            raise UserError(
                f"ZVol {request.zvol} is the base of an image, which disks are clones of; it is not mapped"
            )
        self._find_address(request.remotehost)
        self._imports.check_complete(f"{request.zpool}/{request.zvol}")
        self._arrivals.check_free(request.zvol)
        image = adopt(self._engine, self._pools, self._node, request.zpool, request.zvol)
        if image is None:
            self._pools.read_pool(request.zpool)
            self._engine.check_target(request.zvol)
            image = Image(str(uuid.uuid4()), self._node, request.zpool, request.zvol)
            self._engine.add(image)
        self._check_meant(image, request.zpool, request.machine)
        event = events.Map(
            op_id,
            request.remotehost,
            request.remotepool,
            request.sync,
            request.initiator,
            request.size * BYTES_PER_GIB,
            request.token,
            request.machine,
        )
        self._take(request.zvol, event)

    def _delete(self, request: wire.DelZvol, op_id: str) -> None:
        if is_base(request.zvol):
            self._bases.remove(request.zpool, request.zvol)
            self._store.answer(op_id, write_success("del_zvol", {"zvol": request.zvol}, op_id=op_id))
            return
        adopt(self._engine, self._pools, self._node, request.zpool, request.zvol)
        image = self._records.known(request.zvol)
        self._check_meant(image, request.zpool, request.machine)
        if request.with_snapshots:
            self._held.release_for_destruction(image)
        self._take(request.zvol, events.Delete(op_id, request.grace_seconds, request.force))

    def _check_meant(self, image: Image, zpool: str, machine: str) -> None:
        """StateError for an image in another pool, or of another machine."""
        if image.pool != zpool:
            raise StateError(f"ZVol {image.zvol} is in the pool {image.pool} of {self._node}, not in {zpool}")
        check_machine(image, machine)

    def _restore(self, request: wire.RestoreZvol, op_id: str) -> None:
        image = self._adopted(request.zpool, request.zvol)
        check_machine(image, request.machine)
        found = self._pools.read_history(image.volume).snapshot(request.snapshot)
        if found is None:
            raise UserError(
                f"{image.volume} has no snapshot {request.snapshot}; `rocks list host storagesnap` lists them"
            )
        self._take(request.zvol, events.Restore(op_id, found.name, found.guid))

    def _move(self, request: wire.MoveZvol, op_id: str) -> None:
        if request.nas == self._node:
            raise UserError(f"ZVol {request.zvol} is on {self._node} already")
        self._find_address(request.nas)
        image = self._records.known(request.zvol)
        self._imports.check_complete(image.volume)
        self._take(request.zvol, events.Move(op_id, request.nas, request.zpool, request.grace_seconds))

    def _grow(self, request: wire.GrowZvol, op_id: str) -> None:
        if is_base(request.zvol):
            raise UserError(f"ZVol {request.zvol} is the base of an image, and never changes")
        self._imports.check_complete(f"{request.zpool}/{request.zvol}")
        self._arrivals.check_free(request.zvol)
        adopt(self._engine, self._pools, self._node, request.zpool, request.zvol)
        image = self._records.known(request.zvol)
        self._check_meant(image, request.zpool, request.machine)
        if image.volume_guid is None and self._pools.read_volume(image.volume) is None:
            raise StateError(f"ZVol {request.zvol} has no volume yet", code=Code.IMAGE_UNKNOWN)
        self._take(request.zvol, events.Grow(op_id, request.size_bytes))

    def _cancel(self, request: wire.CancelZvol, op_id: str) -> None:
        if self._engine.image_of(request.zvol) is None and self._arrivals.dismiss(request.zvol):
            self._store.answer(op_id, write_success("cancel_zvol", {"zvol": request.zvol}, op_id=op_id))
            return
        self._take(request.zvol, events.Cancel(op_id))

    def _accept(self, request: wire.AcceptZvol) -> Fields:
        self._find_address(request.source)
        self._arrivals.expect(request)
        return {"zvol": request.zvol}

    def _take(self, zvol: str, event: events.Event) -> None:
        rejection: Optional[Rejection] = self._engine.take(self._records.known(zvol).image_id, event)
        if rejection is not None:
            raise rejection.error()

    def _standing(self, zvol: str) -> Optional[Grant]:
        """The grant on the image's volume; None without the volume, or while its pool cannot be read."""
        image = self._records.known(zvol)
        try:
            volume = self._pools.read_volume(image.volume)
        except RocksError as error:
            _log.warning("the grant on %s cannot be read: %s", image.volume, error)
            return None
        is_other = volume is None or image.volume_guid not in (None, volume.guid)
        return None if is_other or volume is None else standing_grant(volume)

    def _adopted(self, zpool: str, zvol: str) -> Image:
        """As `ImageRecords.known`; a volume without a record gets one. StateError for an image in another pool."""
        if zpool:
            adopt(self._engine, self._pools, self._node, zpool, zvol)
        image = self._records.known(zvol)
        self._check_meant(image, zpool or image.pool, "")
        return image

    # --- answered now

    def _check(self, request: wire.CheckRequest) -> Fields:
        """Raise the error with which the request would be refused."""
        asked = read_request(read_message(request.message.encode()), "nas")
        checking = self._checking()
        checking._imports.running |= self._imports.running
        with suppress(FirstChangeError):
            if type(asked) in checking._begins:
                checking._begins[type(asked)](asked, CHECK)
            else:
                checking._answers[type(asked)](asked)
        return {}

    def _add(self, request: wire.AddZvol) -> Fields:
        made = self._imports.add(request)
        volume = self._pools.read_volume(f"{request.zpool}/{request.zvol}")
        if volume is not None:
            adopt_volume(self._engine, self._node, volume, is_new=True)
        return made


def _check_deadline(message: Message) -> None:
    """BusyError for a request whose client no longer waits: no image is mapped for a start that was aborted."""
    due = message.deadline_milliseconds
    if due is not None and now_seconds() * 1000 > due:
        raise BusyError(
            "the request arrived after its deadline and was not performed; repeat the command, and compare the "
            "clocks of the frontend and the NAS"
        )
