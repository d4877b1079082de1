"""The lock of names, places and addresses of the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rocks.database.connection import Database

LOCK = "names and addresses of the site"
LOCK_SECONDS = 30.0


def lock_inventory(database: Database) -> None:
    """Lock names, places and addresses against other commands that choose or check them.

    Until the connection ends or `unlock_inventory`: the others wait for some seconds only, so nothing slow may follow.
    """
    database.lock(LOCK, LOCK_SECONDS)


def unlock_inventory(database: Database) -> None:
    """Release that lock, however often it was taken, before something slow.

    What was found has to be compared afterwards.
    """
    database.unlock_wholly(LOCK)
