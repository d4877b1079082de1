"""The installations of physical hosts: number, state, and the last report.

The number is random, 64 bits, in a table that local users cannot read: it is in the plan and in the addresses
of reports and profile, so no user of the host can report in its name. It stays until the host has reported
`installed`, so an interrupted installer recognises its own disk. Certificates were refused: a host has none
before its plan.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from rocks.database.sets import in_order
from rocks.install.installation.states import UNFINISHED, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_NUMBER_BYTES = 8
_UNFINISHED = sorted(state.value for state in UNFINISHED)


class Installation(NamedTuple):
    """An installation: its number of 16 hexadecimal digits, its state since a time in UTC, the last report or ''."""

    number: str
    state: State
    since: datetime
    report: str


def begin_installations(database: Database, names: Sequence[str], now: datetime) -> None:
    """Let the physical hosts among the names wait for their installation.

    One that has not ended keeps its number, by which the installer recognises its own disk.
    """
    rows = database.rows(
        "SELECT n.ID FROM nodes n LEFT JOIN vm_nodes v ON v.Node = n.ID"
        " WHERE v.Node IS NULL AND n.Name IN %s",
        [names],
    )
    states = ", ".join(f"'{state}'" for state in _UNFINISHED)
    database.insert_many(
        "INSERT INTO sec_installations (Node, Number, State, Since) VALUES",
        [(row[0], secrets.token_hex(_NUMBER_BYTES), State.WAITING.value, now) for row in rows],
        # assigned from left to right: the state must come last
        f"ON DUPLICATE KEY UPDATE Number = IF(State IN ({states}), Number, VALUES(Number)), Report = '',"
        " Since = VALUES(Since), State = VALUES(State)",
    )


def forget_waiting(database: Database, names: Sequence[str]) -> None:
    """Forget the installations of these hosts that no installer has begun."""
    database.execute(
        "DELETE i FROM sec_installations i JOIN nodes n ON n.ID = i.Node WHERE i.State = %s AND n.Name IN %s",
        [State.WAITING.value, names],
    )


def find_installation(database: Database, name: str, lock: bool = False) -> Installation | None:
    """The installation of a host; None when it has none. With `lock`, others wait until the end of the transaction."""
    rows = database.rows(
        "SELECT i.Number, i.State, i.Since, i.Report FROM sec_installations i JOIN nodes n ON n.ID = i.Node"
        f" WHERE n.Name = %s{' FOR UPDATE' if lock else ''}",
        [name],
    )
    return _installation(rows[0]) if rows else None


def list_installations(database: Database, names: Sequence[str]) -> list[tuple[str, Installation]]:
    """(host, installation) of the named hosts that have one, in their order."""
    rows = database.rows(
        "SELECT n.Name, i.Number, i.State, i.Since, i.Report FROM sec_installations i JOIN nodes n ON n.ID = i.Node"
        " WHERE n.Name IN %s",
        [names],
    )
    return [(str(row[0]), _installation(row[1:])) for row in in_order(rows, names)]


def record_report(database: Database, name: str, state: State, report: str, now: datetime) -> None:
    """Record the last report and the state; the time is that of the last change of state."""
    database.execute(
        # of one table, whose values are assigned from left to right
        "UPDATE sec_installations SET Since = IF(State = %s, Since, %s), State = %s, Report = %s"
        " WHERE Node = (SELECT n.ID FROM nodes n WHERE n.Name = %s)",
        [state.value, now, state.value, report, name],
    )


def _installation(row: Sequence[object]) -> Installation:
    number, state, since, report = row
    assert isinstance(since, datetime)
    return Installation(str(number), State(str(state)), since, str(report))
