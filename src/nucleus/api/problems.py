"""Every answer that refuses a request: one table, and the two forms in which clients get it.

A remedy is a code with values, besides its sentence: `comet` prints its own command for the code. Sentences
for each client here were refused, since the server would know all commands; replacing text in `comet` breaks
with each change of a sentence.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.responses import Response

from nucleus.api.access.credentials import SCOPES
from nucleus.api.models import FORMS
from nucleus.limits import MAX_TOKEN_DAYS, MAX_WALLTIME_MINUTES
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi.exceptions import RequestValidationError
    from starlette.requests import HTTPConnection, Request

_LOG = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """HTTP status of a problem, its title and its explanation."""

    status: int
    title: str
    meaning: str

    @property
    def legacy_status(self) -> int:
        """Its status for clients of the published service: what that answers itself, and 400 for all others."""
        return 400 if self.status in (408, 409, 412, 413, 422, 423, 429) else self.status


PROBLEMS = {
    "invalid-request": Kind(400, "The request is not valid", "errors names each wrong value."),
    "not-authenticated": Kind(401, "Who you are is not known", "Send Authorization: Bearer TOKEN."),
    "missing-scope": Kind(403, "The token does not allow this", "Make a token with this scope."),
    "acknowledgement-needed": Kind(
        403,
        "The responsibility for clusters is not acknowledged",
        "Read /v1/user/acknowledgement, and PUT its version to it, before the first node is powered on.",
    ),
    "quota-exceeded": Kind(
        403, "The project's quota does not suffice", "Free some, or ask the site for more."
    ),
    "not-found": Kind(404, "There is nothing here", "Look at the path: /docs lists them."),
    "unknown-cluster": Kind(404, "There is no such cluster", "GET /v1/cluster lists yours."),
    "unknown-node": Kind(404, "There is no such node", "GET /v1/cluster/NAME lists its nodes."),
    "unknown-image": Kind(404, "There is no such image", "GET /v1/image lists them."),
    "unknown-set": Kind(404, "There is no such computeset", "GET /v1/computeset lists yours."),
    "unknown-site": Kind(404, "There is no such site", "GET /v1/reservation/site lists them."),
    "unknown-reservation": Kind(404, "There is no such reservation", "GET /v1/reservation lists yours."),
    "unknown-operation": Kind(404, "There is no such operation", "GET /v1/operation lists yours."),
    "unknown-token": Kind(404, "There is no such token", "GET /v1/token lists yours."),
    "method-not-allowed": Kind(405, "This cannot be done here", "The header Allow has what can."),
    "request-timeout": Kind(408, "The request did not arrive in time", "Send it again."),
    "ticket-used": Kind(
        403, "The ticket opens no console", "It opens one, once, within 30 seconds: ask for another ticket."
    ),
    "foreign-page": Kind(
        403,
        "A page of another site sent this",
        "Only pages of this service may open a console from a browser.",
    ),
    "node-busy": Kind(409, "The node is in a computeset or at work", "Wait for it, or choose another."),
    "node-syncing": Kind(423, "The node's disk is being transferred", "Wait until it is ready."),
    "node-disabled": Kind(409, "The site has disabled this node", "Ask the site's operators."),
    "not-in-running-set": Kind(409, "The node is in no running computeset", "Start a computeset with it."),
    "not-enough-nodes": Kind(409, "Too few nodes are available", "Ask for fewer, or wait."),
    "bad-allocation": Kind(
        422, "This allocation cannot be charged", "Name one of the cluster's allocations."
    ),
    "state-conflict": Kind(409, "This cannot be done in the present state", "detail has what comes first."),
    "name-conflict": Kind(409, "The name is taken", "Choose another."),
    "request-in-progress": Kind(409, "A request with this key is at work", "Send it again later."),
    "precondition-failed": Kind(412, "It has changed since you read it", "Read it again."),
    "too-large": Kind(413, "The request is too large", "detail has the limit."),
    "wrong-media-type": Kind(415, "The body has an unknown form", "Send application/json."),
    "key-reused": Kind(422, "The idempotency key belongs to another request", "Use a new key."),
    "rate-limited": Kind(429, "Too many requests", "Wait as long as Retry-After states."),
    "internal-error": Kind(500, "The service has a defect", "Report it with the request's id."),
    "backend-unavailable": Kind(503, "The site does not answer now", "Send the request again later."),
    "timeout": Kind(503, "The answer took too long", "Send it again later."),
}
"""Slug → consequences. The slug is the `code` of a problem, and the last part of its `type`."""

REMEDIES = {
    "list-projects": "GET /v1/project lists yours",
    "list-tokens": "GET /v1/token lists them",
    "list-operations": "GET /v1/operation lists them",
    "acknowledge": "read it with GET /v1/user/acknowledgement, and send its version with PUT; an operator can record it"
    " for you: nucleus user acknowledge {user}",
    "get-scope": "make a token of the scopes {scopes} with credentials that have them (POST /v1/token), or ask the"
    " site's operators for one: nucleus token create {user} --scope {scope}",
    "ask-for-scope": "ask the site's operators for a token that has it: nucleus token create {user} --scope {scope}",
    "eject-image": "take it out first: attach_iso with an empty iso_name; a machine that is on keeps it until it is"
    " off",
}
"""Code of a remedy → what a caller of this interface does. Programs such as `comet` have words of their own for it."""

_FAMILIES = {
    "user": "invalid-request",
    "state": "state-conflict",
    "busy": "backend-unavailable",
    "host": "backend-unavailable",
}


class Remedy(NamedTuple):
    """What the caller can do: a code of `REMEDIES`, and the values that its sentence needs."""

    code: str
    values: Mapping[str, str | list[str]] = {}


@dataclass
class Problem(Exception):  # noqa: N818 - RFC 9457 calls it so
    """A refused request. `detail` states what happened, to what, and what to do; `errors` = (JSON pointer, detail).

    With a `remedy` what was given as `detail` becomes the `reason`, and `detail` is that with the remedy's sentence.
    """

    code: str
    detail: str
    errors: Sequence[tuple[str, str]] = ()
    operation: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    remedy: Remedy | None = None
    reason: str = field(init=False)
    is_recorded: bool = field(init=False, default=False)
    """Whether the audit log has it."""

    def __post_init__(self) -> None:
        self.reason = self.detail
        if self.remedy is not None:
            self.detail += f"; {REMEDIES[self.remedy.code].format_map(self.remedy.values)}"

    def __str__(self) -> str:
        return self.detail


NOTHING = "there is nothing at this path; /docs lists what there is"
invalid = functools.partial(Problem, "invalid-request")
conflict = functools.partial(Problem, "state-conflict")
forbidden = functools.partial(Problem, "missing-scope")
unavailable = functools.partial(Problem, "backend-unavailable")
limited = functools.partial(Problem, "rate-limited")
"""The refusals that most modules know."""


def problem_of(error: RocksError, request: Request) -> Problem:
    """The problem of an error that the rules below raised. What names places of the site goes to the journal only."""
    code = _FAMILIES.get(error.family, "internal-error")
    headers = {"Retry-After": "2"} if error.family in ("busy", "host") else {}
    if error.family in ("user", "busy"):
        return Problem(code, str(error), headers=headers)
    name = request_id(request)
    _LOG.warning("request %s: %s", name, error)
    again = "send it again later"
    if request.method not in ("GET", "HEAD"):
        again = "whether it was done is not known: look at what it concerns before you send it again"
    detail = f"the request failed; {again}; if this lasts, ask the site's operators, and name request {name}"
    return Problem(code, detail, headers=headers)


_VALUES = {
    "walltime_mins": f"it must be a whole number of minutes, from 1 to {MAX_WALLTIME_MINUTES}; 90 is an hour and a"
    " half",
    "count": "it must be a whole number of nodes, from 1 to 100000",
    "days": f"it must be a whole number of days, from 1 to {MAX_TOKEN_DAYS}",
    **dict.fromkeys(
        ("begin", "end", "until", "from", "to"),
        "it must be a moment with its zone, such as 2026-12-01T10:00:00Z",
    ),
    "scopes[]": f"it must be one of {', '.join(SCOPES[:-1])}; {SCOPES[-1]} is for the site's operators",
}
"""Field → what is right, where that is more than the kinds of its errors say; with [] for an entry of a list."""

_ERRORS = {
    "missing": "it is missing",
    "json_invalid": "it is no JSON: {error}",
    "extra_forbidden": "there is no such field",
    "string_type": "it must be a text",
    "string_unicode": "it must be a text",
    "string_pattern_mismatch": "it must be {form}",
    "string_too_long": "it must have at most {max_length} characters",
    "string_too_short": "it must have at least {min_length} characters",
    "int_type": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "bool_parsing": "it must be true or false",
    "greater_than_equal": "it must be at least {ge}",
    "less_than_equal": "it must be at most {le}",
    "literal_error": "it must be one of {expected}",
    "list_type": "it must be a list",
    "dict_type": "it must be an object",
    "model_type": "it must be an object",
    "model_attributes_type": "it must be an object",
    "too_long": "it must have at most {max_length} entries",
    "too_short": "it must have at least {min_length} entries",
}
"""Kind of an error of the validator → what is right."""


def invalid_values(error: RequestValidationError) -> Problem:
    """The refusal of values of another shape: for each its place, and what is right in words."""
    found: dict[str, list[str]] = {}
    for one in error.errors()[:20]:
        # where it is no JSON, the second part is a character's number
        location = one["loc"][:1] if one["type"] == "json_invalid" else one["loc"]
        place = _place(location, error.body, one["type"] == "missing")
        context = one.get("ctx", {})
        form = FORMS.get(context.get("pattern", ""), "of another form")
        text = (
            _ERRORS[one["type"]].format(form=form, **context) if one["type"] in _ERRORS else str(one["msg"])
        )
        texts = found.setdefault(_pointer(place), [])
        name = place[-1] if isinstance(place[-1], str) else f"{place[-2]}[]"
        texts += [it for it in [_VALUES.get(name, text)] if it not in texts]
    errors = [(pointer, ", or ".join(texts)) for pointer, texts in found.items()]
    detail = "; ".join(f"{pointer.removeprefix('#/') or 'the body'}: {text}" for pointer, text in errors[:3])
    return invalid(f"the request is not valid: {detail}", errors)


def _place(location: Sequence[int | str], body: Any, is_missing: bool) -> list[int | str]:
    """The location without the names of alternatives (`int`, `constrained-str`), which are no places of the body."""
    if location[0] != "body":
        return list(location)
    place, value = list(location[:1]), body
    for number, part in enumerate(location[1:], 2):
        is_absent = is_missing and number == len(location)
        if isinstance(value, dict) and (part in value or is_absent):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif not isinstance(part, int):
            continue
        place.append(part)
    return place


def _pointer(place: Sequence[int | str]) -> str:
    """The place of a value: of the body as a JSON pointer, of others with their kind."""
    parts = [re.sub("[^\x20-\x7e]", "?", str(part))[:64] for part in place]
    return "#/" + "/".join(parts[1:] if parts[0] == "body" else parts)


def request_id(request: HTTPConnection) -> str:
    """The number of the request, which the access log has, too."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def is_legacy(request: HTTPConnection) -> bool:
    """Whether the client knows only the published service: it asks neither for operations nor for problems."""
    return not wants_operation(request) and MEDIA_TYPE not in ",".join(request.headers.getlist("accept"))


def wants_operation(request: HTTPConnection) -> bool:
    """Whether the client sent `Prefer: respond-async`."""
    preferences = ",".join(request.headers.getlist("prefer")).split(",")
    return any(one.split(";")[0].strip().lower() == "respond-async" for one in preferences)


def headers_of(problem: Problem) -> dict[str, str]:
    """The headers of its answer: a 401 names a way to sign in."""
    is_unknown = PROBLEMS[problem.code].status == 401
    return {**({"WWW-Authenticate": 'Bearer realm="nucleus"'} if is_unknown else {}), **problem.headers}


def answer_of(problem: Problem, request: HTTPConnection) -> Response:
    """The answer: problem details, or for a client of the published service a JSON string."""
    kind = PROBLEMS[problem.code]
    headers = headers_of(problem)
    if is_legacy(request):
        text = json.dumps(problem.detail)
        return Response(text, kind.legacy_status, headers, "application/json")
    body: dict[str, object] = {
        "type": f"{request.scope.get('state', {}).get('base', '')}/problems/{problem.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "instance": f"urn:request:{request_id(request)}",
        "code": problem.code,
    }
    if problem.errors:
        body["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in problem.errors]
    if problem.operation:
        body["operation"] = problem.operation
    if problem.remedy:
        body["reason"] = problem.reason
        body["remedy"] = {**problem.remedy.values, "code": problem.remedy.code}
    return Response(json.dumps(body), kind.status, headers, MEDIA_TYPE)
