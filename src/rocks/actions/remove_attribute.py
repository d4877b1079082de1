"""Remove an attribute from members of a scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.attributes import OLD_SUFFIX
from rocks.database import attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def remove_attribute(database: Database, scope: str, members: Sequence[str], name: str) -> None:
    """Take the attribute and its old value from all `members` of `scope` that have it."""
    attributes.delete_attributes(database, scope, members, [name, name + OLD_SUFFIX])
