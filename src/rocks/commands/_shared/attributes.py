"""Families of attribute commands: each names its `scope`, and for a change the action that applies it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rocks.commands._framework.confirmation import confirm_all
from rocks.commands._shared.scopes import ScopeCommand
from rocks.core.errors import UserError
from rocks.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.connection import Database


class AttributeCommand(ScopeCommand):
    """Base of the commands on the attributes of one scope: global, os, appliance or host."""

    def members_to_change(self, names: Sequence[str], attribute: str) -> list[str]:
        """As `members`, for a change. All members are meant only by `%`, or when a person confirms it.

        UserError when the attribute is given by its place and is the name of a member: something was forgotten.
        """
        from rocks.inventory.attributes.changes import check_not_member

        if not self.fillText("attr"):
            check_not_member(self.db, attribute, member_is_named=bool(names) or self.scope == "global")
        found = self.members(names)
        if not names and self.scope != "global":
            confirm_all(self, self.scope, found)
        return found

    def check_attribute_name(self, name: str | None) -> str:
        """The attribute's name; UserError when it is missing, or given as an empty `attr=`."""
        if not name or self.fillText("attr") == "":
            raise UserError("missing attribute name")
        return name


class AttributeSetter(AttributeCommand):
    """Base of `add … attr` and `set … attr`: members, a name and a value, which `apply` stores."""

    apply: ClassVar[Callable[[Database, str, Sequence[str], str, str, bool], None]]

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the value for all members at once."""
        names, (attribute, value) = self.splitArguments(("attr", "value"))
        if attribute is None and value is not None and "value" not in params:
            raise UserError(f'an attribute has a name and a value, and only "{printable(value)}" is given')
        attribute = self.check_attribute_name(attribute)
        if not value or self.fillText("value") == "":
            raise UserError("missing value of attribute")
        if self.scope == "appliance" and not names:
            raise UserError("must supply at least one appliance")
        members = self.members_to_change(names, attribute)
        type(self).apply(self.db, self.scope, members, attribute, value, self.fillFlag("force"))


class AttributeRemoval(AttributeCommand):
    """Base of `remove … attr`: members and a name."""

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the attribute of all members at once."""
        from rocks.inventory.attributes.changes import remove_attribute

        names, attribute = self.fillArgument("attr")
        attribute = self.check_attribute_name(attribute)
        remove_attribute(self.db, self.scope, self.members_to_change(names, attribute), attribute)
