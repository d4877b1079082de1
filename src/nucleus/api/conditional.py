"""ETags, pages and chosen fields: what a client has already, and what it wants to have."""

from __future__ import annotations

import base64
import bisect
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from starlette.responses import Response

from nucleus.api.problems import Problem, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

MAX_PER_PAGE = 1000
_TAG = re.compile(r'(?:W/)?("[^"]*")')


def etag_of(*parts: object) -> str:
    """A strong ETag of what determines the body: ids, generations, the question."""
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}"'


def is_unchanged(request: Request, etag: str) -> bool:
    """Whether the client has this state already (`If-None-Match`)."""
    return _names(request.headers.get("if-none-match"), etag)


def names_any(request: Request) -> bool:
    """Whether `If-None-Match: *` asks for what is not there: whatever is there counts as unchanged."""
    return request.headers.get("if-none-match", "").strip() == "*"


def require_match(request: Request, etag: str, what: str) -> None:
    """Problem when the client demands another state (`If-Match`)."""
    given = request.headers.get("if-match")
    if given is not None and not _names(given, etag):
        raise Problem(
            "precondition-failed",
            f"{what} has changed since you read it; read it again",
            headers={"ETag": etag},
        )


def _names(header: str | None, etag: str) -> bool:
    return header is not None and (header.strip() == "*" or etag in _TAG.findall(header))


def not_modified(etag: str, headers: Mapping[str, str]) -> Response:
    """304 with the headers that the 200 would have."""
    return Response(None, 304, {**headers, "ETag": etag})


def json_answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON body, written once."""
    return Response(dumps(content), status, dict(headers or {}), "application/json")


def dumps(content: object) -> str:
    """Compact JSON."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def conditional_json(request: Request, content: object, headers: Mapping[str, str] | None = None) -> Response:
    """200 with an ETag of the body, or 304: for answers that are small."""
    text = dumps(content)
    etag = etag_of(text)
    if is_unchanged(request, etag):
        return not_modified(etag, headers or {})
    return Response(text, 200, {**(headers or {}), "ETag": etag}, "application/json")


class Page(NamedTuple):
    """A part of a list: at most `limit` entries after the one with the key `after`; None = the whole list."""

    limit: int | None
    after: str | None


def page_of(limit: int | None, cursor: str | None) -> Page:
    """The page that was asked for. Problem for a cursor that this service did not make."""
    if cursor is None:
        return Page(limit, None)
    try:
        after = base64.b64decode(cursor.encode("ascii"), b"-_", validate=True).decode("utf-8")
    except ValueError:
        raise invalid(
            "the cursor is not one of this list; take it from the header Link, or leave it out",
            [("#/query/cursor", "it is no cursor")],
        ) from None
    return Page(limit or 100, after)


def paged(
    request: Request, page: Page, keys: Sequence[str], order: Callable[[str], Any]
) -> tuple[slice, dict[str, str]]:
    """Which entries of the list are on the page, by its keys, sorted by `order`; and the header that leads to the next.

    An entry that has gone meanwhile moves no other one: the page begins after its place.
    """
    if page.limit is None and page.after is None:
        return slice(None), {}
    begin = 0 if page.after is None else bisect.bisect_right(keys, order(page.after), key=order)
    end = begin + (page.limit or 100)
    headers = {}
    if end < len(keys):
        cursor = base64.urlsafe_b64encode(keys[end - 1].encode("utf-8")).decode("ascii")
        query = {name: value for name, value in request.query_params.items() if name != "cursor"}
        base = request.scope["state"]["base"]
        headers["Link"] = f'<{base}{request.url.path}?{urlencode({**query, "cursor": cursor})}>; rel="next"'
    return slice(begin, end), headers


def chosen(content: Any, fields: str | None) -> Any:
    """The content, or of each object only the fields that are named, separated by commas."""
    if not fields:
        return content
    names = {name.strip() for name in fields.split(",")}
    if isinstance(content, list):
        return [_chosen(one, names) for one in content]
    return _chosen(content, names)


def _chosen(content: dict[str, Any], names: set[str]) -> dict[str, Any]:
    unknown = names - content.keys()
    if unknown:
        name = sorted(unknown)[0]
        raise invalid(
            f"there is no field {name[:60]!r}; there are: {', '.join(content)}",
            [("#/query/fields", f"{name[:60]!r} is no field")],
        )
    return {name: value for name, value in content.items() if name in names}
