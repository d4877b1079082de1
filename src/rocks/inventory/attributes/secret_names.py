"""Which attributes and parameters hold secrets, by their names. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.rules import OLD_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

_PARAMETERS = frozenset(("key", "value"))
"""Parameters that may hold a secret whatever the command."""
_NATURE = re.compile(
    r"passw|passphrase|pwd|secret|credential|community|token|pw($|[_.-])|(^|[_.-])pass($|[_.-])|private_?key|api_?key"
    r"|(?<!public)(?<!pub)[_.-]key($|[_.-])"
)
_PARAMETER = re.compile(r"[A-Za-z0-9_+-]+=")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
STARS = "***"
_PEM = "-----BEGIN"


def is_secret(name: str) -> bool:
    """Whether the name of an attribute or a parameter is that of a secret, as in `root_pw` or `ipmi-password`."""
    known = KNOWN.get(name.lower().removesuffix(OLD_SUFFIX))
    return (known is not None and known.is_secret) or _NATURE.search(name.lower()) is not None


def without_secrets(command_path: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The texts of a command line for the log, with stars for values that are or may be secrets.

    A value that was typed without quotes is several texts, also some like `user=root`: all are stars. So is all from a
    key of OpenSSH or OpenSSL on, whatever its name: it may be a private one that was given by mistake.
    """
    logged = []
    first = _first_secret(command_path, texts)
    key = next((place for place, text in enumerate(texts) if _PEM in text), len(texts))
    for place, text in enumerate(texts):
        name, equals, value = text.partition("=")
        if place >= first or place > key:
            logged.append(STARS)
        elif equals and _PARAMETER.match(text):
            hidden = place == key or name.lower() in _PARAMETERS or is_secret(name)
            logged.append(f"{name}={STARS if hidden else text_without_secrets(value)}")
        else:
            logged.append(STARS if place == key else text)
    return logged


def text_without_secrets(text: str) -> str:
    """The text with stars for the values of secrets among its words NAME=VALUE, as a kernel's arguments have."""
    return " ".join(map(_word_without_secret, text.split(" ")))


def _word_without_secret(word: str) -> str:
    *names, _ = parts = word.split("=")
    first = next((place for place, name in enumerate(names, 1) if is_secret(name)), None)
    return word if first is None else "=".join((*parts[:first], STARS))


def _first_secret(command_path: Sequence[str], texts: Sequence[str]) -> int:
    """The place from which on the texts may be the value of a secret attribute; their number when none is."""
    if command_path[0] not in ("add", "set") or command_path[-1] not in ("attr", "sec_attr"):
        return len(texts)
    arguments = [place for place, text in enumerate(texts) if not _PARAMETER.match(text)]
    # the scopes but the global one have a member, and then the name
    names = 1 if len(command_path) == 2 else 2
    for place, text in enumerate(texts):
        if text.lower().startswith("attr=") and is_secret(text[5:]):
            return min([place + 1, *arguments[names - 1 :]])
        if place in arguments:
            name = _NAME.match(text)
            if is_secret(text) or (name and is_secret(name[0])):
                # a name and its value in one text, by mistake: name:value, my.name=value
                return place + 1 if name and name[0] == text else place
    if command_path[-1] == "sec_attr":
        # these commands take no value: what is typed after the name is one by mistake
        if any(text.lower().startswith("attr=") for text in texts):
            names -= 1
        return min([len(texts), *arguments[names:]])
    return len(texts)
