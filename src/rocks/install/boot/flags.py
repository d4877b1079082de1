"""Set the kernel's boot flags of hosts; the roll's installer and kickstart write them into boot loaders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.values import check_text
from rocks.install.boot import flag_records as boot_flags
from rocks.install.installation.plan import check_arguments

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
