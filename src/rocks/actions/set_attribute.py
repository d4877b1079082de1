"""Set an attribute of members of a scope, and keep the value that it had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.attributes import check_name, check_value, is_old
from rocks.database import attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def set_attribute(database: Database, scope: str, members: Sequence[str], name: str, value: str) -> None:
    """Give all `members` of `scope` the attribute with this value, whether they have it or not.

    A value that it had becomes the attribute `<name>_old`, unless `name` is such a one itself. UserError for
    a name or a value that cannot be.
    """
    check_name(name)
    check_value(value)
    if not is_old(name):
        attributes.preserve_old_values(database, scope, members, name)
    attributes.replace_attribute(database, scope, members, name, value)
