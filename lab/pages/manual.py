"""Writes rocks(8) and a manual page for each command, from their help: `python3 -m lab.pages.manual FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rocks import __version__
from rocks.commands._framework.documentation import read_documentation
from rocks.commands._framework.topics import topics_of
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.base import Command
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
lists the commands about a topic, or whose usage contains the text;
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


def pages() -> dict[str, str]:
    """File name → input of man(7): the page of the program, and one for each command of our own tree."""
    found = {"rocks.8": page()}
    for command_path in _commands():
        found[f"{_page_name(command_path)}.8"] = command_page(command_path)
    return found


def page() -> str:
    """The page of the program, with every command."""
    parts = [_title("rocks"), _BEGINNING, ".SH COMMANDS\n"]
    for command_path in _commands():
        parts += [
            f".SS {_text(' '.join(command_path))}\n",
            _synopsis(command_path),
            ".PP\n",
            _body(command_path),
        ]
    return "".join([*parts, _END])


def command_page(command_path: Sequence[str]) -> str:
    """The page of one command, such as rocks-list-host(8)."""
    documentation = read_documentation(_class_of(command_path))
    purpose = documentation.description.replace("\n\n", " ").partition(". ")[0].rstrip(".")
    topics = _text(", ".join(topics_of(command_path)))
    topics = topics and f" ({topics})"  # for man -k
    parts = [
        _title(_page_name(command_path)),
        f".SH NAME\n{_text(_page_name(command_path))} \\- {_text(purpose)}{topics}\n",
        f".SH SYNOPSIS\n{_synopsis(command_path)}",
        f".SH DESCRIPTION\n{_paragraphs(documentation.description)}",
        _items("ARGUMENTS", documentation.arguments, typed=False),
        _items("PARAMETERS", documentation.parameters, typed=True),
        ".SH EXAMPLES\n" if documentation.examples else "",
        _examples(command_path),
        ".SH SEE ALSO\n",
        "".join(
            f".BR {_text(_page_name(name))} (8){end}\n"
            for name, end in _ended([tuple(it.split()) for it in documentation.related] + [()])
        ),
    ]
    return "".join(parts)


def _ended(names: list[tuple[str, ...]]) -> list[tuple[tuple[str, ...], str]]:
    """Each name with the comma after it; the last has none."""
    return [(name, "," if place < len(names) else "") for place, name in enumerate(names, start=1)]


def _commands() -> list[tuple[str, ...]]:
    trees = [OUR_TREE]
    return [path for path in all_commands(trees) if hasattr(load_package(path, trees), "Command")]


def _class_of(command_path: Sequence[str]) -> type[Command]:
    found: type[Command] = load_package(command_path, [OUR_TREE]).Command
    return found


def _page_name(command_path: Sequence[str]) -> str:
    return "-".join(("rocks", *command_path))


def _title(name: str) -> str:
    return f'.TH {_text(name.upper())} 8 "" "rocks {__version__}" "Rocks virtual clusters"\n'


def _synopsis(command_path: Sequence[str]) -> str:
    usage = read_documentation(_class_of(command_path)).usage()
    return f".B rocks {_text(' '.join(command_path))}\n{_lines(usage)}"


def _body(command_path: Sequence[str]) -> str:
    documentation = read_documentation(_class_of(command_path))
    text = _paragraphs(documentation.description)
    text += "".join(_item(it, it.name) for it in documentation.arguments)
    text += "".join(_item(it, f"{it.name}={it.type}") for it in documentation.parameters)
    text += f".PP\n{_examples(command_path)}"
    if documentation.related:
        text += f".PP\nSee also: {_text(', '.join(documentation.related))}.\n"
    return text


def _examples(command_path: Sequence[str]) -> str:
    command_class = _class_of(command_path)
    prompt = "#" if command_class.MustBeRoot else "$"
    return ".PP\n".join(
        f"{_paragraphs(explanation)}.PP\n.EX\n    {prompt} rocks {_text(command_line)}\n.EE\n"
        for command_line, explanation in read_documentation(command_class).examples
    )


def _items(title: str, declared: Sequence[Declared], typed: bool) -> str:
    """A section of arguments or parameters; nothing without any."""
    items = [_item(it, f"{it.name}={it.type}" if typed else it.name) for it in declared]
    return "".join([f".SH {title}\n", *items]) if items else ""


def _item(declared: Declared, label: str) -> str:
    return f".TP\n.B {_text(label)}\n{_paragraphs(declared.text)}.br\n{_lines(declared.facts)}"


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
        sys.exit("usage: python3 -m lab.pages.manual FOLDER")
    for _name, _content in pages().items():
        Path(sys.argv[1], _name).write_text(_content, encoding="utf-8")
