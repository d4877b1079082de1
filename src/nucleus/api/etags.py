"""ETags: what a client has already."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from starlette.responses import Response

from nucleus.api.problems import Problem
from nucleus.mirror.columns import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def etag_of(*parts: object, state: object = None) -> str:
    """A strong ETag of what determines the body: ids, generations, the request.

    `state`: that of the object which the body shows in one of several forms. `require_match` compares it alone.
    """
    given = [one for one in (state, parts) if one]
    return f'"{".".join(hashlib.sha256(repr(one).encode()).hexdigest()[:24] for one in given)}"'


def is_unchanged(request: Request, etag: str) -> bool:
    """Whether the client has this state already (`If-None-Match`)."""
    return names_any(request) or etag in _TAG.findall(request.headers.get("if-none-match", ""))


def names_any(request: Request) -> bool:
    """Whether `If-None-Match: *` asks for what is not there: whatever is there counts as unchanged."""
    return request.headers.get("if-none-match", "").strip() == "*"


def require_match(request: Request, etag: str, what: str) -> None:
    """Problem when the client demands another state (`If-Match`)."""
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return
    if _state_in(etag) not in map(_state_in, _TAG.findall(given)):
        raise Problem(
            "precondition-failed",
            f"{what} has changed since you read it; read it again",
            headers={"ETag": etag},
        )


def _state_in(etag: str) -> str:
    return etag.strip('"').partition(".")[0]


def not_modified(etag: str, headers: Mapping[str, str]) -> Response:
    """304 with the headers that the 200 would have."""
    return Response(None, 304, {**headers, "ETag": etag})


def json_answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON body, written once."""
    return Response(to_json(content), status, dict(headers or {}), "application/json")


def conditional_json(request: Request, content: object, headers: Mapping[str, str] | None = None) -> Response:
    """200 with an ETag of the body, or 304: for answers that are small."""
    text = to_json(content)
    etag = etag_of(text)
    if is_unchanged(request, etag):
        return not_modified(etag, headers or {})
    return Response(text, 200, {**(headers or {}), "ETag": etag}, "application/json")
