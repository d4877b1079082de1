"""Add an attribute to members of a scope that do not have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.attributes import check_name, check_value
from rocks.database import attributes
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def add_attribute(database: Database, scope: str, members: Sequence[str], name: str, value: str) -> None:
    """Give all `members` of `scope` the attribute; UserError, and no change, when one of them has it."""
    check_name(name)
    check_value(value)
    having = attributes.members_with(database, scope, members, name)
    if having:
        where = "" if scope == "global" else f" for {scope} {having[0]}"
        command = "set attr" if scope == "global" else f"set {scope} attr"
        raise UserError(f'attribute "{name}" exists{where}; rocks {command} changes its value')
    attributes.insert_attribute(database, scope, members, name, value)
