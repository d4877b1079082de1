"""Set and remove the kernel's boot flags of hosts; the roll's installer and kickstart write them into boot loaders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.install_plan import check_arguments
from rocks.cluster.names import printable
from rocks.cluster.values import check_text
from rocks.database import boot_flags
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_LONGEST = 256


def set_boot_flags(database: Database, names: Sequence[str] | None, flags: str) -> None:
    """Set the flags of the hosts, or those for all hosts (None). UserError for flags that no boot loader takes."""
    check_text("flags", flags, _LONGEST)
    try:
        flags = check_arguments(flags)
    except UserError as error:
        raise UserError(f'flags "{printable(flags)}" is not valid: {error}') from None
    boot_flags.store_boot_flags(database, names, flags)


def remove_boot_flags(database: Database, names: Sequence[str] | None) -> None:
    """Remove the flags of the hosts, or those for all hosts (None); missing ones are not an error."""
    boot_flags.delete_boot_flags(database, names)
