"""The header Idempotency-Key: a request that is sent again gets the answer of the first one, and changes nothing."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from starlette.responses import Response

from nucleus.api.problems import Problem, conflict, invalid, wants_operation
from nucleus.mirror import idempotency_keys
from rocks.core.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nucleus.api.service import Call
    from nucleus.mirror.pool import Session

MAX_STORED_ANSWER_BYTES = 64 << 10
"""The longest answer that is stored for a repetition; of a longer one the place of what it made is stored."""

_KEY = re.compile(r"[!-~]{1,128}")
_OF_IMAGES = ("md5", "content-digest", "x-nucleus-length")
_SECRET = {"cache-control": "no-store"}


def key_of(call: Call) -> str | None:
    """The key of the request; None without one. Problem for what is none."""
    key = call.request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise invalid("the header Idempotency-Key must be of 1 to 128 printable characters")
    return key


def claimed(session: Session, call: Call, key: str) -> Response | None:
    """Take the key for this transaction; the answer of the request that had it before.

    Problem while that one is at work, and for a key of another request.
    """
    request_hash = _request_hash(call)
    try:
        stored = idempotency_keys.claim(session, call.caller.actor, key, call.caller.token_id, request_hash)
    except BusyError:
        raise Problem(
            "request-in-progress",
            "a request with this Idempotency-Key is not finished; send this one again in a second",
            headers={"Retry-After": "1"},
        ) from None
    return None if stored is None else _answer_again(stored, request_hash)


def keep(session: Session, call: Call, key: str, response: Response) -> None:
    """Store the answer under the key that this transaction has claimed; of one with a secret only that it was there."""
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    body = bytes(response.body)
    if _has_secret(headers):
        headers, body = _SECRET, b""
    elif len(body) > MAX_STORED_ANSWER_BYTES:
        headers, body = {**_SECRET, "location": headers.get("location", "")}, b""
    answer = idempotency_keys.Stored(b"", response.status_code, headers, body)
    idempotency_keys.store(session, call.caller.actor, key, answer)


def answer_before(call: Call) -> Response | None:
    """What the request with the same key was answered; None when there was none.

    For requests whose body is not to be read in vain. Problem for a key of another request.
    """
    key = key_of(call)
    if key is None:
        return None
    with call.service.pool.transaction() as session:
        stored = idempotency_keys.find(session, call.caller.actor, key)
    return None if stored is None else _answer_again(stored, _request_hash(call))


def _request_hash(call: Call) -> bytes:
    """Equal for equal requests. Images are not kept in memory: their checksums stand for them.

    No password: who reads the database could try passwords against its hash.
    """
    request = call.request
    what = [request.method, request.url.path, request.url.query, wants_operation(request)]
    body = b""
    if not call.has_password:
        if request.url.path.rstrip("/").endswith("/v1/image"):
            what += [request.headers.get(name) for name in _OF_IMAGES]
        body = request.scope["state"].get("body") or b""
    return hashlib.sha256(repr(tuple(what)).encode() + body).digest()


def _answer_again(stored: idempotency_keys.Stored, request_hash: bytes) -> Response:
    if stored.request_hash != request_hash:
        raise Problem("key-reused", "this Idempotency-Key was used for another request; use a new key")
    if "location" in stored.headers and _has_secret(stored.headers):
        raise conflict(
            "the request with this Idempotency-Key was done, and its answer was too long to keep; read "
            f"{stored.headers['location'] or 'the state of what it changed'}"
        )
    if _has_secret(stored.headers):
        raise conflict(
            "the request with this Idempotency-Key was done, and its answer had a secret, which is not stored;"
            " send it again with a new key"
        )
    return Response(stored.body, stored.status, {**stored.headers, "Idempotency-Replayed": "true"})


def _has_secret(headers: Mapping[str, str]) -> bool:
    """Whether it is the answer with a token, a key or a ticket: nobody stores it, neither do we."""
    return headers.get("cache-control") == _SECRET["cache-control"]
