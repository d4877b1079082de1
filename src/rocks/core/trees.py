"""The folders of other rolls' commands: those in ROCKS_TREES, and one a line in the files of /etc/rocks/trees.d.

A tree named `commands` is part of a roll's folder: the folders `nodes` and `graphs` beside it are in use with it.
"""
# ruff: noqa: PTH100, PTH112, PTH113, PTH118, PTH119, PTH120, PTH123, PTH208 - pathlib would cost every command its start-up time

from __future__ import annotations

import os

from rocks.core.errors import StateError

TREES_FOLDER = "/etc/rocks/trees.d"


def other_trees() -> list[str]:
    """All trees but ours: those of ROCKS_TREES, then those of /etc/rocks/trees.d.

    StateError, naming the file, when one in trees.d cannot be read.
    """
    folders = [folder for folder in os.environ.get("ROCKS_TREES", "").split(":") if folder]
    try:
        names = sorted(os.listdir(TREES_FOLDER))
    except OSError:
        names = []  # no such folder is the ordinary case
    for name in names:
        path = os.path.join(TREES_FOLDER, name)
        if not name.startswith(".") and os.path.isfile(path):
            folders += _read_tree_file(path)
    return list(dict.fromkeys(folders))


def roll_folders() -> list[str]:
    """The folders of rolls in use: what contains a tree `commands`, if it has `nodes` or `graphs` as well."""
    parents = [
        os.path.dirname(os.path.abspath(tree))
        for tree in other_trees()
        if os.path.basename(tree.rstrip("/")) == "commands"
    ]
    return [
        folder
        for folder in parents
        if os.path.isdir(os.path.join(folder, "nodes")) or os.path.isdir(os.path.join(folder, "graphs"))
    ]


def _read_tree_file(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(
            f"cannot read {path}, which names other command trees: {error}; fix or remove it"
        ) from None
    return [line for line in lines if line and not line.startswith("#")]
