"""What the commands of administrators share: actions, the database, names, a record of each change, and tables."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.mirror import audit, clusters, identity
from nucleus.mirror.driver import DuplicateError
from nucleus.mirror.events import NEWS
from nucleus.mirror.pool import Pool, Session
from nucleus.records import SYSTEM
from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.terminal import one_line

if TYPE_CHECKING:
    import argparse

    from nucleus.configuration import Configuration, DatabaseSettings
    from nucleus.mirror.identity import Project, User
    from nucleus.records import Cluster

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")


class Action(NamedTuple):
    """An action of a command: its line of help, what does it, and its arguments: a name, or a name and its settings.

    `act` returns the lines that say what it has changed.
    """

    line: str
    act: Callable[[Any, Session], str | None]
    arguments: Sequence[str | tuple[str, dict[str, Any]]] = ()


def declare(parser: argparse.ArgumentParser, actions: dict[str, Action]) -> None:
    """Declare the actions of a command."""
    below = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, (line, act, arguments) in actions.items():
        made = below.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
        made.set_defaults(act=act)
        for one in arguments:
            argument, settings = (one, {"metavar": one.upper()}) if isinstance(one, str) else one
            made.add_argument(argument, **settings)


@contextlib.contextmanager
def session_of(configuration: Configuration) -> Iterator[Session]:
    """One transaction, as this account comes to the schema."""
    with contextlib.closing(Pool(database_of(configuration))) as pool, pool.transaction() as session:
        yield session


def database_of(configuration: Configuration) -> DatabaseSettings:
    """How this account comes to the schema: root as the server's root, others as the user of the settings."""
    settings = configuration.database
    return dataclasses.replace(settings, user="root") if os.geteuid() == 0 else settings


def perform(arguments: argparse.Namespace, configuration: Configuration) -> int:
    """Do the action in one transaction, with a record in the audit log when it changes something; print what it did."""
    with session_of(configuration) as session:
        done: str | None = arguments.act(arguments, session)
    NEWS.give()
    if done is not None:
        print(done)
    return 0


def record(session: Session, action: str, target: str, after: str | None = None) -> None:
    """A record of the audit log; the actor is the account of this machine."""
    account = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    audit.record(session, audit.Entry(f"{account} (nucleus)", action, target, after=after))


def check_name(name: str, what: str) -> str:
    """The name. UserError when it cannot be one."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{printable(repr(name))} cannot name {what}: letters, digits and _ . @ -, at most 64, the first no sign"
        )
    if name.casefold() == "none":
        raise UserError(f"{name} cannot name {what}: the commands take it for nobody; choose another name")
    return name


@contextlib.contextmanager
def unique(what: str) -> Iterator[None]:
    """StateError when the block stores a name that is taken."""
    try:
        yield
    except DuplicateError:
        raise StateError(f"{what} is there already") from None


def the_user(session: Session, name: str) -> User:
    """The user. UserError when there is none."""
    found = identity.user_by_name(session, name)
    if found is None:
        raise UserError(f"there is no user {printable(repr(name))}; nucleus user list")
    return found


def the_project(session: Session, name: str) -> Project:
    """The project. UserError when there is none."""
    found = identity.project_by_name(session, name)
    if found is None:
        given = printable(name)
        raise UserError(f"there is no project {given!r}; nucleus project list, nucleus project add {given}")
    return found


def the_cluster(session: Session, name: str) -> Cluster:
    """The cluster. UserError when there is none."""
    found = clusters.find_cluster(session, SYSTEM, name, lock=True)
    if found is None:
        raise UserError(
            f"there is no cluster {printable(repr(name))}; nucleus cluster list prints all; a new one of rocks list"
            " cluster is there within a minute"
        )
    return found


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as their longest cell; what is not printable is printed as its escape."""
    texts = [list(header), *([("" if cell is None else one_line(str(cell))) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    for row in texts:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
