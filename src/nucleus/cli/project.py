"""`nucleus project`"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.api.rules import LIMITS
from nucleus.cli.administration import (
    act_of,
    check_name,
    perform,
    print_table,
    record,
    the_project,
    the_user,
    unique,
)
from nucleus.mirror import identity
from rocks.core.errors import UserError

if TYPE_CHECKING:
    import argparse

    from nucleus.mirror.pool import Session

run = perform


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    made = act_of(
        parser,
        {
            "list": ("list the projects and their limits", _list),
            "add": ("add a project", _add),
            "member": ("put a user into a project, or out of it", _member),
            "limit": ("limit what a project may use; LIMIT=none removes a limit", _limit),
        },
    )
    for name in ("add", "member", "limit"):
        made[name].add_argument("project", metavar="PROJECT")
    made["member"].add_argument("user", metavar="USER")
    made["member"].add_argument("--remove", action="store_true", help="out of the project")
    text = "; ".join(f"{name}: {meaning}" for name, meaning in LIMITS.items())
    made["limit"].add_argument("limit", nargs="+", metavar="LIMIT=NUMBER", help=text)


def _list(arguments: argparse.Namespace, session: Session) -> None:
    rows = [
        (one.name, " ".join(f"{name}={value}" for name, value in sorted(one.limits.items())))
        for one in identity.list_projects(session)
    ]
    print_table(("PROJECT", "LIMITS"), rows)


def _add(arguments: argparse.Namespace, session: Session) -> None:
    name = check_name(arguments.project, "a project")
    with unique(f"the project {name}"):
        identity.add_project(session, name)
    record(session, "add_project", name)
    print(f"added {name}; its clusters: nucleus cluster assign CLUSTER {name}")


def _member(arguments: argparse.Namespace, session: Session) -> None:
    project, user = the_project(session, arguments.project), the_user(session, arguments.user)
    identity.set_member(session, user.id, project.id, not arguments.remove)
    record(session, "remove_member" if arguments.remove else "add_member", f"{project.name}/{user.username}")


def _limit(arguments: argparse.Namespace, session: Session) -> None:
    project = the_project(session, arguments.project)
    limits = dict(project.limits)
    for text in arguments.limit:
        name, _, value = text.partition("=")
        if name not in LIMITS:
            raise UserError(f"there is no limit {name!r}; there are: {', '.join(LIMITS)}")
        if value == "none":
            limits.pop(name, None)
        elif value.isascii() and value.isdigit() and len(value) < 16:
            limits[name] = int(value)
        else:
            raise UserError(f"{text!r}: a whole number or none is needed, as in {name}=10")
    identity.set_limits(session, project.id, limits)
    record(session, "set_limits", project.name, " ".join(arguments.limit))
