"""Files as blocks of text that `rocks report script` reads: one line of the output for each line."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from rocks.core.errors import RocksError, UserError
from rocks.network.host_network_records import load_host_networks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rocks.commands._framework.base import Command
    from rocks.inventory.records import Host


def report_files(command: Command, args: list[str], add_files: Callable[[Host], None]) -> None:
    """Print the files of each host, or of all; `add_files` adds those of one, and its UserError is that of the host."""
    hosts = load_host_networks(command.db, command.getHostnames(args) if args else None)
    failures: dict[str, RocksError] = {}
    command.beginOutput()
    for host in hosts:
        try:
            add_files(host)
        except UserError as error:
            failures[host.name] = error
    command.endOutput(padChar="")
    command.endOutcomes(failures, len(hosts))


def add_file_block(
    command: Command, host: str, path: str, lines: Iterable[str], permissions: str = ""
) -> None:
    """Add the lines of a file of the host to the output, between its tags."""
    more = f" perms={quoteattr(permissions)}" if permissions else ""
    command.addOutput(host, f"<file name={quoteattr(path)}{more}>")
    for line in lines:
        command.addOutput(host, escape(line))
    command.addOutput(host, "</file>")
