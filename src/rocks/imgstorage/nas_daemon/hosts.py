"""What a NAS says to its hosts, and what it makes of their answers."""

from __future__ import annotations

import logging
import secrets as random
import threading
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Tuple

from rocks.clock import monotonic_seconds
from rocks.devices.iscsi_target.chap import ChapSecrets
from rocks.errors import IncoherentError
from rocks.imgstorage.model.effects import AskHost, LookAtCopy, MapOverlay, MapRemote
from rocks.imgstorage.model.events import CopyFound, Event, HostDone, HostFailed
from rocks.imgstorage.model.facts import Facts
from rocks.imgstorage.model.image import Image, Work
from rocks.imgstorage.model.states import STATES, UNMAPPED
from rocks.imgstorage.store.file import OutboxMessage
from rocks.imgstorage.store.nas import NasStore, Secrets
from rocks.wire.codec import decode, encode
from rocks.wire.imgstorage_messages import HOST_ANSWER, HOST_NEWS, HOST_REQUEST, Message, write_message
from rocks.wire.queues import host_queue, nas_queue

_log = logging.getLogger(__name__)

_SECRET_BYTES = 24
_MOST_SPARE = 1000
"""Copies that a message names; more of them make no difference to one map."""


class HostCorrespondence:
    """Asks hosts through the store's outbox, and reads their answers."""

    def __init__(
        self,
        store: NasStore,
        node: str,
        address: str,
        portal_port: int,
        stream_port: int,
        images: Callable[[], Iterable[Image]],
    ) -> None:
        """`images` gives all images of the NAS."""
        self._images = images
        self._store = store
        self._node = node
        self._places = {"address": address, "portal_port": portal_port, "stream_port": stream_port}
        self._heard_at: Dict[Tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def ask(self, image: Image, work: Work, effect: AskHost) -> None:
        """Put the message into the outbox; the same work is the same question."""
        number = f"{image.image_id}.{work.work_id}"
        fields: Dict[str, Any] = {
            "request": encode(effect.request),
            "nas": self._node,
            "volume": image.volume,
            "lease_token": image.lease_token,
            **self._places,
        }
        if isinstance(effect.request, (LookAtCopy, MapOverlay)):
            fields["spare"] = self._spare_on(effect.host)
        if isinstance(effect.request, (MapOverlay, MapRemote)):
            fields["chap"] = encode(self.secrets_of(image))
        body = write_message(HOST_REQUEST, fields, op_id=number, image_id=image.image_id, epoch=image.epoch)
        self._store.post(
            OutboxMessage(
                f"{number}.{random.token_hex(4)}",
                host_queue(effect.host),
                "request",
                None,
                nas_queue(self._node),
                body,
            )
        )
        self.heard(image.image_id, work.work_id)

    def _spare_on(self, host: str) -> Dict[str, str]:
        """Volume → guid of images that are at home, and of which the host has kept a copy that is the same."""
        found: Dict[str, str] = {}
        for image in self._images():
            copy = image.copy_on(host)
            is_home = image.state == UNMAPPED and copy is not None and copy.kind == "clean"
            if is_home and copy is not None and copy.guid is not None and len(found) < _MOST_SPARE:
                found[image.zvol] = copy.guid
        return found

    def secrets_of(self, image: Image) -> ChapSecrets:
        """Those of the image's present export; made when there are none yet."""
        found = self._store.secrets(image.image_id, image.epoch)
        if found is None:
            password, mutual = (random.token_hex(_SECRET_BYTES) for _ in range(2))
            found = Secrets(
                f"{image.zvol}.{image.epoch}"[-128:], password, f"nas.{self._node}"[-128:], mutual
            )
            self._store.store_secrets(image.image_id, image.epoch, found)
        return ChapSecrets(*found)

    # --- silence

    def heard(self, image_id: str, work_id: str) -> None:
        """The host has said something of this work, or has just been asked."""
        with self._lock:
            self._heard_at[(image_id, work_id)] = monotonic_seconds()

    def silent_seconds(self, image: Image) -> Optional[float]:
        """How much longer than allowed the host has been silent about the open step; None when it has not."""
        work, limit = image.work, STATES[image.state].answer_seconds
        if work is None or work.asked is None or limit is None:
            return None
        with self._lock:
            for known in [
                key for key in self._heard_at if key[0] == image.image_id and key[1] != work.work_id
            ]:
                del self._heard_at[known]
            since = self._heard_at.setdefault((image.image_id, work.work_id), monotonic_seconds())
        silent = monotonic_seconds() - since
        return silent if silent > limit else None


def event_of(message: Message, sender: str) -> Tuple[str, Event]:
    """The image and the event that a host's message stands for. IncoherentError when it is none."""
    if message.action == HOST_ANSWER:
        image_id, _, work_id = message.op_id.rpartition(".")
        if message.fields.get("status") == "success":
            facts = decode(Facts, message.fields.get("facts"), "message.facts")
            return image_id, HostDone(work_id, sender, message.epoch, facts)
        family, words = (str(message.fields.get(name, "")) for name in ("family", "error"))
        return image_id, HostFailed(work_id, sender, message.epoch, family or "tool", words)
    if message.action == HOST_NEWS:
        return message.image_id, decode(CopyFound, _news(message.fields, sender), "message.copy")
    raise IncoherentError(f"{sender} sent the unknown action {message.action!r}")


def _news(fields: Mapping[str, Any], sender: str) -> Dict[str, Any]:
    copy = fields.get("copy")
    if not isinstance(copy, dict):
        raise IncoherentError("field message.copy: expected an object")
    # who says it is who the broker let in, whatever stands in the message
    return {**copy, "host": sender}
