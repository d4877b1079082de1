"""The text of each cluster as JSON, kept until the cluster changes; the poller writes it before it is asked for."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nucleus import records, states
from nucleus.api import models, representations
from nucleus.api.representations import cluster_json, text_of
from nucleus.mirror import clusters, columns
from nucleus.mirror.columns import to_json
from nucleus.records import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nucleus.api.representations import Freshness
    from nucleus.mirror.pool import Guard, Session
    from nucleus.records import Cluster, Scope

_OBSERVED, _STALE = "\x01observed\x01", "\x01stale\x01"
_UNFILLED = {"observed_at": _OBSERVED, "stale": _STALE}
_MARK = f'{json.dumps(_OBSERVED)},"stale":{json.dumps(_STALE)}'.encode("ascii")
_MAX_BYTES = 64 << 20
_AT_ONCE = 20
_MODULES = (models, representations, states, records, columns, clusters)
_SOURCES = [__file__, *(str(one.__file__) for one in _MODULES)]
_WRITTEN_BY = hashlib.sha256(b"".join(Path(one).read_bytes() for one in _SOURCES)).hexdigest()[:16]
"""Which sources a stored text is of: those of another version give other fields."""


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
            part = missing[begin : begin + _AT_ONCE]
            read = clusters.read_texts(session, part, _WRITTEN_BY)
            read |= _written(session, scope, [one for one in part if one.id not in read])
            for one in part:
                found[one.id] = text = _Text(one.generation, read[one.id].split(_MARK), len(read[one.id]))
                self._keep(one.id, text)
        return [_stamp(freshness).join(found[cluster.id].parts) for cluster, freshness in asked]

    def ready(self, asked: Iterable[Cluster]) -> dict[int, _Text]:
        """Number of the cluster → its text, of those that have one of their generation."""
        with self._lock:
            return {
                cluster.id: text
                for cluster in asked
                if (text := self._texts.get(cluster.id)) is not None and text.generation == cluster.generation
            }

    def _keep(self, number: int, text: _Text) -> None:
        with self._lock:
            old = self._texts.pop(number, None)
            self._size += text.size - (old.size if old else 0)
            self._texts[number] = text
            while self._size > _MAX_BYTES:
                self._size -= self._texts.popitem(last=False)[1].size


def store_texts(guard: Guard) -> None:
    """Write the texts of what has changed, for the poller: those of a large site take a second."""
    with guard.transaction() as session:
        missing = clusters.list_without_text(session, _WRITTEN_BY)
    for begin in range(0, len(missing), _AT_ONCE):
        part = missing[begin : begin + _AT_ONCE]
        with guard.transaction() as session:
            clusters.store_texts(session, part, _WRITTEN_BY, _written(session, SYSTEM, part))


def _written(session: Session, scope: Scope, missing: Sequence[Cluster]) -> dict[int, bytes]:
    """Number of the cluster → its text, with the mark."""
    if not missing:
        return {}
    numbers = [cluster.id for cluster in missing]
    nodes = clusters.nodes_of(session, scope, numbers)
    interfaces = clusters.interfaces_of(session, scope, numbers)
    allocations = clusters.allocations_of(session, scope, numbers)
    return {
        one.id: to_json(cluster_json(one, nodes[one.id], interfaces, allocations[one.id], _UNFILLED)).encode()
        for one in missing
    }


def _stamp(freshness: Freshness) -> bytes:
    """What stands in the place of the mark."""
    return f'{json.dumps(text_of(freshness.observed_at))},"stale":{json.dumps(freshness.is_stale)}'.encode(
        "ascii"
    )
