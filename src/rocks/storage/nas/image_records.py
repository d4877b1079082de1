"""What commands ask a NAS about its images and operations, and their attributes: each is answered at once."""

from __future__ import annotations

import logging
import uuid

from rocks.core.errors import Code, IncoherentError, RocksError, StateError
from rocks.fleet.wire.codec import encode
from rocks.storage.life import events
from rocks.storage.life.image import Image, Rejection
from rocks.storage.life.rejections import check_machine
from rocks.storage.life.schedule import DEFAULT_PULL_SECONDS
from rocks.storage.nas.arrivals import Arrivals
from rocks.storage.nas.attribute_rules import attribute_value, global_value
from rocks.storage.nas.engine import NasContext, now_seconds
from rocks.storage.nas.listing import arrival_row, first_page, image_row, snapshot_row
from rocks.storage.nas.lost_exports import Exports
from rocks.storage.nas.presence import HostPresence
from rocks.storage.nas.sequences import MACHINE
from rocks.storage.nas.volume_handlers import standing_grant
from rocks.storage.wire import requests as wire
from rocks.storage.wire.replies import Fields
from rocks.storage.zfs.facts import OUR_PREFIX

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
