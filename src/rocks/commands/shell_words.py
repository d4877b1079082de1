"""Words of a command line that a shell reads: what `rocks dump …` prints."""

from __future__ import annotations

import os

from rocks.commands.arguments import parse_arguments

INSTALLED_LAUNCHER = "/opt/rocks/bin/rocks"

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%^-_=+:,./")
"""Characters that mean nothing to a shell."""


def launcher() -> str:
    """Absolute path of the program that a person starts; `bin/rocks` tells its own."""
    return os.environ.get("ROCKS_LAUNCHER") or INSTALLED_LAUNCHER


def quote(text: str) -> str:
    """`text` as one word of a shell command line: a backslash before every character with a meaning.

    Not `shlex.quote`: the specification (CLI §2.3, dump) prescribes backslashes.
    """
    return "".join(map(_quoted, text)) or "''"


def positional(name: str, value: str) -> str:
    """`value` as a word of its own, or as `name=value` where it would be taken for a parameter itself."""
    return f"{name}={value}" if parse_arguments([value]).parameters else value


def _quoted(character: str) -> str:
    if character in _PLAIN or (character.isalnum() and not character.isascii()):
        return character
    # A shell joins the lines around a backslash that ends one.
    return "'\n'" if character == "\n" else f"\\{character}"
