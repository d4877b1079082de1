"""The order of versions of packages, as dpkg and rpm define it."""

from __future__ import annotations

import re

_PAIRS = re.compile(r"([^0-9]*)([0-9]*)")
_TOKENS = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")

DebianKey = tuple[object, tuple[object, ...], tuple[object, ...]]
RpmKey = tuple[int, tuple[object, ...], tuple[object, ...]]


def debian_key(version: str) -> DebianKey:
    """A key that orders versions `[EPOCH:]UPSTREAM[-REVISION]` as dpkg does (Debian policy §5.6.12)."""
    epoch, _, rest = version.rpartition(":")
    upstream, dash, revision = rest.rpartition("-")
    return (
        _number(epoch),
        _debian_part(upstream if dash else rest),
        _debian_part(revision if dash else "0"),
    )


def rpm_key(epoch: int, version: str, release: str) -> RpmKey:
    """A key that orders packages of one name as rpm does: numbers are newer than letters, `~` is oldest."""
    return epoch, _rpm_part(version), _rpm_part(release)


def _debian_part(text: str) -> tuple[object, ...]:
    pairs = [
        ((*map(_rank, letters), 0), _number(digits))
        for letters, digits in _PAIRS.findall(text)
        if letters or digits
    ]
    return (*pairs, ((0,), _number("")))


def _rank(character: str) -> int:
    """A tilde is older than the end of the text, and letters are older than all else."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _number(digits: str) -> tuple[int, str]:
    """Orders numbers of any length without computing them."""
    significant = digits.lstrip("0")
    return len(significant), significant


def _rpm_part(text: str) -> tuple[object, ...]:
    return (*map(_rpm_token, _TOKENS.findall(text)), (0,))


def _rpm_token(token: str) -> tuple[object, ...]:
    if token == "~":
        return (-1,)
    if token == "^":
        return (1,)
    return (3, _number(token)) if token.isdecimal() else (2, token)
