"""Remove appliances that no host is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database import appliances
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.connection import Database


def remove_appliance(database: Database, names: Sequence[str], before_each: Callable[[str], None]) -> None:
    """Remove the appliances with their memberships, routes and attributes.

    UserError, and no change, when a host is of one of them. `before_each` gets each name before anything is
    removed.
    """
    used = appliances.first_host_of(database, names)
    if used is not None:
        raise UserError(
            f'cannot remove appliance "{used[0]}": host {used[1]} is one; '
            "remove its hosts or give them another membership first"
        )
    for name in names:
        before_each(name)
    appliances.delete_appliances(database, names)
