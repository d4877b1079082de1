"""Reservations of sites for virtual clusters of PRAGMA, and their shapes."""

from __future__ import annotations

import logging
from contextlib import nullcontext, suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field, StrictBool, StringConstraints
from starlette.responses import Response

from nucleus.api.access.throttles import AtOnce
from nucleus.api.clusters import Cursor, Limit
from nucleus.api.decorators import changes, reads, route
from nucleus.api.etags import conditional_json, json_answer
from nucleus.api.models import NO_BOOLEAN, VC_NAME, Answer, Moment, Request, Text, Time
from nucleus.api.paging import number_of, page_of, paged
from nucleus.api.problems import Problem, conflict, forbidden, invalid
from nucleus.api.representations import shaped, text_of
from nucleus.api.responsibility import demand_acknowledgement
from nucleus.api.service import Change, Known, Reading, changing, no_content
from nucleus.mirror.pool import logged
from owners.reservations import records, reserve
from owners.reservations.rules import MAX_DAYS, MAX_INTERVALS, Span, max_used, max_used_in_parts, spans_of
from owners.reservations.site import LocalSite, listed_images
from rocks.core.errors import RocksError, StateError, UserError
from rocks.core.near_names import nearest
from rocks.core.public_keys import read_new_keys

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from nucleus.api.representations import Json
    from nucleus.api.service import Service
    from owners.reservations.records import Reservation, Site

router = APIRouter()
page_router = APIRouter(include_in_schema=False)
Day = Annotated[date, Query(ge=date(2000, 1, 1), lt=date(2200, 1, 1))]
_LOG = logging.getLogger(__name__)

MAX_CPUS, MAX_MEMORY_GB = 100_000, 1_000_000
MAX_TITLE, MAX_DESCRIPTION = 100, 1000

_TURNS = AtOnce("reservations that are being made", 1, max_of_all=2, retry_seconds=2, wait_seconds=2)
"""Slurm is asked in the transaction of each, which has a connection and the site's row; one more waits for that."""

Number = Annotated[int, Path(ge=1, le=0x7FFFFFFF)]
Cpus = Annotated[int, Field(ge=1, le=MAX_CPUS), NO_BOOLEAN]
MemoryGb = Annotated[int, Field(ge=1, le=MAX_MEMORY_GB), NO_BOOLEAN]
When = Annotated[Time | None, Query()]


class ReservableSite(Answer):
    """A site, and what it has left in the time that was asked for (now, without one)."""

    name: str
    cpus: int
    memory_gb: int
    ent: bool
    available: bool
    cpus_left: int
    memory_gb_left: int


class ChangedSite(Request):
    """What a site has from now on."""

    cpus: Cpus | None = None
    memory_gb: MemoryGb | None = None
    ent: StrictBool | None = None
    available: StrictBool | None = Field(None, description="false: nothing more can be reserved")


class ReservedInterval(Answer):
    """One time of a reservation."""

    begin: Moment
    end: Moment
    state: str = Field(description="waiting, starting, running, stopping, stopped, cancelled or failed")
    reason: str | None = Field(description="why it has ended, or, while it starts, why it has no hosts yet")
    cluster: str | None = Field(description="the virtual cluster")
    address: str | None = Field(description="of its frontend")


class ReservationAnswer(Answer):
    """A site, reserved for a virtual cluster."""

    id: int
    site: str
    owner: str
    vc: str
    cpus: int
    memory_gb: int
    ent: bool
    title: str
    description: str
    created: Moment
    intervals: list[ReservedInterval]


class MadeReservation(ReservationAnswer):
    """A reservation that was just made."""

    vc_checked: bool = Field(description="false: whether the site has the cluster image shows at the begin")


class NewReservation(Request):
    """Which site is reserved, when, and for which virtual cluster."""

    site: Text
    vc: Annotated[str, StringConstraints(pattern=VC_NAME)] = Field(
        description="the cluster image, as the site's repository calls it"
    )
    begin: Time
    end: Time
    repeat: Literal["daily", "weekly"] | None = None
    until: Time | None = Field(None, description="the last interval begins before it")
    cpus: Cpus = Field(description="of all computes")
    memory_gb: MemoryGb = Field(
        description="what the calendar counts; machines have the memory of the image's description"
    )
    ent: StrictBool = Field(
        False, description="whether the cluster has an interface on the network between sites"
    )
    public_key: Text = Field(description="SSH key of the owner, in one line")
    title: Annotated[str, StringConstraints(max_length=MAX_TITLE)] = Field(
        "", description="for the list of reservations"
    )
    description: Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION)] = Field(
        "", description="what it is for"
    )


@route(router, "GET /v1/reservation/site", "list_reservation_sites", "Sites", list[ReservableSite])
@reads
def list_sites(reading: Reading, begin: When = None, end: When = None) -> Response:
    """Sites with what is left of them from begin to end, at the worst moment."""
    first = begin or reading.call.now
    first = first.astimezone(UTC)
    span = Span(first, end.astimezone(UTC) if end else first + timedelta(minutes=1))
    if span.end <= span.begin:
        raise invalid(
            "the end is not after the begin; give a later end", [("#/query/end", "it is too early")]
        )
    if span.end > span.begin + timedelta(days=MAX_DAYS):
        raise invalid(
            f"the end is more than {MAX_DAYS} days after the begin", [("#/query/end", "it is too late")]
        )
    sites = records.list_sites(reading.session)
    return conditional_json(reading.call.request, [_site_json(reading, site, span) for site in sites])


def _site_json(reading: Reading, site: Site, span: Span) -> Json:
    cpus, memory_gb = max_used(records.shares_of(reading.session, site.id, span), span)
    return shaped(
        ReservableSite,
        site,
        ent=site.has_ent,
        available=site.is_available,
        cpus_left=max(site.cpus - cpus, 0),
        memory_gb_left=max(site.memory_gb - memory_gb, 0),
    )


@route(
    router, "PATCH /v1/reservation/site/{name}", "change_reservation_site", "Change a site", status_code=204
)
@changes("computeset", "change_site")
def change_site(change: Change, name: str, body: ChangedSite) -> Response:
    """For the administrators of the site: what is reserved already stays so."""
    site = _find_site(change, name)
    if not change.scope.is_operator and site.project_id not in change.scope.projects:
        raise forbidden(f"only the administrators of {site.name} change it")
    given = body.model_dump(exclude_none=True)
    columns = {_COLUMNS.get(key, key): value for key, value in given.items()}
    if columns:
        change.session.update("reservation_site", columns, id=site.id)
    change.note(site.name, after=str(given))
    return no_content()


_COLUMNS = {"ent": "has_ent", "available": "is_available"}


def _find_site(change: Change, name: str, *, is_locked: bool = True) -> Site:
    found = records.find_site(change.session, name, is_locked=is_locked)
    if found is None:
        known = ", ".join(site.name for site in records.list_sites(change.session)) or "none yet"
        raise Problem("unknown-site", f"there is no site {name[:64]!r}; there are: {known}")
    return found


@route(router, "GET /v1/reservation", "list_reservations", "Your reservations", list[ReservationAnswer])
@reads
def list_reservations(reading: Reading, limit: Limit = None, cursor: Cursor = None) -> Response:
    """Those that you have made, and those of the sites that you administer; the oldest first."""
    page, request = page_of(limit, cursor), reading.call.request
    found = records.list_reservations(
        reading.session,
        reading.scope,
        after=number_of(page.after or ""),
        limit=page.limit and page.limit + 1,
    )
    _, headers = paged(request, page._replace(after=None), [str(one.id) for one in found], str)
    return conditional_json(request, [_reservation_json(one) for one in found[: page.limit]], headers)


def _reservation_json(one: Reservation) -> Json:
    intervals = [
        shaped(ReservedInterval, it, begin=text_of(it.begins_at), end=text_of(it.ends_at))
        for it in one.intervals
    ]
    return shaped(ReservationAnswer, one, ent=one.has_ent, intervals=intervals)


@route(
    router, "POST /v1/reservation", "create_reservation", "Reserve a site", MadeReservation, status_code=201
)
def create_reservation(call: Known, body: NewReservation) -> Response:
    """Everything is checked before anything is reserved; who comes second for the last CPUs is refused."""
    images: list[str] | None = None
    turn: AbstractContextManager[None] = nullcontext()
    service = call.service
    if "computeset" in call.scope.scopes and (call.scope.is_operator or call.scope.projects):
        with service.pool.reading() as session:
            site = records.find_site(session, body.site)
        if site is not None and site.login is None:
            images = _images_here(service)  # before: it may take long, and others need the connection
            if service.configuration.batch.kind == "slurm":
                turn = _TURNS.one_more(call.caller.user.id)
    with turn:
        return changing(
            call, "computeset", "create_reservation", lambda change: _create(change, body, images)
        )


def _create(change: Change, body: NewReservation, images: list[str] | None) -> Response:
    if not change.scope.is_operator and not change.scope.projects:
        raise forbidden("only members of a project reserve sites; ask the site's operators for one")
    demand_acknowledgement(change.call)
    key = _public_key(body.public_key)
    batch, now = change.call.service.configuration.batch, change.call.now
    spans = spans_of(Span(body.begin, body.end), body.repeat, body.until, now, batch.most_walltime_minutes)
    site = _find_site(change, body.site)
    if images is not None:
        _demand_image(site, body.vc, images)
    if not site.is_available:
        raise conflict(f"{site.name} cannot be reserved at present; choose another site")
    if body.ent and not site.has_ent:
        raise conflict(f"{site.name} has no network to other sites; leave out ent, or choose another site")
    if records.count_living(change.session, change.caller.user.id) + len(spans) > MAX_INTERVALS:
        raise conflict(
            f"you would have more than {MAX_INTERVALS} intervals that have not ended; cancel a reservation"
        )
    columns = {
        "user_id": change.caller.user.id, "vc": body.vc, "cpus": body.cpus, "memory_gb": body.memory_gb,
        "has_ent": body.ent, "public_key": key, "title": body.title, "description": body.description,
    }  # fmt: skip
    try:
        number = reserve.reserve(change.session, site, spans, columns, batch)
    except StateError as error:
        raise conflict(str(error)) from None
    (one,) = records.list_reservations(change.session, change.scope, after=number - 1, limit=1)
    change.note(f"{site.name}/reservation {number}", after=body.vc)
    made = {**_reservation_json(one), "vc_checked": images is not None}
    return json_answer(made, 201, {"Location": change.call.url("/v1/reservation")})


def _public_key(text: str) -> str:
    """The one key of a text. Problem for what a boot would refuse."""
    try:
        (key,) = read_new_keys(text)
    except (UserError, ValueError):  # no key, or not one
        raise invalid(
            "public_key is no whole SSH key in one line; send what a file such as id_ed25519.pub has",
            [("#/public_key", "one line, as a file such as id_ed25519.pub has it")],
        ) from None
    return key


def _images_here(service: Service) -> list[str] | None:
    """The cluster images of this site; None where they are not known.

    Other sites are not asked, and this one only once at a time: nobody waits for the answer to somebody else.
    """
    try:
        return service.cluster_images.get(lambda: listed_images(LocalSite(service.rocks, "")))
    except RocksError as error:
        _LOG.warning("the cluster images of this site are not known: %s", error)
        return None


def _demand_image(site: Site, vc: str, known: Sequence[str]) -> None:
    if vc in known:
        return
    if not known:
        raise conflict(
            f"{site.name} has no cluster images: ask its operators to install the roll pragma, and to add {vc}"
        )
    near = nearest(vc, known)
    advice = f"did you mean {near[0]}?" if near else f"it has: {', '.join(sorted(known)[:20])}"
    raise invalid(f"{site.name} has no cluster image {vc}; {advice}")


@route(router, "DELETE /v1/reservation/{r}", "cancel_reservation", "Cancel a reservation", status_code=204)
def cancel_reservation(call: Known, r: Number) -> Response:
    """All that is left of it; a cluster that runs is stopped."""
    waiting = list[int]()

    def cancel(change: Change) -> Response:
        found = records.find_reservation(change.session, change.scope, r)
        if found is None:
            raise unknown_reservation(r)
        site = _find_site(change, found.site, is_locked=False)
        waiting[:] = reserve.cancel(change.session, site, found, change.caller.actor)
        change.note(f"{found.site}/reservation {r}", after="cancelled")
        return no_content()

    answer = changing(call, "computeset", "cancel_reservation", cancel)
    scheduler = reserve.scheduler_of(None, call.service.configuration.batch)
    if waiting and scheduler is not None:
        with suppress(Problem), _TURNS.one_more(call.caller.user.id), logged(f"the end of reservation {r}"):
            scheduler.delete(waiting)
    return answer


def unknown_reservation(number: int | str) -> Problem:
    """The refusal of a reservation that is not there, or not the caller's."""
    return Problem(
        "unknown-reservation",
        f"there is no reservation {number} of yours; `comet reservation list` lists them",
    )


@page_router.get("/page/reservations/week")
@reads
def week(reading: Reading, begin: Day) -> Response:
    """Of each site, what each hour of the week from `begin` has left at its worst moment: [CPUs, GB of memory]."""
    first = datetime(begin.year, begin.month, begin.day, tzinfo=UTC)
    span = Span(first, first + timedelta(days=7))
    sites = [
        {
            "name": site.name,
            "available": site.is_available,
            "left": [
                (max(site.cpus - cpus, 0), max(site.memory_gb - memory_gb, 0))
                for cpus, memory_gb in max_used_in_parts(
                    records.shares_of(reading.session, site.id, span), span, 7 * 24
                )
            ],
        }
        for site in records.list_sites(reading.session)
    ]
    return json_answer(sites)
