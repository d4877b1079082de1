"""The words that all attribute commands have in common: members, a name, a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.errors import UserError

if TYPE_CHECKING:
    from rocks.commands._framework.base import Command


def read_name_and_value(command: Command) -> tuple[list[str], str, str]:
    """(words for members, attribute's name, value); UserError when the name or the value is missing."""
    members, name, value = command.fillPositionalArgs(("attr", "value"))
    if not name or _given_empty(command, "attr"):
        raise UserError("missing attribute name")
    if not value or _given_empty(command, "value"):
        raise UserError("missing value of attribute")
    return members, name, value


def read_name(command: Command) -> tuple[list[str], str]:
    """(words for members, attribute's name); UserError when the name is missing."""
    members, name = command.fillPositionalArgs(("attr",))
    if not name or _given_empty(command, "attr"):
        raise UserError("missing attribute name")
    return members, name


def _given_empty(command: Command, name: str) -> bool:
    """Whether `name=` stands there without a value: the word before it, a host perhaps, is not meant instead."""
    return bool(command.fillParams([(name, None)])[0] == "")


def refuse_members(members: list[str]) -> None:
    """UserError for words in front of the name of a global attribute, which belongs to nobody."""
    if members:
        raise UserError(
            f'"{members[0]}" is one word too many: a global attribute has only a name and a value; '
            "quote a value of several words"
        )
