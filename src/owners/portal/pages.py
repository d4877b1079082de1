"""Pages for people, and what their scripts ask for besides the REST interface."""

from __future__ import annotations

import functools
import html
import logging
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from comet.client.errors import UsageError
from comet.client.launchers import FILE, launcher_values
from nucleus.api.etags import json_answer
from nucleus.api.problems import NOTHING, PROBLEMS, Problem, forbidden, headers_of, invalid
from nucleus.api.representations import text_of
from nucleus.api.service import Known, address_of, charged
from nucleus.mirror import audit, identity, observations, status
from nucleus.mirror.hosts import listed_hosts, machines_of_hosts
from nucleus.states import power_of
from owners.portal.guide import guide, terms
from rocks.core.names import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

router = APIRouter(include_in_schema=False)
_LOG = logging.getLogger(__name__)

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
STATIC = Path(__file__).parent / "static"
_SHELL = string.Template((STATIC / "shell.html").read_text("utf-8"))
_ZONE = str(Path("/etc/localtime").resolve()).partition("/zoneinfo/")[2].removeprefix("posix/") or "UTC"
"""The site's time zone, by the name that browsers know."""
_MAX_LAUNCHER_BYTES, _MAX_DOTS = 16 << 10, 50
"""The most of a launcher.toml, and of a line of it: tomllib of Python 3.11 takes seconds for keys of many parts."""
_MAX_REFUSAL = 300
"""Characters of a refusal, which repeats what was given."""

_LEADING_ON = {
    "clusters": "Your clusters",
    "computesets": "Computesets and their charges",
    "images": "Images",
    "history": "History of requests and their results",
}
"""Page → text of its link on the page of an unknown address."""

_SOURCE = ("name", "observed_at", "rows", "failures", "error", "seconds")
_USER = ("username", "email", "name", "is_active", "is_operator", "projects")
_ENTRY = ("actor", "source_ip", "action", "target", "outcome")


def page(request: Request, title: str, body: str, script: str = "") -> Response:
    """A page in the shell of all, with nothing from elsewhere. `body` is HTML; `script` is the name of a module."""
    base = request.scope["state"]["base"]
    module = f'<script type="module" src="{base}/assets/{script}.js"></script>' if script else ""
    meanings = "".join(f"<dt>{html.escape(one)}<dd>{html.escape(text)}" for one, text in terms().items())
    text = _SHELL.substitute(
        title=html.escape(title), base=base, zone=_ZONE, script=module, body=body, terms=meanings
    )
    policy = {"Content-Security-Policy": _PAGE_POLICY if script else _POLICY}
    return HTMLResponse(text, headers={**policy, "Cross-Origin-Opener-Policy": "same-origin"})


def page_of_refusal(problem: Problem, request: Request) -> Response | None:
    """A page for a person whose browser followed a link; None for programs."""
    accept = request.headers.get("accept", "")
    if request.method not in ("GET", "HEAD") or "text/html" not in accept:
        return None
    kind = PROBLEMS[problem.code]
    links = "".join(
        f"<li><a href='{html.escape(address_of(request, f'/page/{name}'))}'>{text}</a>"
        for name, text in _LEADING_ON.items()
    )
    # of an unknown address, the title says it, and the rest is for programs
    reason = "" if problem.detail == NOTHING else f"<p>{html.escape(problem.detail)}.</p>"
    text = f"{reason}<p>Perhaps you want:</p><ul>{links}</ul>"
    answer = page(request, kind.title, text)
    answer.status_code = kind.status
    answer.headers.update({**headers_of(problem), "Cache-Control": "no-store"})
    return answer


@router.get("/")
async def root(request: Request) -> Response:
    """To the page of owners."""
    return Response(None, 303, {"Location": f"{request.scope['state']['base']}/page/clusters"})


@router.get("/page/help")
async def help_page(request: Request) -> Response:
    """The owner's guide."""
    return page(
        request, "Help", guide() or "<p>The owner's guide is not installed here: ask your site for it.</p>"
    )


@router.get("/page/{name}")
async def owners_and_operators(
    request: Request,
    name: Literal[
        "clusters", "cluster", "node", "computesets", "reservations", "images", "history", "tokens", "site"
    ],
) -> Response:
    """A page for people: it has no data; its script asks for them, in the name of who has signed in."""
    return page(request, name.capitalize(), (STATIC / f"{name}.html").read_text("utf-8"), name)


@router.post("/page/computesets/launcher")
def launcher(call: Known) -> Response:
    """What the form of a launcher.toml has, which is the body: its values; walltime in minutes."""
    body = call.request.scope["state"]["body"]
    try:
        if len(body) > _MAX_LAUNCHER_BYTES:
            raise UsageError(f"{FILE} is too large for this page: run `comet launch` with its folder")
        if any(line.count(b".") > _MAX_DOTS for line in body.splitlines()):
            raise UsageError(
                f"{FILE} has a line of more than {_MAX_DOTS} dots: run `comet launch` with its folder"
            )
        with charged(call):
            return json_answer(launcher_values(body.decode(), FILE))
    except (UnicodeDecodeError, UsageError) as error:
        reason = str(error)
        if len(reason) > _MAX_REFUSAL:
            reason = f"{reason[:_MAX_REFUSAL]} …"
        raise invalid(reason, [("#/launcher", reason)]) from None


@router.get("/page/site/state")
def site_state(call: Known) -> Response:
    """For operators: alarms, polls, hosts of the list, users, and the end of the audit log."""
    if not call.scope.is_operator:
        raise forbidden("only operators see the state of the site")
    with call.service.pool.transaction() as session:
        hosts = listed_hosts(session, call.service.configuration.batch.hosts)
        content: dict[str, Any] = {
            "alarms": status.alarm_lines(session, call.service.configuration),
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
        for host, cluster, name, state, number in machines_of_hosts(session, hosts):
            power = power_of(state)
            by_host[host].append({"cluster": cluster, "name": name, "power": power, "computeset": number})
    return json_answer(content)


@router.get("/problems/{slug}")
async def problem(request: Request, slug: str) -> Response:
    """What a problem means."""
    kind = PROBLEMS.get(slug)
    if kind is None:
        raise Problem("not-found", "there is no such problem; /docs lists them")
    return page(
        request,
        kind.title,
        f"<p>Code <code>{slug}</code>, HTTP status {kind.status}.</p><p>{html.escape(kind.meaning)}</p>",
    )


@router.get("/docs")
async def docs(request: Request) -> Response:
    """All requests, for people."""
    return page(request, "Interface for programs", _requests_and_problems(request.app))


@functools.lru_cache(1)
def _requests_and_problems(application: FastAPI) -> str:
    parts = "".join(_groups(application.openapi()))
    problems = "".join(
        f"<tr><td><code>{slug}</code><td>{kind.status}<td>{html.escape(kind.title)}. {html.escape(kind.meaning)}"
        for slug, kind in PROBLEMS.items()
    )
    return (
        '<p>The same for programs: <a href="openapi.json">openapi.json</a>. Send <code>Authorization: Bearer TOKEN'
        "</code>; with <code>Prefer: respond-async</code>, a change answers 202 with its operation.</p>"
        f"<h2>Requests</h2>{parts}<h2>Problems</h2><table><tr><th>Code<th>Status<th>Meaning{problems}</table>"
    )


def _groups(description: dict[str, Any]) -> Iterator[str]:
    """The requests by the noun that their paths begin with: each group is closed until somebody opens it."""
    groups: dict[str, list[str]] = {}
    for path, methods in description["paths"].items():
        noun = path.removeprefix("/v1").split("/")[1]
        groups.setdefault(noun, []).extend(_requests(path, methods))
    for noun, requests in groups.items():
        title = f"<h3><code>{html.escape(noun)}</code></h3> <span>{counted(len(requests), 'request')}</span>"
        yield f'<details class="card"><summary>{title}</summary>{"".join(requests)}</details>'


def _requests(path: str, methods: dict[str, Any]) -> Iterator[str]:
    for method, operation in methods.items():
        rows = "".join(
            f"<tr><td><code>{html.escape(one['name'])}</code><td>{one['in']}"
            f"<td>{html.escape(one.get('description', ''))}"
            for one in operation.get("parameters", ())
        )
        table = f"<table>{rows}</table>" if rows else ""
        yield (
            f'<section id="{operation["operationId"]}"><h4><code>{method.upper()} {html.escape(path)}</code></h4>'
            f"<p>{html.escape(operation.get('summary', ''))}. {html.escape(operation.get('description', ''))}</p>"
            f"{table}</section>"
        )
