"""Runs the five commands at their intervals and writes what has changed, while it holds the lease."""

from __future__ import annotations

import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from nucleus.backends import rocks as commands
from nucleus.mirror import observations
from nucleus.mirror.events import NEWS, WORK, append_events, forget_old_events
from nucleus.mirror.media import references
from nucleus.mirror.observations import Changes
from nucleus.poller.difference import Known, Listed, compare
from nucleus.records import NewEvent
from rocks.errors import RocksError, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nucleus.backends.rocks import Rocks, Rows, Source
    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Guard, Session

_LOG = logging.getLogger(__name__)
_JITTER = 0.1
_OVERLAP = timedelta(seconds=60)
_STALE_INTERVALS = 3
_RELOAD_SECONDS = 600.0
"""How long the poller relies on its copy of the mirror, which nobody else writes but workers, after commands."""

_KINDS = {
    observations.TOPOLOGY: (commands.CLUSTER, commands.INTERFACE, commands.ROUTE),
    observations.POWER: (commands.VM,),
    observations.IMAGE: (commands.STORAGEMAP,),
}


class Read(NamedTuple):
    """How a command ended: its rows or its error, how long it took, and when it began by the database's clock."""

    rows: Rows | None
    error: str | None
    seconds: float
    began: datetime


class Poller:
    """The poller of a process. `poll` once, or `run` until it is stopped; it changes nothing without the lease."""

    def __init__(self, configuration: Configuration, rocks: Rocks, guard: Guard) -> None:
        self._settings = configuration.poll
        self._site = configuration.site
        self._rocks = rocks
        self._guard = guard
        self._known: Known | None = None
        self._known_at: datetime | None = None
        self._loaded = 0.0
        self._counts: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._succeeded: dict[str, float] = {}
        self._stale: set[str] = set()
        self._threads = ThreadPoolExecutor(len(commands.SOURCES), thread_name_prefix="poll")

    def run(self, stop: threading.Event) -> None:
        """Poll at the intervals of the settings until `stop` is set; errors are logged and tried again."""
        while not stop.is_set():
            try:
                if self._guard.take():
                    self.poll([source for source in commands.SOURCES if self._is_due(source)])
                else:
                    self._known = None
            except RocksError as error:
                self._known = None
                _LOG.warning("poll: %s", error)
            except Exception:
                self._known = None
                _LOG.exception("poll: an error of this program; the next poll reads everything anew")
            stop.wait(self._pause_seconds())
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._guard.release()

    def poll(self, sources: Iterable[Source] = commands.SOURCES) -> Changes | None:
        """Run these commands, write what has changed, and return that; None when none of them was due.

        The lease must be held. HostError when the database cannot be reached: then nothing was written.
        """
        due = list(sources)
        if not due:
            return None
        with self._guard.transaction() as session:
            known = self._load(session, any(source.is_topology for source in due))
            began = observations.database_now(session)
        reads = dict(zip(due, self._threads.map(lambda one: self._read(one, began), due), strict=True))
        with self._guard.transaction() as session:
            known = self._with_commands(session, known)
            listed = _listed(reads, observations.database_now(session))
            changes = compare(known, _with_references(listed, references(session)))
            observations.apply_changes(session, changes, self._site)
            self._record(session, reads)
        self._note(reads, known, changes)
        return changes

    def _load(self, session: Session, anew: bool) -> Known:
        """What the mirror has. With the topology, what owners and administrators may have changed is read anew."""
        now = observations.database_now(session)
        if self._known is not None and time.monotonic() - self._loaded < _RELOAD_SECONDS:
            if anew:
                names = observations.load_names(session)
                nodes = {
                    name: node if names.get(name, node.name) == node.name else node._replace(name=names[name])
                    for name, node in self._known.nodes.items()
                }
                self._known = Known(observations.load_clusters(session), nodes)
            return self._known
        self._loaded = time.monotonic()
        self._known = Known(observations.load_clusters(session), observations.load_nodes(session))
        self._known_at = now
        return self._known

    def _with_commands(self, session: Session, known: Known) -> Known:
        """What is known, with the nodes that others have written since it was read."""
        now = observations.database_now(session)
        assert self._known_at is not None
        since = min(now, self._known_at) - _OVERLAP
        newer = observations.load_nodes(session, since)
        return Known(known.clusters, {**known.nodes, **newer}) if newer else known

    def _read(self, source: Source, began: datetime) -> Read:
        before = time.monotonic()
        try:
            rows = self._rocks.read(source)
            if not rows.content and self._counts.get(source.name):
                raise ToolError(
                    f"`rocks {' '.join(source.arguments)}` printed nothing, and much the time before"
                )
            if not rows.is_complete and source is not commands.STORAGEMAP and source is not commands.VM:
                raise ToolError(f"`rocks {' '.join(source.arguments)}` was answered in part")
            return Read(rows, None, time.monotonic() - before, began)
        except RocksError as error:
            return Read(None, str(error), time.monotonic() - before, began)

    def _record(self, session: Session, reads: Mapping[Source, Read]) -> None:
        for source, read in reads.items():
            count = len(read.rows.content) if read.rows else 0
            observations.record_source(session, source.name, read.seconds, read.began, count, read.error)
        began = next(iter(reads.values())).began
        fresh = [
            kind
            for kind, sources in _KINDS.items()
            if any(source in reads for source in sources)
            and all(read.rows is not None for source, read in reads.items() if source in sources)
        ]
        observations.record_observed(session, fresh, began)
        append_events(session, self._staleness())
        if commands.CLUSTER in reads:
            forget_old_events(session)

    def _staleness(self) -> list[NewEvent]:
        """Events of the sources that have become stale, or are so no more."""
        now, found = time.monotonic(), []
        for source in commands.SOURCES:
            since = self._succeeded.setdefault(source.name, now)
            is_stale = now - since > _STALE_INTERVALS * self._interval(source)
            if is_stale != (source.name in self._stale):
                self._stale ^= {source.name}
                found.append(NewEvent("poll.stale" if is_stale else "poll.fresh", source.name))
        return found

    def _note(self, reads: Mapping[Source, Read], known: Known, changes: Changes) -> None:
        """After the commit: when each is due again, and what is known now."""
        now = time.monotonic()
        for source, read in reads.items():
            failures = self._failures[source.name] = (
                self._failures.get(source.name, 0) + 1 if read.error else 0
            )
            if read.rows is not None:
                self._counts[source.name] = len(read.rows.content)
                self._succeeded[source.name] = now
            else:
                _LOG.warning("poll: %s (failure %d)", read.error, failures)
            pause = min(self._interval(source) * 2**failures, max(self._settings.longest_pause_seconds, 1.0))
            self._due[source.name] = now + pause * random.uniform(1 - _JITTER, 1 + _JITTER)
        self._known = None if _is_restructured(changes) else _updated(known, changes)
        if changes.touched or changes.events:
            NEWS.give()
            WORK.give()

    def _interval(self, source: Source) -> float:
        return self._settings.topology_seconds if source.is_topology else self._settings.power_seconds

    def _is_due(self, source: Source) -> bool:
        """Whether its time has come; all of the topology come together, with power and images: a complete poll."""
        now = time.monotonic()
        is_topology_due = any(now >= self._due.get(one.name, 0.0) for one in _KINDS[observations.TOPOLOGY])
        return (is_topology_due and not self._failures.get(source.name)) or now >= self._due.get(
            source.name, 0.0
        )

    def _pause_seconds(self) -> float:
        now = time.monotonic()
        due = min((self._due.get(source.name, now) for source in commands.SOURCES), default=now)
        return min(max(due - now, 0.2), self._settings.power_seconds)


def _listed(reads: Mapping[Source, Read], now: datetime) -> Listed:
    rows = {source: read.rows for source, read in reads.items() if read.rows is not None}
    content = {source: found.content for source, found in rows.items()}
    return Listed(
        content.get(commands.CLUSTER),
        content.get(commands.INTERFACE),
        content.get(commands.ROUTE),
        content.get(commands.VM),
        content.get(commands.STORAGEMAP),
        commands.STORAGEMAP not in rows or rows[commands.STORAGEMAP].is_complete,
        reads[commands.VM].began if commands.VM in rows else None,
        reads[commands.STORAGEMAP].began if commands.STORAGEMAP in rows else None,
        now,
    )


def _with_references(listed: Listed, names: Mapping[str, str]) -> Listed:
    """The machines with the owners' names of what is in their drives."""
    if listed.machines is None:
        return listed
    machines = dict(listed.machines)
    for name, machine in listed.machines.items():
        if machine.iso is not None:
            machines[name] = machine._replace(iso=names.get(machine.iso, machine.iso))
    return listed._replace(machines=machines)


def _is_restructured(changes: Changes) -> bool:
    """Whether more has changed than columns of nodes."""
    return bool(
        changes.new_clusters
        or changes.new_nodes
        or changes.clusters
        or changes.interfaces
        or any({"cluster", "is_gone", "missing_polls"} & values.keys() for values in changes.nodes.values())
    )


def _updated(known: Known, changes: Changes) -> Known:
    nodes = dict(known.nodes)
    for name, values in changes.nodes.items():
        before = nodes[name]
        if before.values is not None:
            nodes[name] = before._replace(values=before.values._replace(**values))
    return Known(known.clusters, nodes)
