"""R32: ten sites with a thousand reservations each: the answer for the page of a week, and the check for conflicts."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta

from bench.nucleus.requests import Service, exchange, open_connection
from bench.service import Place, free_port, listens, program, wait
from bench.site import BenchSite
from bench.table import Row, at_most
from nucleus.api.access.authentication import store_token
from nucleus.api.access.credentials import OWNER_SCOPES
from nucleus.configuration import DatabaseSettings
from nucleus.mirror import identity
from nucleus.mirror.migrate import set_up
from nucleus.mirror.pool import Pool, Session
from owners.reservations import records
from owners.reservations.rules import MAX_DAYS, Span, first_conflict
from rocks.core.errors import ToolError

SITES, RESERVATIONS = 10, 1000
_ROUNDS = 21
_WEEKS = 52
_CPUS, _MEMORY_GB = 1000, 4000
_PAGE_SECONDS, _CHECK_SECONDS = 0.1, 0.01


def measure(site: BenchSite) -> list[Row]:
    """On a schema of its own in the database server of the site."""
    socket = str(site.frontend.machine.outside("/var/opt/rocks/mysql/mysql.sock"))
    folder = site.folder / "reservations"
    folder.mkdir(mode=0o700)
    return measure_calendar(
        Place(DatabaseSettings(socket, "bench_calendar", "root"), folder / "executor.sock", folder)
    )


def measure_calendar(place: Place) -> list[Row]:
    """The figures; the schema is set up here. Nucleus runs without `rocks`, which the page does not ask."""
    set_up(place.settings)
    begin = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    pool, port = Pool(place.settings), free_port()
    with pool.transaction() as session:
        token = _fill(session, begin)
    serve = [sys.executable, "-m", "nucleus.cli", "serve"]
    with program(serve, place.environment(port), place.folder / "nucleus.log"):
        wait(lambda: listens(port), "`nucleus serve`")
        page = asyncio.run(_page(Service(port, token), begin))
    check = [_check(pool, begin) for _ in range(_ROUNDS)]
    pool.close()
    of = f"{SITES} sites with {RESERVATIONS} reservations each"
    how = f"median of {_ROUNDS}, longest {{:.0f}} ms; the reservations take a day each, and are spread over a year"
    what = f"of a site with {RESERVATIONS} reservations, for one of each week of the year"
    return [
        _row(f"{of}: the answer for the page of a week", page, _PAGE_SECONDS, how),
        _row(f"the check for conflicts {what}", check, _CHECK_SECONDS, how),
    ]


def _row(what: str, seconds: list[float], limit: float, how: str) -> Row:
    found = statistics.median(seconds) * 1000
    return at_most("R32", what, found, limit * 1000, "ms", how.format(max(seconds) * 1000))


def _fill(session: Session, begin: datetime) -> str:
    """Sites, and reservations of a day each that begin in turn in the year that can be reserved; the owner's token."""
    user = identity.add_user(session, "owner", "", "", "", False)
    for number in range(SITES):
        columns = {"name": f"site-{number}", "cpus": _CPUS, "memory_gb": _MEMORY_GB, "is_available": True}
        place = session.insert("reservation_site", columns)
        for turn in range(RESERVATIONS):
            first = begin + timedelta(days=MAX_DAYS - 7) * turn / RESERVATIONS
            requested = {
                "site_id": place, "user_id": user, "vc": "dock6", "cpus": 4, "memory_gb": 8, "has_ent": False,
                "public_key": "ssh-ed25519 AAAA owner",
            }  # fmt: skip
            records.insert_reservation(session, requested, [Span(first, first + timedelta(days=1))])
    return store_token(session, user, OWNER_SCOPES, None, None, "bench")[1].text


async def _page(service: Service, begin: datetime) -> list[float]:
    """Seconds of each answer, after a first one. ToolError unless all sites have less left than they have."""
    connection = await open_connection(service)
    request = service.request("GET", f"/page/reservations/week?begin={begin:%Y-%m-%d}")
    took = []
    try:
        for _ in range(_ROUNDS + 1):
            start = time.perf_counter()
            answer = await exchange(connection, request)
            took.append(time.perf_counter() - start)
            if answer.status != 200 or any(one["left"][0][0] >= _CPUS for one in json.loads(answer.body)):
                raise ToolError(f"the service answered {answer.status} {answer.body[:200]!r}")
    finally:
        connection[1].close()
    return took[1:]


def _check(pool: Pool, begin: datetime) -> float:
    """Seconds of the check that a reservation of each week of the year gets room."""
    weeks = [begin + timedelta(weeks=week) for week in range(_WEEKS)]
    spans = [Span(first, first + timedelta(days=1)) for first in weeks]
    with pool.transaction() as session:
        (place, *_) = records.list_sites(session)
        start = time.perf_counter()
        shares = records.shares_of(session, place.id, Span(spans[0].begin, spans[-1].end))
        if first_conflict((place.cpus, place.memory_gb), shares, spans, (16, 4)) is not None:
            raise ToolError("the check finds no room where there is some")
        return time.perf_counter() - start
