"""What the messages of requests say: the request itself, its image and its numbers."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Tuple

from rocks.core.errors import IncoherentError
from rocks.fleet.wire.codec import decode_lenient
from rocks.storage.life.requests import HostRequest
from rocks.storage.store.host import RequestRecord
from rocks.storage.wire.messages import Message


def image_of(message: Message) -> str:
    """The image that a request is about. IncoherentError when the message is no request."""
    return str(request_of(message).zvol)


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
