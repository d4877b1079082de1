"""Parts of a list, page after page, and the fields that a client chooses."""

from __future__ import annotations

import base64
import bisect
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from nucleus.api.problems import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request


class Page(NamedTuple):
    """A part of a list: at most `limit` entries after the one with the key `after`; None = the whole list."""

    limit: int | None
    after: str | None


def page_of(limit: int | None, cursor: str | None) -> Page:
    """The page that was asked for. Problem for a cursor that this service did not make."""
    if cursor is None:
        return Page(limit, None)
    try:
        after = base64.b64decode(cursor.encode("ascii"), b"-_", validate=True).decode("ascii")
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
        cursor = base64.urlsafe_b64encode(keys[end - 1].encode("ascii")).decode("ascii")
        query = {name: value for name, value in request.query_params.items() if name != "cursor"}
        base = request.scope["state"]["base"]
        headers["Link"] = f'<{base}{request.url.path}?{urlencode({**query, "cursor": cursor})}>; rel="next"'
    return slice(begin, end), headers


def number_of(key: str) -> int:
    """The number that a key of a list is; 0 for one that is none."""
    return int(key) if key.isascii() and key.isdigit() and len(key) < 12 else 0


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
