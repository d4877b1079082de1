"""The kernel's boot flags; the roll's installer and kickstart write them into boot loaders.

They are rows of `bootflags`, for hosts and (node 0) for all hosts without their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.values import check_text
from rocks.install.installation.plan import check_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_ALL_HOSTS = 0
_LONGEST = 256


def read_boot_flags(database: Database) -> tuple[str, dict[str, str]]:
    """(flags for all hosts, host in lower case → its own flags); '' when there are none."""
    rows = database.rows(
        "SELECT f.Node, n.Name, COALESCE(f.Flags, '') FROM bootflags f LEFT JOIN nodes n ON n.ID = f.Node"
    )
    default = next((str(flags) for node, _, flags in rows if node == _ALL_HOSTS), "")
    return default, {str(name).lower(): str(flags) for _, name, flags in rows if name is not None and flags}


def set_boot_flags(database: Database, names: Sequence[str] | None, flags: str) -> None:
    """Set the flags of the named hosts, or those for all hosts (None). UserError for flags that cannot be set."""
    check_text("flags", flags, _LONGEST)
    try:
        flags = check_arguments(flags)
    except UserError as error:
        raise UserError(f'flags "{printable(flags)}" is not valid: {error}') from None
    update = " ON DUPLICATE KEY UPDATE Flags = %s"
    if names is None:
        database.execute(
            f"INSERT INTO bootflags (Node, Flags) VALUES (%s, %s){update}", (_ALL_HOSTS, flags, flags)
        )
    else:
        database.execute(
            f"INSERT INTO bootflags (Node, Flags) SELECT n.ID, %s FROM nodes n WHERE n.Name IN %s{update}",
            [flags, names, flags],
        )


def delete_boot_flags(database: Database, names: Sequence[str] | None) -> None:
    """Remove the flags of the named hosts, or those for all hosts (None); missing ones are not an error."""
    if names is None:
        database.execute("DELETE FROM bootflags WHERE Node = %s", (_ALL_HOSTS,))
    else:
        database.execute(
            "DELETE f FROM bootflags f JOIN nodes n ON n.ID = f.Node WHERE n.Name IN %s",
            [names],
        )
