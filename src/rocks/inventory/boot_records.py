"""How hosts boot: the next boot of each, and the boot actions (`bootaction`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.database.sets import in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def set_boot_action(database: Database, names: Sequence[str], action: str) -> None:
    """Make `action` (`os`, `run` or `install`) the next boot of the named hosts; one statement."""
    database.execute(
        "INSERT INTO boot (Node, Action) SELECT n.ID, %s FROM nodes n WHERE n.Name IN %s"
        " ON DUPLICATE KEY UPDATE Action = VALUES(Action)",
        [action, names],
    )


def list_boots(database: Database, names: Sequence[str]) -> list[tuple[object, ...]]:
    """(host, action or None) of the named hosts, in their order."""
    rows = database.rows(
        "SELECT n.Name, b.Action FROM nodes n LEFT JOIN boot b ON b.Node = n.ID WHERE n.Name IN %s",
        [names],
    )
    return in_order(rows, names)


def list_boot_actions(database: Database) -> list[tuple[object, ...]]:
    """(action, kernel, ramdisk, arguments) of all boot actions, sorted by name."""
    return database.rows("SELECT Action, Kernel, Ramdisk, Args FROM bootaction ORDER BY Action")


def existing_boot_action(database: Database, action: str) -> str:
    """The stored spelling of a boot action; case is ignored. UserError when there is none."""
    for (stored,) in database.rows("SELECT Action FROM bootaction WHERE Action = %s", (action,)):
        if str(stored).lower() == action.lower():  # the database also finds `os` for "os " and for "ós"
            return str(stored)
    raise UserError(f'action "{printable(action)}" does not exist; rocks list bootaction shows all actions')


def put_boot_action(
    database: Database, action: str, kernel: str | None, ramdisk: str | None, arguments: str | None
) -> None:
    """Add a boot action, or replace kernel, ramdisk and arguments of an existing one."""
    database.execute(
        "INSERT INTO bootaction (Action, Kernel, Ramdisk, Args) VALUES (%s, %s, %s, %s) ON DUPLICATE KEY UPDATE"
        " Kernel = VALUES(Kernel), Ramdisk = VALUES(Ramdisk), Args = VALUES(Args)",
        (action, kernel, ramdisk, arguments),
    )


def first_host_with(database: Database, actions: Sequence[str]) -> tuple[str, str] | None:
    """(boot action, host) of one host that runs or is installed with one of the actions; None when there is none."""
    rows = database.rows(
        "SELECT b.Action, n.Name FROM bootaction b JOIN nodes n ON b.Action IN (n.RunAction, n.InstallAction)"
        " WHERE b.Action IN %s ORDER BY n.ID LIMIT 1",
        [actions],
    )
    return (str(rows[0][0]), str(rows[0][1])) if rows else None


def delete_boot_actions(database: Database, actions: Sequence[str]) -> None:
    """Remove the boot actions."""
    database.execute("DELETE FROM bootaction WHERE Action IN %s", [actions])
