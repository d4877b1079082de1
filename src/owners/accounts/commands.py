"""`nucleus user`, `nucleus project` and `nucleus token`: who may use the service, and what."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nucleus.api.access.authentication import store_token
from nucleus.api.access.credentials import OWNER_SCOPES, SCOPES
from nucleus.api.representations import text_of
from nucleus.cli.administration import (
    Action,
    check_name,
    declare,
    perform,
    print_table,
    record,
    the_project,
    the_user,
    unique,
)
from nucleus.limits import DEFAULT_TOKEN_DAYS, LIMITS, MAX_TOKEN_DAYS
from nucleus.mirror import identity, usage
from rocks.core.errors import UserError
from rocks.core.names import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from nucleus.mirror.pool import Session

run = perform
_EMAIL = re.compile(r"(?=.{1,254}$)[^@\s]+@[^@\s]+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of the command that the parser is of."""
    declare(parser, _COMMANDS[parser.prog.rpartition(" ")[2]])


def _list_users(_: Any, session: Session) -> None:
    rows = [
        (*row[:3], "yes" if row[3] else "no", "yes" if row[4] else "no", row[5])
        for row in identity.list_users(session)
    ]
    print_table(("USER", "EMAIL", "NAME", "ACTIVE", "OPERATOR", "PROJECTS"), rows)


def _add_user(given: Any, session: Session) -> str:
    name = check_name(given.user, "a user")
    _check_email(given.email)
    projects = [the_project(session, project) for project in given.project]
    with unique(f"the user {name}"):
        number = identity.add_user(
            session, name, given.email, given.first_name, given.last_name, given.operator
        )
    for project in projects:
        identity.set_member(session, number, project.id, True)
    record(session, "add_user", name, "operator" if given.operator else ",".join(given.project))
    return f"added {name}; a token: nucleus token create {name}"


def _check_email(email: str) -> None:
    """UserError for text that cannot be an e-mail address. An empty one is none, which a user need not have."""
    if email and not _EMAIL.fullmatch(email):
        raise UserError(
            f"{printable(email)} is no e-mail address: NAME@DOMAIN is needed, at most 254 characters"
        )


def _set_email(given: Any, session: Session) -> str:
    user = the_user(session, given.user)
    _check_email(given.email)
    session.update("user", {"email": given.email}, id=user.id)
    record(session, "set_email", user.username, given.email)
    return f"the e-mail address of {user.username} is {given.email or 'none'}"


def _admit_user(given: Any, session: Session) -> str:
    user = the_user(session, given.user)
    session.update("user", {"is_active": given.action == "enable"}, id=user.id)
    record(session, f"{given.action}_user", user.username)
    if given.action == "enable":
        return f"{user.username} is admitted; a token: nucleus token create {user.username}"
    identity.revoke_credentials(session, user.id)
    return f"{user.username} is refused, and has no token any more{_sets_that_go_on(session, user)}"


def _sets_that_go_on(session: Session, user: identity.User, project_id: int | None = None) -> str:
    """A line more for them: they are the project's, which may need them; who shuts somebody out would think that they
    have ended."""
    numbers = usage.living_sets_of(session, user.username, project_id)
    if not numbers:
        return ""
    return (
        f"\ncomputesets that {user.username} started go on, and are charged: {', '.join(map(str, numbers))}; an "
        f"operator ends one by comet terminate {numbers[0]}"
    )


def _acknowledge(given: Any, session: Session) -> str:
    user = the_user(session, given.user)
    identity.acknowledge(session, user.id)
    record(session, "acknowledge", user.username)
    return f"{user.username} has acknowledged the responsibility for clusters"


def _list_projects(_: Any, session: Session) -> None:
    rows = [(one.name, _limits_text(one.limits)) for one in identity.list_projects(session)]
    print_table(("PROJECT", "LIMITS"), rows)


def _limits_text(limits: Mapping[str, int]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(limits.items()))


def _add_project(given: Any, session: Session) -> str:
    name = check_name(given.project, "a project")
    with unique(f"the project {name}"):
        identity.add_project(session, name)
    record(session, "add_project", name)
    return f"added {name}; its clusters: nucleus cluster assign CLUSTER {name}"


def _set_member(given: Any, session: Session) -> str:
    project, user = the_project(session, given.project), the_user(session, given.user)
    identity.set_member(session, user.id, project.id, not given.remove)
    record(session, "remove_member" if given.remove else "add_member", f"{project.name}/{user.username}")
    if not given.remove:
        return f"{user.username} is a member of {project.name}"
    return f"{user.username} is no member of {project.name}{_sets_that_go_on(session, user, project.id)}"


def _set_leader(given: Any, session: Session) -> str:
    project = the_project(session, given.project)
    user = None if given.user == "none" else the_user(session, given.user)
    session.update("project", {"leader_id": None if user is None else user.id}, id=project.id)
    record(session, "set_leader", project.name, given.user)
    return f"{'nobody' if user is None else user.username} leads {project.name}"


def _limit(given: Any, session: Session) -> str:
    project = the_project(session, given.project)
    limits = dict(project.limits)
    for text in given.limit:
        name, _, value = text.partition("=")
        if name not in LIMITS:
            raise UserError(f"there is no limit {name!r}; there are: {', '.join(LIMITS)}")
        if value == "none":
            limits.pop(name, None)
        elif value.isascii() and value.isdigit() and len(value) < 16:
            limits[name] = int(value)
        else:
            raise UserError(f"{text!r}: a whole number or none is needed, as in {name}=10")
    session.update("project", {"limits": limits}, id=project.id)
    record(session, "set_limits", project.name, " ".join(given.limit))
    return f"{project.name} has {_limits_text(limits) or 'no limits'}"


def _list_tokens(given: Any, session: Session) -> None:
    user = the_user(session, given.user).id if given.user else None
    names = dict(session.rows("SELECT id, username FROM user"))
    rows = [
        (one.id, names.get(one.user_id), " ".join(one.scopes), text_of(one.expires), text_of(one.last_used),
         text_of(one.revoked_at), one.note)
        for one in identity.tokens_of(session, user)
    ]  # fmt: skip
    print_table(("TOKEN", "USER", "SCOPES", "EXPIRES", "LAST USED", "REVOKED", "NOTE"), rows)


def _create_token(given: Any, session: Session) -> str:
    user = the_user(session, given.user)
    if not 1 <= given.days <= MAX_TOKEN_DAYS:
        raise UserError(f"a token lasts 1 to {MAX_TOKEN_DAYS} days, not {given.days}")
    scopes = given.scope or (SCOPES if user.is_operator else OWNER_SCOPES)
    if "admin" in scopes and not user.is_operator:
        raise UserError(f"{user.username} is no operator, whom the scope admin gives nothing; leave it out")
    own = {name.casefold(): number for number, name in user.projects.items()}
    absent = [name for name in given.project or () if name.casefold() not in own]
    if absent:
        raise UserError(f"{user.username} is not in the project {absent[0]!r}; nucleus project list")
    projects = tuple(own[name.casefold()] for name in given.project) if given.project else None
    expires = datetime.now(UTC) + timedelta(days=given.days)
    token, new = store_token(session, user.id, scopes, projects, expires, given.note)
    record(session, "create_token", token.id, " ".join(token.scopes))
    return new.text


def _revoke_token(given: Any, session: Session) -> str:
    if not identity.revoke_token(session, given.token, None):
        raise UserError(f"there is no usable token {given.token!r}; nucleus token list")
    record(session, "revoke_token", given.token)
    return f"the token {given.token} is revoked"


_TEXT = {"default": "", "metavar": "TEXT"}
_SCOPE = {
    "action": "append",
    "choices": SCOPES,
    "metavar": "SCOPE",
    "help": f"repeated; of {', '.join(SCOPES)}",
}
_LIMITS = "; ".join(f"{name}: {meaning}" for name, meaning in LIMITS.items())
_USER_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((f"--{name}", _TEXT) for name in ("email", "first-name", "last-name")),
    ("--project", {"action": "append", "default": [], "metavar": "PROJECT", "help": "repeated"}),
    ("--operator", {"action": "store_true", "help": "sees and may change everything"}),
)
_DAYS = f"how long it lasts ({DEFAULT_TOKEN_DAYS})"
_TOKEN_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--scope", _SCOPE),
    ("--project", {"action": "append", "metavar": "PROJECT", "help": "only these of the user's; repeated"}),
    ("--days", {"type": int, "default": DEFAULT_TOKEN_DAYS, "metavar": "DAYS", "help": _DAYS}),
    ("--note", _TEXT),
)

_COMMANDS = {
    "user": {
        "list": Action("list the users", _list_users),
        "add": Action("add a user", _add_user, ("user", *_USER_OPTIONS)),
        "email": Action("change a user's e-mail address; '' removes it", _set_email, ("user", "email")),
        "disable": Action(
            "refuse a user from now on, whose tokens end at once; no user is removed: the audit log names them",
            _admit_user,
            ("user",),
        ),
        "enable": Action("admit a user again, who needs a new token", _admit_user, ("user",)),
        "acknowledge": Action(
            "record that the user has acknowledged the responsibility for clusters", _acknowledge, ("user",)
        ),
    },
    "project": {
        "list": Action("list the projects and their limits", _list_projects),
        "add": Action("add a project", _add_project, ("project",)),
        "member": Action(
            "put a user into a project, or out of it",
            _set_member,
            ("project", "user", ("--remove", {"action": "store_true", "help": "out of the project"})),
        ),
        "leader": Action(
            "state who leads a project, and acknowledges for it; none: nobody",
            _set_leader,
            ("project", "user"),
        ),
        "limit": Action(
            "limit what a project may use; LIMIT=none removes a limit",
            _limit,
            ("project", ("limit", {"nargs": "+", "metavar": "LIMIT=NUMBER", "help": _LIMITS})),
        ),
    },
    "token": {
        "list": Action(
            "list the tokens of a user, or of all",
            _list_tokens,
            (("user", {"nargs": "?", "metavar": "USER"}),),
        ),
        "create": Action(
            "make a token for a user, and print it: it is not stored and cannot be printed again",
            _create_token,
            ("user", *_TOKEN_OPTIONS),
        ),
        "revoke": Action("end a token", _revoke_token, (("token", {"metavar": "ID"}),)),
    },
}
