"""Makes any text safe for a terminal: the one place that decides which characters reach it.

Not printable are control characters (C0, DEL, C1), format characters such as those that reverse the direction of
writing, lone surrogates, separators other than the blank, and characters that Unicode does not assign.
"""

from __future__ import annotations


def one_line(text: str) -> str:
    """The text with each character that is not printable as its escape, line ends too."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def many_lines(text: str) -> str:
    """As `one_line`, but line ends and tabulators stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
