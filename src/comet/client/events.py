"""Server-sent events: a reader that opens its connection anew and misses none that are kept."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Optional

from comet.client.connection import Connection
from comet.client.errors import UnreachableError

SILENCE = 45.0
"""Seconds without a byte after which the connection is dead: the server sends a heartbeat every 15."""

_LONGEST_LINE = 64 * 1024
_MAX_LINES = 64


class Event(NamedTuple):
    """Its id, its type (`set.state`, …), and its data: at, project, cluster, target, old, new, operation."""

    id: str
    type: str
    data: dict[str, Any]


def events(
    connection: Connection,
    cluster: Optional[str],
    types: Sequence[str],
    after: str,
    follow: bool,
    tries: int = 10,
) -> Iterator[Event]:
    """The events after one's id, then (with `follow`) what happens, without an end; without it until two quiet seconds.

    UnreachableError when `tries` connections in a row gave nothing.
    """
    pairs = [("cluster", cluster)] if cluster else []
    pairs += [("types", it) for it in types]
    path = connection.path("events", query=pairs)
    failures = 0
    while True:
        accept = "text/event-stream, application/problem+json"
        headers = {"Accept": accept, **({"Last-Event-ID": after} if after else {})}
        try:
            response = connection.stream(path, headers, SILENCE if follow else 2.0)
            for event in parsed(_lines(response)):
                failures, after = 0, event.id or after
                yield event
        except UnreachableError:
            if not follow or failures >= tries:
                raise
        except (OSError, http.client.HTTPException, ValueError):
            pass  # broken or silent: from the last event on
        finally:
            connection.close()
        if not follow:
            return
        failures += 1
        time.sleep(min(10.0, 0.5 * failures))


def parsed(lines: Iterable[str]) -> Iterator[Event]:
    """Events of a stream's lines; comments and events without data are left out, so are data that are no object."""
    identifier, kind = "", "message"
    data: list[str] = []
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if name == "data" and len(data) < _MAX_LINES:
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id" and value.isprintable() and len(value) <= 64:
                identifier = value
            continue
        try:
            found = json.loads("\n".join(data)) if data else None
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            yield Event(identifier, kind, found)
        kind, data = "message", []


def _lines(response: http.client.HTTPResponse) -> Iterator[str]:
    while True:
        line = response.readline(_LONGEST_LINE)
        if not line:
            return
        if len(line) >= _LONGEST_LINE:
            raise ValueError("a line without an end")
        yield line.decode("utf-8", "replace").rstrip("\r\n")
