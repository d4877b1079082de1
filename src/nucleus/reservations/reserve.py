"""Makes and cancels reservations, in a transaction of the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nucleus.reservations import records
from nucleus.reservations.rules import Span, first_conflict
from nucleus.reservations.slurm import SlurmReservations
from rocks.core.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.configuration import BatchSettings
    from nucleus.mirror.pool import Session
    from nucleus.reservations.records import Reservation, Site


def scheduler_of(login: str | None, batch: BatchSettings) -> SlurmReservations | None:
    """What keeps the reservations of the site with this login; None where Nucleus alone does."""
    return SlurmReservations(batch) if login is None and batch.kind == "slurm" else None


def reserve(
    session: Session, site: Site, spans: Sequence[Span], columns: dict[str, Any], batch: BatchSettings
) -> int:
    """Store a reservation of a site that is locked, and have its scheduler reserve each interval; its number.

    StateError, in words for owners, for a site without room in one of the intervals: then nothing is reserved.
    """
    whole = Span(spans[0].begin, spans[-1].end)
    requested = columns["cpus"], columns["memory_gb"]
    conflict = first_conflict(
        (site.cpus, site.memory_gb), records.shares_of(session, site.id, whole), spans, requested
    )
    if conflict is not None:
        span, cpus, memory_gb = conflict
        raise StateError(
            f"{site.name} has {cpus} CPUs and {memory_gb} GB left from {span.begin:%Y-%m-%d %H:%M} to {span.end:%H:%M}"
            f" UTC, and {requested[0]} CPUs and {requested[1]} GB were asked for; choose another time, or less"
        )
    number, intervals = records.insert_reservation(session, {**columns, "site_id": site.id}, spans)
    scheduler = scheduler_of(site.login, batch)
    if scheduler is not None:
        # what a death leaves, the next round of the controller ends
        scheduler.create(intervals, requested[0])
    return number


def cancel(session: Session, site: Site, one: Reservation, actor: str) -> list[int]:
    """Cancel what is left of a reservation. What runs is stopped, and keeps its place until then.

    Its owner reads when it was another one, `actor`, who cancelled it. The intervals that this site's scheduler is to
    end after the commit; those that it does not end then, the next round of the controller ends.
    """
    reason = None if actor == one.owner else "cancelled by the site's administrators"
    waiting = records.cancel(session, one.id, reason)
    return waiting if site.login is None else []
