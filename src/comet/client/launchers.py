"""A launcher: a folder with the file `launcher.toml` and what its command needs.

    nodes = 2                     # how many computes
    walltime = "2h"               # of their computeset
    files = ["dock", "ligands"]   # of this folder: they are copied to the cluster's frontend
    command = "sh dock"           # runs there, in the folder of the copies; the file `nodes` has a name a line
    results = ["poses"]           # files and folders that it leaves there, to be fetched
    user = "root"                 # who logs in on the frontend

`walltime`, `files`, `results` and `user` may be left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from comet.client.durations import walltime_to_minutes
from comet.client.errors import UsageError
from comet.client.files import toml_document

FILE = "launcher.toml"
NODES, OUTPUT = "nodes", "output"
"""What a launch itself puts beside the copies: the names of nodes, and what the command printed."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_LONGEST_COMMAND = 64_000
_KEYS = {"nodes": int, "walltime": str, "files": list, "command": str, "results": list, "user": str}
_KINDS = {int: "a number", str: "text in quotes", list: "a list of names in quotes"}


@dataclass(frozen=True)
class Launcher:
    """What is launched, from which folder (absolute). Walltime in minutes."""

    folder: str
    nodes: int
    walltime: int
    files: tuple[str, ...]
    command: str
    results: tuple[str, ...]
    user: str


def read_launcher(folder: Path, count: Optional[int] = None) -> Launcher:
    """The launcher of a folder, with `count` nodes if that is given. UsageError for what cannot be launched."""
    path = folder / FILE
    try:
        document = toml_document(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}. A launcher is a folder with a {FILE}") from error
    values = {"walltime": "2d", "files": [], "results": [], "user": "root", **document}
    if count is not None:
        values["nodes"] = count
    _check(path, values)
    if values["nodes"] < 1:
        raise UsageError(f"{path}: {values['nodes']} nodes launch nothing; give at least 1 (nodes, or -n N)")
    if not values["command"].strip() or not values["command"].replace("\n", "").isprintable():
        raise UsageError(f"{path}: command is empty, or has control characters")
    if len(values["command"].encode()) > _LONGEST_COMMAND:
        raise UsageError(
            f"{path}: command is longer than {_LONGEST_COMMAND} bytes: give it as a script in files"
        )
    if not _USER.fullmatch(values["user"]):
        raise UsageError(f"{path}: '{values['user']}' is not a user's name")
    for name in values["files"]:
        _check_file(path, name)
    for name in values["results"]:
        _check_name(path, name)
    values["walltime"] = walltime_to_minutes(values["walltime"])
    return launcher_of({"folder": str(folder.resolve()), **values})


def launcher_of(values: Mapping[str, Any]) -> Launcher:
    """A launcher of checked values, in which lists may be as JSON and TOML have them."""
    fixed: dict[str, Any] = {key: tuple(it) if isinstance(it, list) else it for key, it in values.items()}
    return Launcher(**fixed)


def _check(path: Path, values: Mapping[str, Any]) -> None:
    """Every key, and the type of each value."""
    unknown = sorted(set(values) - set(_KEYS))
    if unknown:
        raise UsageError(f"{path}: the key '{unknown[0]}' is unknown; there are {', '.join(_KEYS)}")
    for key, kind in _KEYS.items():
        if key not in values:
            raise UsageError(f"{path}: '{key}' is missing")
        value = values[key]
        is_right = isinstance(value, kind) and not isinstance(value, bool)
        if not is_right or (kind is list and not all(isinstance(it, str) for it in value)):
            raise UsageError(f"{path}: '{key}' is not {_KINDS[kind]}")


def _check_name(path: Path, name: str) -> None:
    if not _NAME.fullmatch(name) or name in (NODES, OUTPUT):
        raise UsageError(
            f"{path}: '{name}' is not the name of a file or folder directly in the launcher's: letters, digits and "
            f"_ . + - without slashes; {NODES} and {OUTPUT} are taken"
        )


def _check_file(path: Path, name: str) -> None:
    """It is there, with files, folders, and links to files in the launcher's folder alone."""
    _check_name(path, name)
    folder = path.parent.resolve()
    top = folder / name
    if not top.exists():
        raise UsageError(f"{path}: there is no {name} in {folder}")
    found = [top, *(Path(where) / it for where, inner, files in os.walk(top) for it in (*inner, *files))]
    for it in found:
        try:
            place = it.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise UsageError(f"{path}: {it} leads nowhere: {error}") from error
        if folder not in place.parents:
            raise UsageError(f"{path}: {it} leads out of the launcher's folder, to {place}")
        if it.is_symlink() and place.is_dir():
            raise UsageError(f"{path}: {it} is a link to a folder: put the folder in its place")
        if not place.is_file() and not place.is_dir():
            raise UsageError(f"{path}: {it} is neither a file nor a folder")
