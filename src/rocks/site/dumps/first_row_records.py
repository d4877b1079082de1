"""How this database differs from an empty one: rows of the migrations that it lacks or has in another form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.inventory.appliance_records import Appliance, load_appliances
from rocks.inventory.boot_records import list_boot_actions
from rocks.inventory.host_records import names_like
from rocks.site.dumps.first_rows import (
    FIRST_APPLIANCES,
    FIRST_BOOT_ACTIONS,
    FIRST_DISTRIBUTION,
    FIRST_GRAPH,
)

if TYPE_CHECKING:
    from rocks.database.connection import Database


def other_appliances(database: Database) -> list[str]:
    """The appliances that an empty database does not have in the same form, in the database's order."""
    return [one.name for one in _appliances(database) if not _is_first(one)]


def changed_appliances(database: Database) -> list[str]:
    """The appliances of an empty database that this one does not have, or has in another form."""
    same = {one.name for one in _appliances(database) if _is_first(one)}
    return [name for name in FIRST_APPLIANCES if name not in same]


def missing_boot_actions(database: Database) -> list[str]:
    """The boot actions of an empty database that this one does not have."""
    present = {str(row[0]).lower() for row in list_boot_actions(database)}
    return [name for name in FIRST_BOOT_ACTIONS if name.lower() not in present]


def _appliances(database: Database) -> list[Appliance]:
    return load_appliances(database, names_like(database, "appliances", ())[0])


def _is_first(one: Appliance) -> bool:
    first = FIRST_APPLIANCES.get(one.name)
    return first is not None and one == Appliance(
        one.name,
        FIRST_GRAPH,
        first.node,
        "linux",
        first.membership,
        FIRST_DISTRIBUTION,
        first.is_public,
    )
