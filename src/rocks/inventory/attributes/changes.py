"""Add, change and remove attributes of the members of a scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.inventory.attributes import records as attributes
from rocks.inventory.attributes import secret_records as secrets
from rocks.inventory.attributes.rules import (
    OLD_SUFFIX,
    check_name,
    check_value,
    is_known_secret,
    is_old,
    near_miss,
)
from rocks.inventory.attributes.secret_names import is_secret
from rocks.inventory.hosts import appliance_names, find_taken_names
from rocks.inventory.selectors import OPERATING_SYSTEMS, is_rack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def check_not_member(database: Database, name: str, member_is_named: bool) -> None:
    """UserError when the name of an attribute is a host or an alias.

    Without a named member also when it is another selector of members: an appliance, an operating system or a rack.
    """
    taken = find_taken_names(database, [name]).get(name.lower())
    kind = {"node": "a host", "alias": "an alias of a host"}.get(taken[0]) if taken is not None else None
    if kind is None and not member_is_named:
        kind = _other_selector(database, name)
    if kind is not None:
        raise UserError(
            f'"{printable(name)}" is {kind}: the attribute or its value is missing (an attribute of that name is '
            f"given as attr={printable(name)})"
        )


def _other_selector(database: Database, name: str) -> str | None:
    if name.lower() in (appliance.lower() for appliance in appliance_names(database)):
        return "an appliance"
    if name.lower() in OPERATING_SYSTEMS:
        return "an operating system"
    return "a rack" if is_rack(name) else None


def _check(database: Database, scope: str, name: str, value: str, may_be_near: bool) -> None:
    """UserError for a name or a value that is not valid, and for a value that the system could not read.

    So is, unless it may be, a new name that is nearly one that the system reads; a name that is stored already is the
    site's own. A secret is refused whatever its value: other users of the machine see a command line.
    """
    from rocks.inventory.attributes.forms import check_form

    check_name(name)
    if is_secret(name):
        where = "sec_attr" if scope == "global" else "host sec_attr HOST"
        raise UserError(
            f"{name} is a secret: rocks set {where} {name}, which reads the value from standard input"
        )
    meant = None if may_be_near else near_miss(name)
    if meant is not None and not attributes.is_stored(database, name):
        raise UserError(
            f'"{printable(name)}" is no attribute that the system reads; did you mean {meant}? For an attribute of the '
            "site's own by that name, give force=yes too"
        )
    check_value(value)
    check_form(name, value)


def add_attribute(
    database: Database, scope: str, members: Sequence[str], name: str, value: str, may_be_near: bool = False
) -> None:
    """Add the attribute to all `members` of `scope`; UserError, and no change, when one of them has it."""
    _check(database, scope, name, value, may_be_near)
    attributes.ensure_members(database, scope, members)
    having = attributes.members_with(database, scope, members, name)
    if having:
        where = "" if scope == "global" else f" for {scope} {having[0]}"
        command = "set attr" if scope == "global" else f"set {scope} attr"
        raise UserError(f'attribute "{name}" exists{where}; rocks {command} changes its value')
    attributes.insert_attribute(database, scope, members, name, value)


def set_attribute(
    database: Database, scope: str, members: Sequence[str], name: str, value: str, may_be_near: bool = False
) -> None:
    """Set the attribute of all `members` of `scope`, whether they have it or not.

    The previous value becomes the attribute `<name>_old`, unless `name` has that suffix itself. UserError for an
    invalid name or value.
    """
    _check(database, scope, name, value, may_be_near)
    attributes.ensure_members(database, scope, members)
    if not is_old(name):
        attributes.preserve_old_values(database, scope, members, name)
    attributes.replace_attribute(database, scope, members, name, value)


def remove_attribute(database: Database, scope: str, members: Sequence[str], name: str) -> int:
    """Remove the attribute and its old value from all `members` of `scope`; returns how many values there were."""
    removed = attributes.delete_attributes(database, scope, members, [name, name + OLD_SUFFIX])
    if is_known_secret(name) and scope in ("host", "global"):
        removed += secrets.delete(database, None if scope == "global" else members, name)
    return removed
