"""Files as blocks of text that `rocks report script` reads: one line of the output for each line."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.commands._framework.base import Command


def add_file_block(
    command: Command, host: str, path: str, lines: Iterable[str], permissions: str = ""
) -> None:
    """Add the lines of a file of the host to the output, between its tags."""
    more = f" perms={quoteattr(permissions)}" if permissions else ""
    command.addOutput(host, f"<file name={quoteattr(path)}{more}>")
    for line in lines:
        command.addOutput(host, escape(line))
    command.addOutput(host, "</file>")
