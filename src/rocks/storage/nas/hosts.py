"""The hosts of a NAS: its requests to them, their answers as events, and whether they send something."""

from __future__ import annotations

import logging
import secrets as random
import threading
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Set, Tuple

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import BusyError, IncoherentError, RocksError
from rocks.fleet.wire.codec import decode_lenient, encode
from rocks.storage.image.effects import AskHost, LookAtCopy, MapOverlay, MapRemote, SeedCopy
from rocks.storage.image.events import CopyFound, Event, HostDone, HostFailed
from rocks.storage.image.grants import check_speaker
from rocks.storage.image.image import Facts, Image, Work
from rocks.storage.image.names import target_name
from rocks.storage.image.states import STATES, UNMAPPED
from rocks.storage.iscsi.names import ChapSecrets, check_chap
from rocks.storage.limits import LOST_SECONDS
from rocks.storage.store.file import OutboxMessage
from rocks.storage.store.nas import NasStore
from rocks.storage.wire.messages import HOST_ANSWER, HOST_NEWS, HOST_REQUEST, Message, write_message
from rocks.storage.wire.names import host_queue, nas_queue

_SECRET_BYTES = 24
_MAX_EVICTABLE = 1000
"""The most copies that a message names; more make no difference to one map."""

_log = logging.getLogger(__name__)


class HostCorrespondence:
    """Sends requests to hosts through the store's outbox, and tracks their silence."""

    def __init__(
        self,
        store: NasStore,
        node: str,
        address: str,
        portal_port: int,
        stream_port: int,
        images: Callable[[], Iterable[Image]],
        read_secrets: Callable[[str], Optional[ChapSecrets]] = lambda target: None,
    ) -> None:
        """`images` gives all images of the NAS, `read_secrets` the secrets of a live export."""
        self._read_secrets = read_secrets
        self._images = images
        self._store = store
        self._node = node
        self._places = {"address": address, "portal_port": portal_port, "stream_port": stream_port}
        self._active_at: Dict[Tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def ask(self, image: Image, work: Work, effect: AskHost) -> None:
        """Put the message into the outbox; the same work is the same question."""
        number = f"{image.image_id}.{work.work_id}"
        fields: Dict[str, Any] = {
            "request": encode(effect.request),
            "nas": self._node,
            "volume": image.volume,
            "lease_token": image.lease_token,
            "heartbeat": True,  # a host of 0.1 reports that it is there only to NASes that send it
            **self._places,
        }
        if isinstance(effect.request, (LookAtCopy, MapOverlay, SeedCopy)):
            fields["evictable"] = self._evictable_on(effect.host)
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
        self.note_activity(image.image_id, work.work_id)

    def _evictable_on(self, host: str) -> Dict[str, str]:
        """Volume → guid of unmapped images of which the host has an equal copy."""
        found: Dict[str, str] = {}
        for image in self._images():
            copy = image.copy_on(host)
            is_unmapped = image.state == UNMAPPED and copy is not None and copy.kind == "clean"
            if is_unmapped and copy is not None and copy.guid is not None and len(found) < _MAX_EVICTABLE:
                found[image.zvol] = copy.guid
        return found

    def secrets_of(self, image: Image) -> ChapSecrets:
        """The secrets of the image's present export; made when there are none.

        Those of a live export whose record was lost stay: the host logs in by them again when its connection breaks.
        """
        found = self._store.secrets(image.image_id, image.epoch)
        if found is not None:
            return found
        found = None if image.target is None else self._read_secrets(image.target)
        if found is None:
            password, mutual = (random.token_hex(_SECRET_BYTES) for _ in range(2))
            found = ChapSecrets(
                f"{image.zvol}.{image.epoch}"[-128:], password, f"nas.{self._node}"[-128:], mutual
            )
        self._store.store_secrets(image.image_id, image.epoch, found)
        return found

    def note_secrets(self, image: Optional[Image], message: Message, sender: str) -> None:
        """Record the secrets of a host's session, which this NAS and LIO have lost, as after a reinstallation.

        iscsid takes others only when it starts: until then the guest would wait. The answer counts without them, too.
        """
        chap = message.fields.get("chap")
        if chap is None or image is None or check_speaker(image, sender, message.epoch) is not None:
            return
        try:
            live = self._read_secrets(target_name(image.nas, image.zvol, image.epoch))
            if live is None and self._store.secrets(image.image_id, image.epoch) is None:
                found = decode_lenient(ChapSecrets, chap, "message.chap")
                check_chap(found)
                self._store.store_secrets(image.image_id, image.epoch, found)
        except BusyError:  # the message comes again
            raise
        except RocksError as error:
            _log.warning(
                "the passwords of the session of %s on %s are not recorded: %s", image.zvol, sender, error
            )

    # --- activity and silence

    def note_activity(self, image_id: str, work_id: str) -> None:
        """The host has sent data or an answer of this work, or has just been sent the request."""
        with self._lock:
            self._active_at[(image_id, work_id)] = monotonic_seconds()

    def silent_seconds(self, image: Image) -> Optional[float]:
        """Seconds of silence about the open step, when they exceed the limit; else None."""
        work, limit = image.work, STATES[image.state].answer_seconds
        if work is None or work.asked is None or limit is None:
            return None
        with self._lock:
            for known in [
                key for key in self._active_at if key[0] == image.image_id and key[1] != work.work_id
            ]:
                del self._active_at[known]
            since = self._active_at.setdefault((image.image_id, work.work_id), monotonic_seconds())
        silent = monotonic_seconds() - since
        return silent if silent > limit else None


def event_of(message: Message, sender: str) -> Tuple[str, Event]:
    """The image and the event of a host's message. IncoherentError for another message."""
    if message.action == HOST_ANSWER:
        image_id, _, work_id = message.op_id.rpartition(".")
        if message.fields.get("status") == "success":
            facts = decode_lenient(Facts, message.fields.get("facts"), "message.facts")
            return image_id, HostDone(work_id, sender, message.epoch, facts)
        family, text, code = (str(message.fields.get(name, "")) for name in ("family", "error", "code"))
        return image_id, HostFailed(work_id, sender, message.epoch, family or "tool", text, code)
    if message.action == HOST_NEWS:
        return message.image_id, decode_lenient(CopyFound, _news(message.fields, sender), "message.copy")
    raise IncoherentError(f"{sender} sent the unknown action {message.action!r}")


def _news(fields: Mapping[str, Any], sender: str) -> Dict[str, Any]:
    copy = fields.get("copy")
    if not isinstance(copy, dict):
        raise IncoherentError("field message.copy: expected an object")
    # the sender is the node that the broker has authenticated, whatever the message contains
    return {**copy, "host": sender}


# --- which hosts send something; a silent one is reported, and nothing else: only fencing makes it safe -------------
# Silence changes the state of no image: a broken switch would else stop the write-back of every guest that runs
# on. Heartbeats use the queues of answers, since a daemon that hangs is still a consumer of its queue.


class HostPresence:
    """When each host last sent something. Time before the start of the daemon does not count."""

    def __init__(self, store: NasStore, now: Callable[[], float] = monotonic_seconds) -> None:
        self._store = store
        self._now = now
        self._began = now()
        self._active_at: Dict[str, float] = {}
        self._expected = set(store.beating_hosts())
        self._lost: Set[str] = set()
        self._lock = threading.Lock()

    def note(self, host: str, *, is_heartbeat: bool = False) -> None:
        """A message of the host has come. After its first heartbeat, others are expected, also after a restart."""
        with self._lock:
            self._active_at[host] = self._now()
            is_new = is_heartbeat and host not in self._expected
            if is_new:
                self._expected.add(host)
        if is_new:
            self._store.add_beating_host(host)

    def silent_seconds(self, host: Optional[str]) -> Optional[float]:
        """How long a host is silent that should not be; None for all others."""
        if host is None:
            return None
        with self._lock:
            silent = self._now() - self._active_at.get(host, self._began)
            return silent if host in self._expected and silent >= LOST_SECONDS else None

    def look(self, images: Iterable[Image]) -> None:
        """Log hosts with images that have become silent, and those that are back."""
        for host in sorted({image.owner for image in images if image.owner is not None} | self._lost):
            silent = self.silent_seconds(host)
            if silent is not None and host not in self._lost:
                self._lost.add(host)
                _log.error(
                    "%s has images of this NAS and has been silent for %.0f s; if it is lost, power it off, then give "
                    "its changes up by `rocks clean host storagemap`",
                    host,
                    silent,
                )
            elif silent is None and host in self._lost:
                self._lost.discard(host)
                _log.info("%s is back", host)
