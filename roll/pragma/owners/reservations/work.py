"""What workers do for an interval. Each can be repeated: a cluster is known by the request that booted it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nucleus.operations.causes import RefusedError
from nucleus.operations.job import LaterError
from nucleus.states import SCHEDULER_AWAY
from owners.reservations import records, site
from owners.reservations.reserve import scheduler_of
from owners.reservations.site import LocalSite, RemoteSite
from rocks.core.errors import HostError, RocksError, ToolError

if TYPE_CHECKING:
    from nucleus.operations.job import Job
    from nucleus.records import JsonObject
    from owners.computesets.batch import Job as HoldingJob
    from owners.reservations.records import Requested
    from owners.reservations.site import SiteConnection

_LOG = logging.getLogger(__name__)
BOOT, STOP = "boot_reservation", "stop_reservation"
MAX_OF_SITE = 2
"""Boots and stops of a site that run at the same time: sites that hang must leave workers to the others."""

_MAX_BOOTS = 3
"""How often a boot is tried that fails: its site may be silent, or an address taken for a moment."""

_AGAIN_SECONDS = 30.0

_LOOK_SECONDS = 2.0
_SOON_SECONDS, _SOON_TIMES = 0.4, 6
"""The first looks for the hosts: idle ones are held within a second."""


def boot(job: Job) -> JsonObject:
    """Boot the cluster of an interval; done when its machines run and it answers by SSH."""
    requested, place = _begin(job)
    if not job.has("booted"):
        hosts = _held_hosts(job, requested)
        job.store("boot")
        try:
            site.boot(place, requested, hosts)
        except (HostError, ToolError) as error:
            # not `attempts`, which count each look and each wait for a place
            if sum(one.get("step") == "boot" for one in job.operation.progress) < _MAX_BOOTS:
                _LOG.warning("reservation interval %d: %s", requested.id, error)
                raise LaterError(_AGAIN_SECONDS) from None
            raise
        job.store("booted")
    try:
        seen = site.look(place, requested)
    except RocksError as error:  # it is looked at again, until the end of the interval
        _LOG.warning("reservation interval %d: %s", requested.id, error)
        raise LaterError(_LOOK_SECONDS) from None
    if seen is None:
        raise RefusedError("the cluster was removed meanwhile")
    found = {"cluster": seen.name, "address": seen.address}
    job.transaction(lambda session: session.update("reservation_interval", found, id=requested.id))
    if not seen.answers:
        _check_job(job, requested)
        raise LaterError(_LOOK_SECONDS)
    return {}


def _check_job(job: Job, requested: Requested) -> None:
    """RefusedError for an interval without its job: the hosts on which its cluster starts may be another job's."""
    scheduler = scheduler_of(requested.login, job.tools.batch)
    try:
        if scheduler is not None and requested.id not in scheduler.held():
            raise RefusedError("the site's scheduler has ended the job that had its hosts")
    except (HostError, ToolError) as error:  # nothing is known of it
        _LOG.warning("reservation interval %d: %s", requested.id, error)


def _held_hosts(job: Job, requested: Requested) -> tuple[str, ...]:
    """The hosts that the site's scheduler gives the interval; empty without one. LaterError until it has given them.

    Meanwhile the interval has the reason why it waits, in words for owners.
    """
    scheduler = scheduler_of(requested.login, job.tools.batch)
    if scheduler is None:
        return ()
    try:
        held = scheduler.hold(requested.id, requested.seconds_left, requested.vc)
        reason = "" if held is None else _waiting(held)
    except HostError as error:
        _LOG.warning("reservation interval %d: %s", requested.id, error)
        held, reason = None, SCHEDULER_AWAY
    hosts = held.hosts if held is not None else ()
    known = {"reason": reason or None}
    job.transaction(
        lambda session: session.update("reservation_interval", known, id=requested.id, state=records.STARTING)
    )
    if not hosts:
        raise LaterError(_SOON_SECONDS if job.operation.attempts <= _SOON_TIMES else _LOOK_SECONDS)
    return hosts


def _waiting(held: HoldingJob) -> str:
    place = f" (place {held.place} of the reservations that wait)" if held.place else ""
    return f"{held.waiting}{place}"


def stop(job: Job) -> JsonObject:
    """Stop the cluster of an interval, and remove it with its disks; one that is not there is removed."""
    requested, place = _begin(job)
    job.store("stop")
    site.remove(place, requested)
    return {}


def _begin(job: Job) -> tuple[Requested, SiteConnection]:
    arguments = job.operation.arguments
    requested, (of_site, of_all) = job.transaction(
        lambda session: (
            records.requested_of(session, arguments["interval"]),
            records.running_operations(session, job.operation),
        )
    )
    if requested is None:
        raise RefusedError("the reservation was removed meanwhile")
    if of_site >= MAX_OF_SITE or of_all >= max(job.tools.settings.threads // 2, 1):
        raise LaterError(_LOOK_SECONDS)
    if requested.login is None:
        return requested, LocalSite(job.rocks, arguments["folder"])
    return requested, RemoteSite(requested.login, job.tools.settings.command_seconds)
