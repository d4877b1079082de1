"""Quoting for a shell: the command lines that `rocks dump …` prints."""

from __future__ import annotations

import os

from rocks.commands._framework.arguments import parse_arguments

INSTALLED_LAUNCHER = "/opt/rocks/bin/rocks"

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%^-_=+:,./")
"""Characters without a meaning to a shell."""


def launcher() -> str:
    """Absolute path of the program `rocks`; `bin/rocks` sets it in the environment."""
    return os.environ.get("ROCKS_LAUNCHER") or INSTALLED_LAUNCHER


def quote(text: str) -> str:
    """`text` as one word of a shell command line: a backslash before every character with a meaning.

    Not `shlex.quote`: Rocks' dump has backslashes.
    """
    # at once: the dump of a large site has tens of millions of characters
    if is_plain(text):
        return text
    return "".join(map(_quoted, text)) or "''"


def is_plain(text: str) -> bool:
    """Whether no character of the text has a meaning to a shell, or to a terminal."""
    return bool(text) and _PLAIN.issuperset(text)


def positional(name: str, value: str) -> str:
    """`value`, or `name=value` where `value` itself would be read as a parameter."""
    return f"{name}={value}" if parse_arguments([value]).parameters else value


def _quoted(character: str) -> str:
    if character in _PLAIN or (character.isalnum() and not character.isascii()):
        return character
    # A shell joins the lines around a backslash that ends one.
    return "'\n'" if character == "\n" else f"\\{character}"
