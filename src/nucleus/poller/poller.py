"""Runs the commands that read at their intervals, and writes what has changed, while it holds the lease."""

from __future__ import annotations

import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nucleus.backends import rocks as commands
from nucleus.limits import STALE_INTERVALS
from nucleus.mirror import audit, observations
from nucleus.mirror.events import NEWS, WORK, append_events, forget_old_events
from nucleus.mirror.history import SETS_AT_ONCE, forget_old
from nucleus.mirror.idempotency_keys import forget_old_answers
from nucleus.mirror.observations import Changes, KnownNode
from nucleus.parts import Polled, installed
from nucleus.poller.difference import Known, Listed, compare, hosts_of, without_images
from nucleus.records import NewEvent
from rocks.core.errors import RocksError, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from nucleus.backends.rocks import Rocks, Rows, Source
    from nucleus.configuration import Configuration, PollSettings
    from nucleus.mirror.pool import Guard, Session

_LOG = logging.getLogger(__name__)
_JITTER = 0.1
_OVERLAP = timedelta(minutes=5)
"""What was written so long before the last poll is read again: transactions take time, and clocks are set."""

_MAX_READ_AGAIN = 2000
_HISTORY_SECONDS = 3600

_KINDS = {
    observations.TOPOLOGY: (commands.CLUSTER, commands.INTERFACE, commands.ROUTE),
    observations.POWER: (commands.VM,),
    observations.IMAGE: (commands.STORAGEMAP,),
}


def interval_seconds(source: Source, settings: PollSettings) -> float:
    """How often a command is run that does not fail."""
    is_slow = source.is_topology or source is commands.LIBRARY
    return settings.topology_seconds if is_slow else settings.power_seconds


def late_seconds(source: Source, settings: PollSettings) -> float:
    """The age from which its last answer is stale."""
    return STALE_INTERVALS * interval_seconds(source, settings)


class Read(NamedTuple):
    """How a command ended: its rows or its error, and how long it took."""

    rows: Rows | None
    error: str | None
    seconds: float


class Poller:
    """The poller of a process. `poll` once, or `run` until it is stopped; it changes nothing without the lease.

    `store_texts` writes what the interface answers, after each poll and with its lease.
    """

    def __init__(
        self,
        configuration: Configuration,
        rocks: Rocks,
        guard: Guard,
        store_texts: Callable[[Guard], None] = lambda _: None,
    ) -> None:
        self._store_texts = store_texts
        self._settings = configuration.poll
        self._site = configuration.site
        self._history = configuration.history
        self._history_due = 0.0
        self._rocks = rocks
        self._guard = guard
        self._known: Known | None = None
        self._known_at: datetime | None = None
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
                    self.poll([commands.LIBRARY] if self._is_due(commands.LIBRARY) else [])
                    self._shorten_history()
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

    def _shorten_history(self) -> None:
        """Remove what is too old, and move old rows of the audit log to files: hourly, oftener while many are left.

        A row that has just become old waits for the next hour, since each move makes a file, and a row of the log.
        """
        if time.monotonic() < self._history_due:
            return
        self._history_due = time.monotonic() + _HISTORY_SECONDS
        with self._guard.transaction() as session:
            has_more = forget_old(session, self._history.days) >= SETS_AT_ONCE
        self._known = None  # of nodes that are forgotten
        try:
            with self._guard.transaction() as session:
                moved = audit.archive_old(session, Path(self._history.folder), self._history.days)
            has_more |= moved == audit.ARCHIVED_AT_ONCE
        except OSError as error:
            _LOG.warning("the audit log stays as long as it is: its old rows cannot be written: %s", error)
        if has_more:
            self._history_due = 0.0

    def poll(self, sources: Iterable[Source] = commands.SOURCES) -> Changes | None:
        """Run these commands, write what has changed, and return that; None without commands.

        The lease must be held. HostError when the database cannot be reached: then nothing was written.
        """
        asked = list(sources)
        if not asked:
            return None
        with self._guard.transaction() as session:
            began = observations.database_now(session)
            if self._known is None or self._known_at is None or began < self._known_at:
                observations.end_future(session, began)
            if self._known is None:
                # of the last answers, also of another process: else a blank first answer would be believed
                self._counts |= {one.name: one.row_count for one in observations.read_sources(session)}
            self._known, self._known_at = (
                self._load(session, any(source.is_topology for source in asked)),
                began,
            )
            stores = [part.on_poll(session, {one.name for one in asked}) for part in installed().values()]
        reads = self._read_all(asked)
        changes, self._known = self._write_changes(self._known, reads, began, stores)
        self._note(reads, changes)
        try:
            self._store_texts(self._guard)
        except RocksError as error:  # the interface writes itself what is not stored
            _LOG.warning("poll: the texts of the clusters are not stored: %s", error)
        return changes

    def _write_changes(
        self,
        before: Known,
        reads: Mapping[Source, Read],
        began: datetime,
        stores: Sequence[Callable[[Session, Polled], Sequence[NewEvent]]],
    ) -> tuple[Changes, Known | None]:
        """Compare what the commands printed with what the mirror has now, and write what has changed.

        Returns that, and what is known afterwards. `before`: what was known when the commands `began`; `stores`: what
        `Part.on_poll` returned.
        """
        with self._guard.transaction() as session:
            since = min(observations.database_now(session), began) - _OVERLAP
            # clusters are few, and an event is seen by the project that has its cluster now
            known = Known(observations.load_clusters(session), before.nodes)
            known = _merged(known, observations.load_nodes(session, since))
            listed = _with_references(_listed(reads, began), _names_of_media(session))
            changes = _compare_now(session, known, listed)
            # workers lock the cluster before they record a state: what they had recorded until now is compared again;
            # also those whose nodes are only counted as missing: all clusters are written after the nodes
            missing_too = {known.nodes[number].cluster for number in changes.nodes}
            observations.lock_clusters(session, {*changes.touched, *changes.clusters, *missing_too})
            newer = observations.load_nodes(session, since)
            if any(known.nodes.get(number) != node for number, node in newer.items()):
                known = _merged(known, newer)
                changes = _compare_now(session, known, listed)
            written = observations.apply_changes(session, changes, self._site)
            after = _after(session, known, changes, written)
            unlisted = without_images(known, listed)
            events = [*changes.events, *self._record(session, reads, began, unlisted)]
            library = reads.get(commands.LIBRARY)
            polled = Polled(
                hosts_of(known, listed), library.rows.content if library and library.rows else None
            )
            events += [event for store in stores for event in store(session, polled)]
            # after all locks of rows: who has a cluster's row waits for this one
            append_events(session, events)
        return changes, after

    def _load(self, session: Session, is_topology: bool) -> Known:
        """What the mirror has: all of it once, then what others may have changed.

        Workers note with each node when they have written it; owners change names of nodes, which come with the
        topology.
        """
        if self._known is None or self._known_at is None:
            return Known(observations.load_clusters(session), observations.load_nodes(session))
        since = min(observations.database_now(session), self._known_at) - _OVERLAP
        known = _merged(self._known, observations.load_nodes(session, since))
        if not is_topology:
            return known
        names = dict(session.rows("SELECT id, name FROM node"))
        by_owners = {
            number: node._replace(name=names[number])
            for number, node in known.nodes.items()
            if names.get(number, node.name) != node.name
        }
        return _merged(known, by_owners)

    def _read_all(self, sources: Iterable[Source]) -> dict[Source, Read]:
        """Run them at the same time. A command may take longer than the lease lasts, which is renewed meanwhile."""
        running = {source: self._threads.submit(self._read, source) for source in sources}
        while wait(running.values(), self._guard.lease_seconds / 4).not_done:
            self._guard.keep()
        return {source: one.result() for source, one in running.items()}

    def _read(self, source: Source) -> Read:
        before = time.monotonic()
        try:
            rows = self._rocks.read(source)
            if rows.is_blank and self._counts.get(source.name):
                raise ToolError(
                    f"`rocks {' '.join(source.arguments)}` printed nothing, and had rows the time before"
                )
            if not rows.is_complete and source is not commands.STORAGEMAP and source is not commands.VM:
                raise ToolError(f"`rocks {' '.join(source.arguments)}` was not answered by all hosts")
            return Read(rows, None, time.monotonic() - before)
        except RocksError as error:
            return Read(None, str(error), time.monotonic() - before)

    def _record(
        self,
        session: Session,
        reads: Mapping[Source, Read],
        began: datetime,
        without: Collection[int],
    ) -> list[NewEvent]:
        """Note how the commands ended; the events of that. `without`: clusters some of whose images were not listed."""
        for source, read in reads.items():
            count = len(read.rows.content) if read.rows else 0
            observations.record_source(session, source.name, read.seconds, began, count, read.error)
        fresh = [
            kind
            for kind, sources in _KINDS.items()
            if any(source in reads for source in sources)
            and all(read.rows is not None for source, read in reads.items() if source in sources)
        ]
        observations.record_observed(session, fresh, began, without)
        if commands.CLUSTER in reads:
            forget_old_events(session)
            forget_old_answers(session)
        return self._staleness()

    def _staleness(self) -> list[NewEvent]:
        """Events of the sources that have become stale, or are so no more."""
        now, found = time.monotonic(), []
        for source in commands.SOURCES:
            since = self._succeeded.setdefault(source.name, now)
            is_stale = now - since > late_seconds(source, self._settings)
            if is_stale != (source.name in self._stale):
                self._stale ^= {source.name}
                found.append(NewEvent("poll.stale" if is_stale else "poll.fresh", source.name))
        return found

    def _note(self, reads: Mapping[Source, Read], changes: Changes) -> None:
        """After the commit: log errors, note when each is due again, and wake those who wait for changes."""
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
            pause = min(
                interval_seconds(source, self._settings) * 2**failures,
                max(self._settings.longest_pause_seconds, 1.0),
            )
            self._due[source.name] = now + pause * random.uniform(1 - _JITTER, 1 + _JITTER)
        if changes.touched or changes.events:
            NEWS.give()
            WORK.give()

    def _is_due(self, source: Source) -> bool:
        """Whether its time has come; all of the topology come together, with power and images: a complete poll."""
        now = time.monotonic()
        is_topology_due = any(now >= self._due.get(one.name, 0.0) for one in _KINDS[observations.TOPOLOGY])
        joins = is_topology_due and source is not commands.LIBRARY and not self._failures.get(source.name)
        return joins or now >= self._due.get(source.name, 0.0)

    def _pause_seconds(self) -> float:
        now = time.monotonic()
        due = min((self._due.get(source.name, now) for source in commands.SOURCES), default=now)
        return min(max(due - now, 0.2), self._settings.power_seconds)


def _listed(reads: Mapping[Source, Read], began: datetime) -> Listed:
    rows = {source: read.rows for source, read in reads.items() if read.rows is not None}
    content = {source: found.content for source, found in rows.items()}
    return Listed(
        content.get(commands.CLUSTER),
        content.get(commands.INTERFACE),
        content.get(commands.ROUTE),
        content.get(commands.VM),
        content.get(commands.STORAGEMAP),
        commands.STORAGEMAP not in rows or rows[commands.STORAGEMAP].is_complete,
        began,
    )


def _compare_now(session: Session, known: Known, listed: Listed) -> Changes:
    # after the nodes were read: a command that ended just before is not one of the future
    return compare(known, listed._replace(now=observations.database_now(session)))


def _names_of_media(session: Session) -> dict[str, str]:
    return {
        listed: name for part in installed().values() for listed, name in part.names_of_media(session).items()
    }


def _with_references(listed: Listed, names: Mapping[str, str]) -> Listed:
    """The machines with the owners' names of what is in their drives."""
    if listed.machines is None:
        return listed
    machines = dict(listed.machines)
    for name, machine in listed.machines.items():
        if machine.iso is not None:
            machines[name] = machine._replace(iso=names.get(machine.iso, machine.iso))
    return listed._replace(machines=machines)


def _merged(known: Known, nodes: Mapping[int, KnownNode]) -> Known:
    return Known(known.clusters, {**known.nodes, **nodes}) if nodes else known


def _after(session: Session, known: Known, changes: Changes, written: Sequence[int]) -> Known | None:
    """What is known once the changes are written: what has changed, as read again; None when so much has."""
    if len(written) > _MAX_READ_AGAIN:
        return None
    if changes.new_clusters or changes.clusters:
        known = Known(observations.load_clusters(session), known.nodes)
    return _merged(known, observations.load_nodes(session, numbers=written) if written else {})
