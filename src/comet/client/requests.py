"""How a Nucleus is asked: reads with a cache, changes with a key, operations by long polls."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Optional, TypeVar, Union

from comet.client import configuration, records
from comet.client.cache import Cache
from comet.client.configuration import Endpoint
from comet.client.connection import Answer, Connection, decoded
from comet.client.errors import CometError, UnreachableError, UsageError
from comet.client.records import Operation

_OPERATION = re.compile(r"[0-9A-Za-z]{1,64}")
_RESTART_SECONDS = 60
_RESTART_PAUSE_SECONDS = 1.0
_SILENCE_SECONDS = 2.0
"""The next answer of the same list is asked for within it: a silent server is waited for once."""

Self = TypeVar("Self", bound="Requests")


class Requests:
    """One endpoint and its cache; Client gives it an owner's words."""

    def __init__(
        self,
        endpoint: Union[str, Endpoint, None] = None,
        token: Optional[str] = None,
        config: Union[str, Path, None] = None,
        timeout: float = 30,
        cache: Optional[Cache] = None,
        cached_only: bool = False,
    ) -> None:
        if not isinstance(endpoint, Endpoint):
            loaded = configuration.load(Path(config) if config else None)
            endpoint = loaded.endpoint(endpoint or "", {"COMET_TOKEN": token} if token else os.environ)
        self.endpoint, self.cache, self.cached_only = endpoint, cache, cached_only
        self.connection = Connection(endpoint, timeout)
        self.cached_at: Optional[float] = None
        self.goes_on = False
        """Whether something was asked for, or waited for, that goes on without this program."""
        self._silent_at = -math.inf

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()
        if self.cache is not None:
            self.cache.close()

    def document(self, *segments: object, query: Iterable[tuple[str, str]] = (), fresh: bool = False) -> Any:
        """The JSON document of a GET, from the server or (not with `fresh`) from the cache, whose `stale` are true."""
        path = self.connection.path(*segments, query=query)
        cache = None if fresh else self.cache
        known = cache.get(path) if cache else None
        is_silent = known is not None and time.monotonic() < self._silent_at + _SILENCE_SECONDS
        try:
            if self.cached_only or is_silent:
                raise UnreachableError(
                    f"{path} was not asked before, so the cache does not have it: leave out --cached"
                )
            condition = {"If-None-Match": known.etag} if known and known.etag else None
            answer = self.connection.request("GET", path, headers=condition)
            if answer.status == 304 and known and cache:
                cache.confirm(path)
                return decoded(known.body)
            found = decoded(answer.body)
        except UnreachableError:
            if known is None:
                raise
            self.cached_at = min(known.asked_at, self.cached_at or known.asked_at)
            if not is_silent:
                self._silent_at = time.monotonic()
            return decoded(known.body, _called_stale)
        if cache:
            cache.put(path, answer.body, answer.headers.get("ETag", ""))
        return found

    def follow(self, identifier: str, seconds: float) -> Operation:
        """An operation when it is done, or after so many seconds (the server holds its answer back as long)."""
        self.goes_on = True
        whole = max(0, min(30, int(seconds)))
        query = [("wait", str(whole))] if whole else []
        path = self.connection.path("operation", checked_operation(identifier), query=query)
        return records.read_operation(decoded(self.connection.request("GET", path, patience=whole).body))

    def demand_server(self) -> None:
        """Before a change: UsageError if nothing is asked of the server, UnreachableError after an old answer."""
        if self.cached_only:
            raise UsageError("--cached never asks the server, so it changes nothing: leave it out")
        if self.cached_at is not None:  # the image of a number is another one by now
            raise UnreachableError(
                f"{self.endpoint.url} did not answer what this change depends on, so nothing was changed: "
                "repeat the command"
            )

    def change(
        self,
        method: str,
        segments: Sequence[object],
        body: Optional[dict[str, Any]] = None,
        query: Iterable[tuple[str, str]] = (),
        key: Optional[str] = None,
    ) -> Answer:
        """A changing request, with a key by which the server knows a repetition: by the caller, with a given `key`.

        A server whose connection broke before its answer is asked again, for as long as it takes to start: it may have
        done it.
        """
        self.demand_server()
        self.goes_on = True
        path = self.connection.path(*segments, query=query)
        headers = {"Prefer": "respond-async", "Idempotency-Key": key or os.urandom(16).hex()}
        until = time.monotonic() + _RESTART_SECONDS
        has_broken = False
        while True:
            try:
                return self.connection.request(method, path, body, headers)
            except UnreachableError as error:
                has_broken = has_broken or self.connection.has_broken(error)
                if not has_broken or time.monotonic() + _RESTART_PAUSE_SECONDS > until:
                    if not key and (has_broken or self.connection.is_unknown(error)):
                        error.args = (
                            f"{error}. It may be done all the same: look before you repeat it (comet operation list)",
                        )
                    raise
                time.sleep(_RESTART_PAUSE_SECONDS)
            except CometError as error:
                error.may_be_done = error.may_be_done or has_broken
                raise


def _called_stale(document: dict[str, Any]) -> dict[str, Any]:
    """The server has not confirmed this answer, whatever it knew of the site then."""
    return {**document, "stale": True} if "stale" in document else document


def checked_operation(identifier: str) -> str:
    if not _OPERATION.fullmatch(identifier):
        raise UsageError(f"'{identifier}' is not an operation's id: list them with comet operation list")
    return identifier
