"""Users and projects: rows 29 to 32 of Table 1 (`decorators.route`)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from nucleus.api.access.authentication import demand_more_than_read
from nucleus.api.decorators import changes, reads, route
from nucleus.api.etags import conditional_json, json_answer
from nucleus.api.problems import Problem, unavailable
from nucleus.api.representations import Json, shaped, text_of
from nucleus.api.service import Call, Change, Reading
from nucleus.mirror import identity, usage
from nucleus.mirror.identity import User
from owners.accounts import people

if TYPE_CHECKING:
    from nucleus.configuration import ResponsibilitySettings

router = APIRouter()


@route(router, "GET /v1/user", "get_user", "You", people.User)
@reads
def get_user(question: Reading) -> Response:
    """The caller, as the site knows them."""
    return conditional_json(question.call.request, user_json(question.call.caller.user))


@route(router, "PUT /v1/user", "replace_user_names", "Change your names", people.User)
@changes("read", "set_user")
def put_user(change: Change, body: people.UserNames) -> Response:
    """Both names are replaced. All else that `GET /v1/user` has is the site's: it may be sent, and is ignored."""
    return _set_names(change, body)


@route(router, "PATCH /v1/user", "change_user_names", "Change one of your names", people.User)
@changes("read", "set_user")
def patch_user(change: Change, body: people.SomeUserNames) -> Response:
    """A name that is left out stays."""
    return _set_names(change, body)


def _set_names(change: Change, body: people.SomeUserNames) -> Response:
    demand_more_than_read(change.caller)
    user = change.caller.user
    first = user.first_name if body.first_name is None else body.first_name
    last = user.last_name if body.last_name is None else body.last_name
    change.session.update("user", {"first_name": first, "last_name": last}, id=user.id)
    change.note(user.username, f"{user.first_name} {user.last_name}", f"{first} {last}")
    return json_answer(user_json(user._replace(first_name=first, last_name=last)))


@route(router, "GET /v1/project", "list_projects", "Your projects", list[people.Project])
@reads
def list_projects(question: Reading) -> Response:
    """With the allocations of their clusters: what was charged, what is reserved, and the limit."""
    session, own = question.session, question.call.caller.projects
    known = identity.list_projects(session)
    projects = [one for one in known if question.scope.is_operator or one.name in own]
    allocations: dict[int, list[Json]] = {one.id: [] for one in projects}
    limits = {one.id: one.limits["node_hours"] * 60 for one in projects if "node_hours" in one.limits}
    for project, name, charged, reserved, account in usage.allocation_usage(session, list(allocations)):
        limit = limits.get(project) if account is None else account.limit_minutes
        if account is None:
            left = None if limit is None else limit - charged - reserved
        else:  # less what waits
            left = (
                None
                if account.left_minutes is None
                else account.left_minutes - reserved + account.running_minutes
            )
        allocations[project].append(
            {
                "name": name,
                "charged_minutes": charged,
                "reserved_minutes": reserved,
                "limit_minutes": limit,
                "left_minutes": None if left is None else max(0, left),
                "limited_by": None if account is None else account.limited_by,
            }
        )
    content = [{"name": one.name, "allocations": allocations[one.id]} for one in projects]
    return conditional_json(question.call.request, content)


@route(
    router,
    "GET /v1/user/acknowledgement",
    "get_acknowledgement",
    "What you are responsible for",
    people.Acknowledgement,
)
@reads
def get_acknowledgement(question: Reading) -> Response:
    """The text of the site, and whether you have acknowledged it."""
    return conditional_json(question.call.request, _acknowledgement(question.call))


def _acknowledgement(call: Call) -> Json:
    settings = call.service.configuration.responsibility
    text, version = responsibility(settings)
    return {
        "text": text,
        "version": version,
        "acknowledged_at": text_of(call.caller.user.acknowledged_at),
        "is_required": settings.required,
    }


@route(
    router,
    "PUT /v1/user/acknowledgement",
    "acknowledge",
    "Acknowledge what you are responsible for",
    people.Acknowledgement,
)
@changes("read", "acknowledge")
def put_acknowledgement(change: Change, body: people.Acknowledged) -> Response:
    """With the version of the text that you have read, and credentials that may do more than read."""
    demand_more_than_read(change.caller)
    content = _acknowledgement(change.call)
    if body.version != content["version"]:
        raise Problem(
            "precondition-failed",
            "the text has changed since you read it: read it again, and send its version",
        )
    identity.acknowledge(change.session, change.caller.user.id)
    change.note(change.caller.actor, after=body.version)
    return json_answer({**content, "acknowledged_at": text_of(change.call.now)})


def user_json(user: User) -> Json:
    """`people.User`: the published four fields and what we add."""
    return shaped(people.User, user, projects=sorted(user.projects.values()))


DEFAULT_TEXT = """\
You administer the virtual clusters of your projects yourself. You are responsible for what runs on them: for the
systems that you install and their updates, for the accounts that you make and the keys that you give away, for what
the nodes serve to the network, and for keeping the rules of this site. The site is responsible for the hosts, the
storage and the network below. It may stop a node that harms others, and informs you then.
"""


def responsibility(settings: ResponsibilitySettings) -> tuple[str, str]:
    """The text that owners acknowledge, and its version. Problem when the site's file cannot be read."""
    text = DEFAULT_TEXT
    if settings.text_file:
        try:
            text = Path(settings.text_file).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise unavailable(
                f"the site's {Path(settings.text_file).name} cannot be read; report it to its operators"
            ) from None
    return text, hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
