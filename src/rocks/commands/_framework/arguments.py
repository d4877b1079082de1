"""Splits a command line into arguments and parameters; reads boolean values."""

from __future__ import annotations

from typing import NamedTuple

from rocks.errors import UserError

FIRST_PARAMETER = "@ROCKSPARAM0"
"""Key under which the raw text of the first parameter is stored; firewall commands read a category from it."""

_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-")
TRUE_VALUES = frozenset(("on", "yes", "y", "true", "1"))
FALSE_VALUES = frozenset(("off", "no", "n", "false", "0"))


class ParsedArguments(NamedTuple):
    """A command's arguments in order, and its parameters by name (the last value wins)."""

    arguments: list[str]
    parameters: dict[str, str]


def parse_arguments(texts: list[str]) -> ParsedArguments:
    """Split the texts that follow a command's name into arguments and parameters.

    `name=value` with a name of letters, digits, `_`, `+` and `-` is a parameter. A text such as `select …
    where rack=0` is an argument although it contains `=`: no name contains a blank.
    """
    arguments: list[str] = []
    parameters: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not _NAME_CHARACTERS.issuperset(name):
            arguments.append(text)
            continue
        parameters.setdefault(FIRST_PARAMETER, text)
        parameters[name] = value
    return ParsedArguments(arguments, parameters)


def str2bool(text: str | None) -> bool:
    """True for on, yes, y, true and 1 in any case; False for any other text."""
    return text is not None and text.lower() in TRUE_VALUES


def bool2str(value: object) -> str:
    """`yes` or `no`."""
    return "yes" if value else "no"


def yes_or_no(name: str, text: str) -> bool:
    """The boolean value of the parameter `name`; UserError for a text that means neither yes nor no."""
    if text.lower() in TRUE_VALUES:
        return True
    if text.lower() in FALSE_VALUES:
        return False
    raise UserError(f'"{name}" must be yes or no, not "{text}"')
