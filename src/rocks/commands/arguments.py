"""The command line: which are arguments, which parameters; and yes or no."""

from __future__ import annotations

from typing import NamedTuple

from rocks.errors import UserError

FIRST_PARAMETER = "@ROCKSPARAM0"
"""Key under which the raw text of the first parameter is kept; firewall commands read a category from it."""

_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-")
TRUE_WORDS = frozenset(("on", "yes", "y", "true", "1"))
FALSE_WORDS = frozenset(("off", "no", "n", "false", "0"))


class ParsedArguments(NamedTuple):
    """A command's words, parted: arguments in order, and parameters by name (the last value wins)."""

    arguments: list[str]
    parameters: dict[str, str]


def parse_arguments(words: list[str]) -> ParsedArguments:
    """Part the words that follow a command's name.

    `name=value` with a name of letters, digits, `_`, `+` and `-` is a parameter. A text such as `select …
    where rack=0` is an argument although it holds `=`: a blank stands before it, and no name holds a blank.
    """
    arguments: list[str] = []
    parameters: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or not _NAME_CHARACTERS.issuperset(name):
            arguments.append(word)
            continue
        parameters.setdefault(FIRST_PARAMETER, word)
        parameters[name] = value
    return ParsedArguments(arguments, parameters)


def str2bool(text: str | None) -> bool:
    """True for on, yes, y, true and 1 in any case; everything else is false."""
    return text is not None and text.lower() in TRUE_WORDS


def bool2str(value: object) -> str:
    """`yes` or `no`."""
    return "yes" if value else "no"


def yes_or_no(name: str, text: str) -> bool:
    """The truth of the parameter `name`; UserError for a word that is neither a yes nor a no."""
    if text.lower() in TRUE_WORDS:
        return True
    if text.lower() in FALSE_WORDS:
        return False
    raise UserError(f'"{name}" must be yes or no, not "{text}"')
