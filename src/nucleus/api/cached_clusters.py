"""The text of each cluster as JSON, kept until the cluster changes, and made before it is asked for."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.api.conditional import dumps
from nucleus.api.representations import Freshness, cluster_json, text_of
from nucleus.mirror import clusters
from nucleus.mirror.events import NEWS
from nucleus.records import SYSTEM
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nucleus.mirror.pool import Pool, Session
    from nucleus.records import Cluster, Scope

_OBSERVED, _STALE = "\x01observed\x01", "\x01stale\x01"
_MARK = f'{json.dumps(_OBSERVED)},"stale":{json.dumps(_STALE)}'.encode("ascii")
_MAX_BYTES = 64 << 20
_AT_ONCE = 20
_PREPARE_SECONDS = 0.5
_PAUSE_SECONDS = 0.002
_LOOK_SECONDS = 15.0
"""After so long it looks without news: another process may be the poller."""


class _Text(NamedTuple):
    """A cluster as JSON in UTF-8, in parts: between them goes how fresh it is. `size` in bytes."""

    generation: int
    parts: list[bytes]
    size: int


class CachedClusters:
    """The text of each cluster as JSON, by its generation: only what has changed is read and written anew.

    How fresh it is, is put in when the text is used: the moment of the last poll changes with every poll.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: OrderedDict[int, _Text] = OrderedDict()
        self._size = 0

    def texts(
        self, session: Session, scope: Scope, asked: Sequence[tuple[Cluster, Freshness]]
    ) -> list[bytes]:
        """The text of each cluster, in their order."""
        found = self.ready(cluster for cluster, _ in asked)
        missing = [cluster for cluster, _ in asked if cluster.id not in found]
        for begin in range(0, len(missing), _AT_ONCE):  # all nodes of a large site would take 100 MB
            found |= self._render(session, scope, missing[begin : begin + _AT_ONCE])
        return [_stamp(freshness).join(found[cluster.id].parts) for cluster, freshness in asked]

    def prepare(self, pool: Pool, stop: threading.Event) -> None:
        """Have the texts ready before they are asked for, until `stop` is set: those of a large site take a second."""
        seen, due = -1, 0.0
        while not stop.is_set():
            if NEWS.number != seen or time.monotonic() >= due:
                seen, due = NEWS.number, time.monotonic() + _LOOK_SECONDS
                with contextlib.suppress(RocksError):  # the database is away: requests say so
                    self._prepare_all(pool, stop)
            stop.wait(_PREPARE_SECONDS)

    def _prepare_all(self, pool: Pool, stop: threading.Event) -> None:
        with pool.reading() as session:
            all_clusters = clusters.list_clusters(session, SYSTEM)
        found = self.ready(all_clusters)
        for cluster in all_clusters:
            if self._size > _MAX_BYTES // 2:  # more than are kept: those that are asked for shall stay
                return
            if cluster.id not in found:
                with pool.reading() as session:
                    self._render(session, SYSTEM, [cluster])
                if stop.wait(_PAUSE_SECONDS):  # requests come first
                    return

    def ready(self, asked: Iterable[Cluster]) -> dict[int, _Text]:
        """Number of the cluster → its text, of those that have one of their generation."""
        with self._lock:
            return {
                cluster.id: text
                for cluster in asked
                if (text := self._texts.get(cluster.id)) is not None and text.generation == cluster.generation
            }

    def _render(self, session: Session, scope: Scope, missing: Sequence[Cluster]) -> dict[int, _Text]:
        numbers = [cluster.id for cluster in missing]
        nodes = clusters.nodes_of(session, scope, numbers)
        interfaces = clusters.interfaces_of(session, scope, numbers)
        allocations = clusters.allocations_of(session, scope, numbers)
        texts = {}
        for cluster in missing:
            content = cluster_json(cluster, nodes[cluster.id], interfaces, allocations[cluster.id], _UNFILLED)
            written = dumps(content).encode("utf-8")
            texts[cluster.id] = text = _Text(cluster.generation, written.split(_MARK), len(written))
            self._keep(cluster.id, text)
        return texts

    def _keep(self, number: int, text: _Text) -> None:
        with self._lock:
            old = self._texts.pop(number, None)
            self._size += text.size - (old.size if old else 0)
            self._texts[number] = text
            while self._size > _MAX_BYTES:
                self._size -= self._texts.popitem(last=False)[1].size


class _Unfilled(Freshness):
    """Has the mark in the place of the moment, and of what follows it."""

    @property
    def fields(self) -> dict[str, Any]:
        return {"observed_at": _OBSERVED, "stale": _STALE}


_UNFILLED = _Unfilled(None, False, 0)


def _stamp(freshness: Freshness) -> bytes:
    """What stands in the place of the mark."""
    return f'{json.dumps(text_of(freshness.observed_at))},"stale":{json.dumps(freshness.is_stale)}'.encode(
        "ascii"
    )
