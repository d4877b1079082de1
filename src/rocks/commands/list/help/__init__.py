"""`rocks list help`"""

import os
import textwrap

import rocks.commands
from rocks.commands._framework.documentation import DEFAULT_COLUMNS
from rocks.commands._framework.output import terminal_columns
from rocks.commands._framework.usage_lines import usage_lines
from rocks.core.values import read_number

_TAB_COLUMNS = 8
_WIDEST = 100_000


class Command(rocks.commands.Command):
    """
    List the commands with their usage, one per line. Commands that you are not permitted to run are omitted.

    <param type='string' name='subdir' default='all commands'>
    Only the commands below these words, separated by slashes, as in add/host.
    </param>
    <param type='int' name='cols' default='the width of the terminal; 80 for a file or a program'
          unit='characters'>
    Wrap lines at this column; 0 disables wrapping. The environment variable COLUMNS takes precedence.
    </param>

    <example cmd='list help subdir=add/host'>
    The commands that begin with add host.
    </example>
    <example cmd='list help subdir=list/host cols=0'>
    The commands that begin with list host, each on one line.
    </example>

    <related>help</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the listing."""
        width = read_number(
            "cols", self.fillText("cols", str(terminal_columns() or DEFAULT_COLUMNS)), 0, _WIDEST
        )
        of_terminal = os.environ.get("COLUMNS", "")
        if of_terminal.isascii() and of_terminal.isdigit():
            width = min(int(of_terminal), _WIDEST)
        start = tuple(word for word in self.fillText("subdir", "").split("/") if word)
        lines = [f"{name} {usage}".rstrip() for name, usage in usage_lines(start, self.notify)]
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
