"""Writes the manual page rocks(8) from the help of the commands: `python3 -m rocks.cli.manual FILE`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rocks import __version__
from rocks.commands._framework.documentation import read_documentation
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.documentation import Declared

_BEGINNING = """\
.SH NAME
rocks \\- commands of a site with virtual clusters
.SH SYNOPSIS
.B rocks
.IR "COMMAND " [ ARGUMENT "] ... [" NAME=VALUE "] ..."
.SH DESCRIPTION
The program of a site's operator. The cluster database states what should exist. A command compares it with what exists
on the hosts and makes the hosts agree. An interrupted command can be repeated.
.PP
.B rocks help
.I TEXT
lists the commands whose usage contains the text;
.B rocks help
.I COMMAND
explains one. A command that changes anything requires root.
"""

_END = """\
.SH EXIT STATUS
.TP
0
Done.
.TP
1
Rejected or failed; the message on standard error says why, and what to run.
.TP
3
Done on some machines, but not on all.
.TP
255
No such command.
.SH FILES
.TP
.I /usr/share/doc/rocks\\-cli/guide
The operator's guide;
.I operator.md
is its first page.
.TP
.I /etc/rocks/database.conf
Another database server than the system's own.
.TP
.I /etc/rocks/mariadb.cnf
Settings of the system's own database server,
.BR rocks\\-database.service .
.TP
.I /etc/rocks/site\\-nodes
The site's node files.
.TP
.I /etc/rocks/trees.d
Files that name further folders of commands, one a line.
.TP
.I /var/opt/rocks/mysql
The cluster database.
.TP
.I /var/lib/rocks/backup
Copies of the database from before each upgrade.
.SH SEE ALSO
.BR rocks\\-agent (8),
.BR rocks\\-imgstorage\\-host (8),
.BR rocks\\-imgstorage\\-nas (8)
"""


def page() -> str:
    """The page, with every command of our own tree, as input of man(7)."""
    trees = [OUR_TREE]
    commands = [path for path in all_commands(trees) if hasattr(load_package(path, trees), "Command")]
    parts = [f'.TH ROCKS 8 "" "rocks {__version__}" "Rocks virtual clusters"\n', _BEGINNING, ".SH COMMANDS\n"]
    parts += [_command(command_path, trees) for command_path in commands]
    return "".join([*parts, _END])


def _command(command_path: Sequence[str], trees: Sequence[str]) -> str:
    command_class = load_package(command_path, trees).Command
    documentation = read_documentation(command_class)
    name = " ".join(command_path)
    text = f".SS {_text(name)}\n.B rocks {_text(name)}\n{_lines(documentation.usage())}"
    text += f".PP\n{_paragraphs(documentation.description)}"
    text += "".join(_item(it, it.name) for it in documentation.arguments)
    text += "".join(_item(it, f"{it.name}={it.type}") for it in documentation.parameters)
    prompt = "#" if command_class.MustBeRoot else "$"
    for command_line, explanation in documentation.examples:
        text += f".PP\n{_paragraphs(explanation)}.PP\n.EX\n    {prompt} rocks {_text(command_line)}\n.EE\n"
    if documentation.related:
        text += f".PP\nSee also: {_text(', '.join(documentation.related))}.\n"
    return text


def _item(declared: Declared, label: str) -> str:
    return f".TP\n.B {_text(label)}\n{_paragraphs(declared.text)}"


def _paragraphs(text: str) -> str:
    """Text whose paragraphs are separated by empty lines."""
    found = [_lines(paragraph) for paragraph in text.split("\n\n") if paragraph.strip()]
    return ".IP\n".join(found) if len(found) > 1 else "".join(found)


def _lines(text: str) -> str:
    return "".join(f"{_text(line.strip())}\n" for line in text.splitlines() if line.strip())


def _text(text: str) -> str:
    """Text that man(7) prints as it is: no escapes, no requests, a hyphen that can be copied."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq")
    return f"\\&{safe}" if safe.startswith(".") else safe


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m rocks.cli.manual FILE")
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
