"""Users and projects: rows 29 to 32 of Table 1 (`decorators.route`)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, Field, StrictBool, StringConstraints
from starlette.responses import Response

from nucleus.api.access.authentication import demand_more_than_read
from nucleus.api.decorators import changes, reads, route
from nucleus.api.etags import conditional_json, json_answer
from nucleus.api.models import LINE, NO_BOOLEAN, NO_NUMBER, Answer, Moment, Request, Text
from nucleus.api.problems import Problem, unavailable
from nucleus.api.representations import Json, shaped, text_of
from nucleus.api.service import Call, Change, Reading
from nucleus.limits import DEFAULT_TOKEN_DAYS, MAX_TOKEN_DAYS
from nucleus.mirror import identity, usage

if TYPE_CHECKING:
    from nucleus.configuration import ResponsibilitySettings

# Shapes of users, their projects and their tokens, as those of `nucleus.api.models`.


class User(Answer):
    """A user."""

    username: str
    email: str
    first_name: str
    last_name: str
    is_operator: bool
    projects: list[str]
    acknowledged_at: Moment


Name = Annotated[str, StringConstraints(max_length=150, pattern=LINE)]


class SomeUserNames(Request):
    """What a user may change, in parts."""

    first_name: Name | None = None
    last_name: Name | None = None
    username: Text | None = Field(None, description="read only: ignored")
    email: Text | None = Field(None, description="read only: ignored")
    is_operator: StrictBool | None = Field(None, description="read only: ignored")
    projects: list[Text] | None = Field(None, description="read only: ignored")
    acknowledged_at: Annotated[AwareDatetime, NO_NUMBER] | None = Field(
        None, description="read only: ignored"
    )


class UserNames(SomeUserNames):
    """What a user may change."""

    first_name: Name
    last_name: Name


class Allocation(Answer):
    """An allocation that a project's clusters may charge: node minutes of all sets that charge it."""

    name: str
    charged_minutes: int = Field(
        description="of sets that have ended; where Slurm counts, what it has counted"
    )
    reserved_minutes: int = Field(
        description="of sets that have not ended: their nodes for their walltimes; with Slurm, what remains"
    )
    limit_minutes: int | None = Field(
        description="the project's limit; where Slurm counts, the account's; null: none"
    )
    left_minutes: int | None = Field(
        description="what the limit leaves; where Slurm counts, also those of the accounts above; null: no limit"
    )
    limited_by: str | None = Field(
        description="the account above this one whose limit leaves the least; null: its own does, or none"
    )


class Project(Answer):
    """A project."""

    name: str
    allocations: list[Allocation]


class Acknowledgement(Answer):
    """What an owner is responsible for, and whether that was acknowledged."""

    text: str
    version: str
    acknowledged_at: Moment
    is_required: bool


class Acknowledged(Request):
    """The version of the text that was read."""

    version: Text


TokenScope = Literal[
    "read", "power", "computeset", "console", "image", "rename", "cluster:reinstall", "cluster:destroy", "admin"
]  # fmt: skip


class NewToken(Request):
    """What a token may do, and for how long."""

    scopes: list[TokenScope] = Field(
        default=["read", "power", "computeset", "console", "image", "rename"], max_length=9
    )
    projects: list[Text] | None = Field(None, max_length=100, description="only these of the user's projects")
    days: Annotated[int, NO_BOOLEAN] = Field(DEFAULT_TOKEN_DAYS, ge=1, le=MAX_TOKEN_DAYS)
    note: Name = ""


class Token(Answer):
    """A token without its secret."""

    id: str
    scopes: list[str]
    projects: list[str] | None
    note: str
    created: Moment
    expires: Moment
    last_used: Moment
    revoked_at: Moment


class TokenWithSecret(Token):
    """A new token: the only answer with its text."""

    token: str
    limited_by: Literal["site", "credentials"] | None = Field(
        description="why it expires before the days that were asked for: the site's most_days, or the end of the"
        " credentials that it was made with"
    )
    most_days: int = Field(description="the site's limit for a token")


# The routes.


router = APIRouter()


@route(router, "GET /v1/user", "get_user", "You", User)
@reads
def get_user(reading: Reading) -> Response:
    """The caller, as the site knows them."""
    return conditional_json(reading.call.request, user_json(reading.call.caller.user))


@route(router, "PUT /v1/user", "replace_user_names", "Change your names", User)
@changes("read", "set_user")
def put_user(change: Change, body: UserNames) -> Response:
    """Both names are replaced. All else that `GET /v1/user` has is the site's: it may be sent, and is ignored."""
    return _set_names(change, body)


@route(router, "PATCH /v1/user", "change_user_names", "Change one of your names", User)
@changes("read", "set_user")
def patch_user(change: Change, body: SomeUserNames) -> Response:
    """A name that is left out stays."""
    return _set_names(change, body)


def _set_names(change: Change, body: SomeUserNames) -> Response:
    demand_more_than_read(change.caller)
    user = change.caller.user
    first = user.first_name if body.first_name is None else body.first_name
    last = user.last_name if body.last_name is None else body.last_name
    change.session.update("user", {"first_name": first, "last_name": last}, id=user.id)
    change.note(user.username, f"{user.first_name} {user.last_name}", f"{first} {last}")
    return json_answer(user_json(user._replace(first_name=first, last_name=last)))


@route(router, "GET /v1/project", "list_projects", "Your projects", list[Project])
@reads
def list_projects(reading: Reading) -> Response:
    """Projects, with the allocations of their clusters: what was charged, what is reserved, and the limit."""
    session, own = reading.session, reading.call.caller.projects
    known = identity.list_projects(session)
    projects = [one for one in known if reading.scope.is_operator or one.name in own]
    allocations: dict[int, list[Json]] = {one.id: [] for one in projects}
    limits = {one.id: one.limits["node_hours"] * 60 for one in projects if "node_hours" in one.limits}
    for project, name, charged, reserved, account in usage.allocation_usage(session, list(allocations)):
        limit = limits.get(project) if account is None else account.limit_minutes
        allocations[project].append(
            {
                "name": name,
                "charged_minutes": charged,
                "reserved_minutes": reserved,
                "limit_minutes": limit,
                "left_minutes": usage.left_minutes(limits.get(project), charged, reserved, account),
                "limited_by": None if account is None else account.limited_by,
            }
        )
    content = [{"name": one.name, "allocations": allocations[one.id]} for one in projects]
    return conditional_json(reading.call.request, content)


@route(
    router,
    "GET /v1/user/acknowledgement",
    "get_acknowledgement",
    "What you are responsible for",
    Acknowledgement,
)
@reads
def get_acknowledgement(reading: Reading) -> Response:
    """The text of the site, and whether you have acknowledged it."""
    return conditional_json(reading.call.request, _acknowledgement(reading.call))


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
    Acknowledgement,
)
@changes("read", "acknowledge")
def put_acknowledgement(change: Change, body: Acknowledged) -> Response:
    """Accept the terms: with the version that you have read, and credentials that may do more than read."""
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


def user_json(user: identity.User) -> Json:
    """`User`: the published four fields and what we add."""
    return shaped(User, user, projects=sorted(user.projects.values()))


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
