"""Pages and answers for machines: health, counters, the description of the interface, and what problems mean."""

from __future__ import annotations

import html
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from nucleus.api.conditional import json_answer
from nucleus.api.consoles import STATIC
from nucleus.api.frame import METRICS_TYPE
from nucleus.api.problems import PROBLEMS, Problem, forbidden
from nucleus.api.representations import text_of
from nucleus.api.service import Known, service_of
from nucleus.mirror import audit, identity, observations, status
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import Iterator

router = APIRouter(include_in_schema=False)
_LOG = logging.getLogger(__name__)

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem}"
    "code{font:14px ui-monospace,monospace}section{border-top:1px solid #bbb;padding:.5rem 0}"
    "h2,h3{margin:.5rem 0}dt{font-weight:600}table{border-collapse:collapse}td,th{padding:.1rem .7rem .1rem 0;"
    "text-align:left;vertical-align:top}"
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_SOURCE = ("name", "observed_at", "rows", "failures", "error", "seconds")
_USER = ("username", "email", "name", "is_active", "is_operator", "projects")
_ENTRY = ("actor", "source_ip", "action", "target", "outcome")
_MACHINE = ("cluster", "name", "state", "computeset")


def page(title: str, body: str) -> Response:
    """A page without scripts and without anything from elsewhere."""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><main><h1>{html.escape(title)}</h1>{body}</main></body></html>"
    )
    return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY})


@router.get("/")
async def root(request: Request) -> Response:
    """To the page of owners."""
    return Response(None, 303, {"Location": f"{request.scope['state']['base']}/page/clusters"})


@router.get("/page/{name}")
async def owners_and_operators(name: Literal["clusters", "site"]) -> Response:
    """A page for people: it has no data; its script asks for them, in the name of who has signed in."""
    headers = {"Content-Security-Policy": _PAGE_POLICY, "Cross-Origin-Opener-Policy": "same-origin"}
    return FileResponse(STATIC / f"{name}.html", headers=headers, media_type="text/html; charset=utf-8")


@router.get("/page/site/state")
def site_state(call: Known) -> Response:
    """For operators: polls, hosts of the list, users, and the end of the audit log."""
    if not call.scope.is_operator:
        raise forbidden("only operators see the state of the site")
    hosts = call.service.configuration.batch.hosts
    with call.service.pool.transaction() as session:
        content: dict[str, Any] = {
            "sources": [
                dict(zip(_SOURCE, (name, text_of(observed), *rest), strict=True))
                for name, observed, *rest in observations.read_sources(session)
            ],
            "hosts": [{"name": host, "machines": []} for host in hosts],
            "users": [dict(zip(_USER, row, strict=True)) for row in identity.list_users(session)],
            "audit": [
                {"seq": row.seq, "at": text_of(row.at), **{key: getattr(row.entry, key) for key in _ENTRY}}
                for row in audit.newest(session, 30)
            ],
        }
        by_host = {one["name"]: one["machines"] for one in content["hosts"]}
        for host, *machine in status.machines_of_hosts(session, hosts):
            by_host[host].append(dict(zip(_MACHINE, machine, strict=True)))
    return json_answer(content)


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers."""
    return Response("ok\n", media_type="text/plain")


@router.get("/readyz")
def readyz(request: Request) -> Response:
    """Whether requests can be answered: the database is there, and the site was polled."""
    service = service_of(request)
    checks: dict[str, str] = {}
    try:
        with service.pool.transaction() as session:
            age = status.oldest_poll_seconds(session, datetime.now(UTC))
        checks["database"] = "ok"
        poll = service.configuration.poll
        limit = 3 * max(poll.power_seconds, poll.topology_seconds)
        if age is None:
            checks["poll"] = "the site was never polled; is `nucleus poll` or `nucleus serve` running?"
        else:
            checks["poll"] = "ok" if age <= limit else f"the site was last polled {age:.0f} s ago"
    except RocksError as error:
        _LOG.warning("not ready: %s", error)
        checks["database"] = (
            "the database does not answer, or is not set up; the journal of the service has more"
        )
    is_ready = all(value == "ok" for value in checks.values())
    return JSONResponse(checks, 200 if is_ready else 503)


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Counters for Prometheus."""
    service = service_of(request)
    with service.pool.transaction() as session:
        values = status.gauges(session, datetime.now(UTC))
    values["streams"] = {(): float(service.streams.count)}
    return Response(service.metrics.text(values), headers={"Content-Type": METRICS_TYPE})


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The description of the interface."""
    return Response(json.dumps(request.app.openapi()), media_type="application/json")


@router.get("/problems/{slug}")
async def problem(slug: str) -> Response:
    """What a problem means."""
    kind = PROBLEMS.get(slug)
    if kind is None:
        raise Problem("not-found", "there is no such problem; /docs lists them")
    return page(
        kind.title,
        f"<p>Code <code>{slug}</code>, HTTP status {kind.status}.</p><p>{html.escape(kind.meaning)}</p>",
    )


@router.get("/docs")
async def docs(request: Request) -> Response:
    """All requests, for people."""
    description = request.app.openapi()
    parts = "".join(_operations(description))
    problems = "".join(
        f"<tr><td><code>{slug}</code><td>{kind.status}<td>{html.escape(kind.title)}. {html.escape(kind.meaning)}"
        for slug, kind in PROBLEMS.items()
    )
    text = (
        '<p>The same for programs: <a href="openapi.json">openapi.json</a>. Send <code>Authorization: Bearer TOKEN'
        "</code>; with <code>Prefer: respond-async</code>, a change answers 202 with its operation.</p>"
        f"<h2>Requests</h2>{parts}<h2>Problems</h2><table><tr><th>Code<th>Status<th>Meaning{problems}</table>"
    )
    return page("Nucleus", text)


def _operations(description: dict[str, Any]) -> Iterator[str]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            rows = "".join(
                f"<tr><td><code>{html.escape(one['name'])}</code><td>{one['in']}"
                f"<td>{html.escape(one.get('description', ''))}"
                for one in operation.get("parameters", ())
            )
            table = f"<table>{rows}</table>" if rows else ""
            yield (
                f'<section id="{operation["operationId"]}"><h3><code>{method.upper()} {html.escape(path)}</code></h3>'
                f"<p>{html.escape(operation.get('summary', ''))}. {html.escape(operation.get('description', ''))}</p>"
                f"{table}</section>"
            )
