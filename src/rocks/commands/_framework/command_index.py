"""What our commands take, as `make reference` wrote it: completion and `list help` import no command of ours.

A test compares it with the docstrings. Commands of other trees are not in it: a roll need not be made with the system.
"""
# ruff: noqa: PTH118, PTH123 - pathlib would cost start-up time

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from rocks.commands._framework.declarations import Taken, taken_by
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.base import Command

FILE = os.path.join(OUR_TREE, "_framework", "command_index.tsv")
_FIELDS = len(Taken._fields)


class IndexedCommand(NamedTuple):
    """Whether a command requires root, and what it takes."""

    must_be_root: bool
    taken: list[Taken]


def describe(command_class: type[Command]) -> IndexedCommand:
    """What the index has of a command, from its class."""
    return IndexedCommand(bool(command_class.MustBeRoot), taken_by(command_class))


def index_text() -> str:
    """The index: a line for each command of ours."""
    packages = {path: load_package(path, [OUR_TREE]) for path in all_commands([OUR_TREE])}
    found = {
        " ".join(path): describe(package.Command)
        for path, package in packages.items()
        if hasattr(package, "Command")
    }
    return "".join(
        "\t".join((name, _text(one.must_be_root), *(_text(field) for it in one.taken for field in it))) + "\n"
        for name, one in found.items()
    )


def _text(field: str | bool | tuple[str, ...]) -> str:
    return (
        ",".join(field) if isinstance(field, tuple) else str(int(field) if isinstance(field, bool) else field)
    )


def read_index() -> dict[str, IndexedCommand]:
    """The words of each command of ours → what the index has of it."""
    with open(FILE, encoding="utf-8") as file:
        return dict(map(_entry, file))


def find_in_index(command_path: Sequence[str]) -> IndexedCommand | None:
    """What the index has of one command; None if it is not one of ours."""
    start = " ".join(command_path) + "\t"
    with open(FILE, encoding="utf-8") as file:
        return next((_entry(line)[1] for line in file if line.startswith(start)), None)


def _entry(line: str) -> tuple[str, IndexedCommand]:
    name, must_be_root, *fields = line.rstrip("\n").split("\t")
    taken = []
    for i in range(0, len(fields), _FIELDS):
        kind, argument, type_, optional, repeat, values, *others = fields[i : i + _FIELDS]
        only = tuple(values.split(",")) if values else ()
        taken.append(Taken(kind, argument, type_, optional == "1", repeat == "1", only, *others))
    return name, IndexedCommand(must_be_root == "1", taken)
