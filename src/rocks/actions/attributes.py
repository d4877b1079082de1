"""Add, change and remove attributes of the members of a scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.attributes import OLD_SUFFIX, check_name, check_value, is_old
from rocks.database import attributes
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def add_attribute(database: Database, scope: str, members: Sequence[str], name: str, value: str) -> None:
    """Add the attribute to all `members` of `scope`; UserError, and no change, when one of them has it."""
    check_name(name)
    check_value(value)
    having = attributes.members_with(database, scope, members, name)
    if having:
        where = "" if scope == "global" else f" for {scope} {having[0]}"
        command = "set attr" if scope == "global" else f"set {scope} attr"
        raise UserError(f'attribute "{name}" exists{where}; rocks {command} changes its value')
    attributes.insert_attribute(database, scope, members, name, value)


def set_attribute(database: Database, scope: str, members: Sequence[str], name: str, value: str) -> None:
    """Set the attribute of all `members` of `scope`, whether they have it or not.

    The previous value becomes the attribute `<name>_old`, unless `name` has that suffix itself. UserError for an
    invalid name or value.
    """
    check_name(name)
    check_value(value)
    if not is_old(name):
        attributes.preserve_old_values(database, scope, members, name)
    attributes.replace_attribute(database, scope, members, name, value)


def remove_attribute(database: Database, scope: str, members: Sequence[str], name: str) -> None:
    """Remove the attribute and its old value from all `members` of `scope` that have it."""
    attributes.delete_attributes(database, scope, members, [name, name + OLD_SUFFIX])
