"""Add and remove appliances, with their memberships and first attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import check_appliance_name, check_membership_name, check_plain_name, printable
from rocks.inventory import appliance_records as appliances
from rocks.inventory.attributes import records as attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.appliance_records import Appliance


_FILE_LONGEST = 64
_BOOT_PROGRAM = "pxelinux.0"


def add_appliance(database: Database, appliance: Appliance) -> None:
    """Add the appliance; UserError unless it is valid and its name and membership are unused.

    An appliance with a root node file gets the attributes that its hosts need for network installation.
    """
    _check_texts(appliance)
    _check_unused(database, appliance)
    appliances.insert_appliance(database, appliance)
    for name, value in _first_attributes(database, appliance).items():
        attributes.insert_attribute(database, "appliance", [appliance.name], name, value)


def _check_texts(appliance: Appliance) -> None:
    check_appliance_name(appliance.name)
    check_membership_name(appliance.membership)
    for what, text in (("node", appliance.node), ("graph", appliance.graph)):
        if text:
            check_plain_name(what, text, _FILE_LONGEST)


def _check_unused(database: Database, appliance: Appliance) -> None:
    if appliances.find_name(database, "memberships", appliance.membership):
        raise UserError(f'membership "{appliance.membership}" already exists; give another with membership=')
    if appliances.find_name(database, "appliances", appliance.name):
        raise UserError(f'appliance "{appliance.name}" already exists; rocks list appliance shows it')
    if appliances.find_name(database, "nodes", appliance.name):
        raise UserError(
            f'appliance "{appliance.name}" cannot be added: a host has that name and could not be selected any more'
        )
    if appliances.find_name(database, "aliases", appliance.name):
        raise UserError(
            f'appliance "{appliance.name}" cannot be added: a host has that alias, and could not be selected by it any '
            "more; rocks list host alias shows it"
        )
    if not appliances.find_name(database, "distributions", appliance.distribution):
        raise UserError(
            f'unknown distribution "{printable(appliance.distribution)}"; rocks list distribution shows all'
        )


def _first_attributes(database: Database, appliance: Appliance) -> dict[str, str]:
    if not appliance.node:
        return {"kickstartable": "no"}
    found = {"kickstartable": "yes", "dhcp_filename": _BOOT_PROGRAM}
    if server := attributes.global_attributes(database).get("Kickstart_PrivateKickstartHost"):
        found["dhcp_nextserver"] = server
    return found


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
