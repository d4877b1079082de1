"""`nucleus user`"""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    import argparse

    from nucleus.mirror.pool import Session

run = perform


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    made = act_of(
        parser,
        {
            "list": ("list the users", _list),
            "add": ("add a user", _add),
            "disable": ("admit a user no more: tokens end at once", _disable),
            "enable": ("admit a user again", _enable),
            "acknowledge": (
                "record that the user has acknowledged the responsibility for clusters",
                _acknowledge,
            ),
        },
    )
    for name in ("add", "disable", "enable", "acknowledge"):
        made[name].add_argument("user", metavar="USER")
    for option in ("email", "first-name", "last-name"):
        made["add"].add_argument(f"--{option}", default="", metavar="TEXT")
    made["add"].add_argument("--project", action="append", default=[], metavar="PROJECT", help="repeated")
    made["add"].add_argument("--operator", action="store_true", help="sees and may change everything")


def _list(arguments: argparse.Namespace, session: Session) -> None:
    rows = [
        (*row[:3], "yes" if row[3] else "no", "yes" if row[4] else "no", row[5])
        for row in identity.list_users(session)
    ]
    print_table(("USER", "EMAIL", "NAME", "ACTIVE", "OPERATOR", "PROJECTS"), rows)


def _add(arguments: argparse.Namespace, session: Session) -> None:
    name = check_name(arguments.user, "a user")
    projects = [the_project(session, project) for project in arguments.project]
    with unique(f"the user {name}"):
        number = identity.add_user(
            session, name, arguments.email, arguments.first_name, arguments.last_name, arguments.operator
        )
    for project in projects:
        identity.set_member(session, number, project.id, True)
    record(session, "add_user", name, "operator" if arguments.operator else ",".join(arguments.project))
    print(f"added {name}; a token: nucleus token create {name}")


def _disable(arguments: argparse.Namespace, session: Session) -> None:
    user = the_user(session, arguments.user)
    identity.set_active(session, user.id, False)
    record(session, "disable_user", user.username)


def _enable(arguments: argparse.Namespace, session: Session) -> None:
    user = the_user(session, arguments.user)
    identity.set_active(session, user.id, True)
    record(session, "enable_user", user.username)


def _acknowledge(arguments: argparse.Namespace, session: Session) -> None:
    user = the_user(session, arguments.user)
    identity.acknowledge(session, user.id)
    record(session, "acknowledge", user.username)
