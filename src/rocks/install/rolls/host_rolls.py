"""Choose rolls for frontends, and remove them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.install.rolls import host_roll_records as host_rolls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def add_host_rolls(database: Database, host: str, rolls: Sequence[str], version: str, arch: str) -> None:
    """Choose the rolls for the frontend, besides those that it has. UserError for an unknown roll."""
    _check_frontend(database, host)
    host_rolls.insert_host_rolls(database, host, _ids(database, rolls, version, arch))


def set_host_rolls(database: Database, host: str, rolls: Sequence[str], version: str, arch: str) -> None:
    """Choose exactly these rolls for the frontend. UserError, and no change, for an unknown roll."""
    _check_frontend(database, host)
    numbers = _ids(database, rolls, version, arch)
    host_rolls.delete_host_rolls(database, host)
    host_rolls.insert_host_rolls(database, host, numbers)


def remove_host_rolls(database: Database, host: str, rolls: Sequence[str], version: str, arch: str) -> None:
    """Remove the rolls, without names all of them, from the host. UserError for an unknown roll."""
    numbers = (
        _ids(database, rolls or ("%",), version, arch) if rolls or (version, arch) != ("%", "%") else None
    )
    host_rolls.delete_host_rolls(database, host, numbers)


def _ids(database: Database, rolls: Sequence[str], version: str, arch: str) -> list[int]:
    found = host_rolls.find_rolls(database, rolls, version, arch)
    for name, numbers in found.items():
        if not numbers:
            of_kind = "".join(
                f" {what} {value}" for what, value in (("version", version), ("arch", arch)) if value != "%"
            )
            raise UserError(
                f'unknown roll "{printable(name)}"{printable(of_kind)}; rolls are listed by rocks list roll'
            )
    return sorted({number for numbers in found.values() for number in numbers})


def _check_frontend(database: Database, host: str) -> None:
    if not host_rolls.frontends_among(database, [host]):
        raise UserError(
            f"host {host} is not a frontend: only frontends are installed with rolls that are chosen"
        )
