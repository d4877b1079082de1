"""Shapes of users, their projects and their tokens, as those of `nucleus.api.models`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StrictBool, StringConstraints

from nucleus.api.models import LINE, NO_BOOLEAN, NO_NUMBER, Answer, Moment, Request, Text
from nucleus.limits import DEFAULT_TOKEN_DAYS, MAX_TOKEN_DAYS


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


TokenScope = Literal["read", "power", "computeset", "console", "image", "rename", "cluster:destroy", "admin"]


class NewToken(Request):
    """What a token may do, and for how long."""

    scopes: list[TokenScope] = Field(
        default=["read", "power", "computeset", "console", "image", "rename"], max_length=8
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
