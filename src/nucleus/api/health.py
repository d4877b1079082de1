"""Answers for machines: health, counters, and the description of the interface."""

from __future__ import annotations

import functools
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from nucleus.api.metrics import METRICS_TYPE
from nucleus.api.problems import unavailable
from nucleus.api.service import Service, service_of
from nucleus.limits import STALE_INTERVALS
from nucleus.mirror import status
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from nucleus.api.events import Hub

router = APIRouter(include_in_schema=False)
_LOG = logging.getLogger(__name__)


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers."""
    return Response("ok\n", media_type="text/plain")


@router.get("/readyz")
def readyz(request: Request) -> Response:
    """Whether requests can be answered, as it was a second ago at most."""
    service = service_of(request)
    checks = service.readiness.get(lambda: _readiness(service))
    if checks is None:
        raise unavailable("this is being found out; ask again in a second")
    return JSONResponse(checks, 200 if all(value == "ok" for value in checks.values()) else 503)


def _readiness(service: Service) -> dict[str, str]:
    """What is needed → ok, or what is wrong: the database is there, and the site was polled."""
    checks: dict[str, str] = {}
    try:
        with service.pool.transaction() as session:
            age = status.oldest_poll_seconds(session, datetime.now(UTC))
        checks["database"] = "ok"
        poll = service.configuration.poll
        limit = STALE_INTERVALS * max(poll.power_seconds, poll.topology_seconds)
        if age is None:
            checks["poll"] = "the site was never polled; is `nucleus poll` or `nucleus serve` running?"
        else:
            checks["poll"] = "ok" if age <= limit else f"the site was last polled {age:.0f} s ago"
    except RocksError as error:
        _LOG.warning("not ready: %s", error)
        checks["database"] = (
            "the database does not answer, or is not set up; the journal of the service has more"
        )
    return checks


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Counters for Prometheus, as they were a few seconds ago at most."""
    service = service_of(request)
    hub = request.app.state.hub
    text = service.metrics_text.get(lambda: _metrics(service, hub))
    if text is None:
        raise unavailable("the first counters are being read; ask again in a second")
    return Response(text, headers={"Content-Type": METRICS_TYPE})


def _metrics(service: Service, hub: Hub) -> bytes:
    with service.pool.transaction() as session:
        values = status.gauges(session, datetime.now(UTC))
    values["streams"] = {(): float(hub.count)}
    return service.metrics.text(values)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The description of the interface."""
    return Response(_description(request.app), media_type="application/json")


@functools.lru_cache(1)
def _description(application: FastAPI) -> bytes:
    """Written once, as the next one: strangers may ask for both, in the thread of the event loop."""
    return json.dumps(application.openapi()).encode()
