"""Families of attribute commands: each names its `scope`, and for a change the action that applies it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rocks.commands._framework.base import Command
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.connection import Database


class AttributeCommand(Command):
    """Base of the commands on the attributes of one scope: global, os, appliance or host."""

    scope: ClassVar[str]

    def members(self, names: Sequence[str]) -> list[str]:
        """The members of the scope that match `names`; UserError for a name before a global attribute."""
        if self.scope == "global":
            _check_no_members(names)
            return ["global"]
        expansions: dict[str, Callable[[Sequence[str]], list[str]]] = {
            "appliance": self.getApplianceNames,
            "host": self.getHostnames,
            "os": self.getOSNames,
        }
        return expansions[self.scope](names)

    def check_attribute_name(self, name: str | None) -> str:
        """The attribute's name; UserError when it is missing, or given as an empty `attr=`."""
        if not name or self.fillText("attr") == "":
            raise UserError("missing attribute name")
        return name


class AttributeSetter(AttributeCommand):
    """Base of `add … attr` and `set … attr`: members, a name and a value, which `apply` stores."""

    apply: ClassVar[Callable[[Database, str, Sequence[str], str, str], None]]

    # Otherwise the value console=ttyS0 would be ignored, and a member be read as the attribute's name.
    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the value for all members at once."""
        names, (attribute, value) = self.splitArguments(("attr", "value"))
        attribute = self.check_attribute_name(attribute)
        if not value or self.fillText("value") == "":
            raise UserError("missing value of attribute")
        if self.scope == "appliance" and not names:
            raise UserError("must supply at least one appliance")
        type(self).apply(self.db, self.scope, self.members(names), attribute, value)


class AttributeRemoval(AttributeCommand):
    """Base of `remove … attr`: members and a name."""

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the attribute of all members at once."""
        from rocks.actions.attributes import remove_attribute

        names, attribute = self.fillArgument("attr")
        attribute = self.check_attribute_name(attribute)
        remove_attribute(self.db, self.scope, self.members(names), attribute)


def _check_no_members(names: Sequence[str]) -> None:
    """A global attribute has no members; several names are often an unquoted value."""
    if names:
        raise UserError(
            f'"{names[0]}" is one argument too many: a global attribute has only a name and a value; '
            "quote a value that contains blanks"
        )
