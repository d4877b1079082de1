"""`rocks list help`"""

import os
import textwrap

import rocks.commands
from rocks.cluster.values import read_number
from rocks.commands._framework.listing import usage_lines

_TAB_COLUMNS = 8
_WIDEST = 100_000


class Command(rocks.commands.Command):
    """
    List the commands with their usage, one a line. Commands that you may not run are left out.

    <param type='string' name='subdir'>
    Only the commands below these words, joined by slashes, as in add/host.
    </param>
    <param type='int' name='cols'>
    Wrap lines at this many columns, 80 by default; 0 does not wrap. The environment's COLUMNS beats it.
    </param>

    <example cmd='list help subdir=add/host'>
    The commands that start with the words add host.
    </example>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the listing."""
        subdir, columns = self.fillParams([("subdir", ""), ("cols", "80")])
        width = read_number("cols", columns, 0, _WIDEST)
        of_terminal = os.environ.get("COLUMNS", "")
        if of_terminal.isascii() and of_terminal.isdigit():
            width = min(int(of_terminal), _WIDEST)
        start = tuple(word for word in subdir.split("/") if word)
        lines = list(usage_lines(start, self.notify))
        if start and not lines:
            self.abort(f'there is no command below "{" ".join(start)}" that you may run')
        for line in lines:
            self.addText(_wrapped(line, width) + "\n")


def _wrapped(line: str, columns: int) -> str:
    if not columns:
        return line
    indent = " " * _TAB_COLUMNS
    lines = textwrap.wrap(
        line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n\t".join(part.strip() for part in lines)
