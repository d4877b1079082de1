"""What a `launcher.toml` may have: for `comet launch`, and for the form of Nucleus's page.

    nodes = 2                     # how many computes
    walltime = "2h"               # of their computeset
    files = ["dock", "ligands"]   # of this folder: they are copied to the cluster's frontend
    command = "sh dock"           # runs there, in the folder of the copies; the file `nodes` has a name a line
    results = ["poses"]           # files and folders that it leaves there, to be fetched
    user = "root"                 # who logs in on the frontend

`walltime`, `files`, `results` and `user` may be left out.
"""

from __future__ import annotations

import re
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
_MAX_NODES = 100_000
_KEYS = {"nodes": int, "walltime": str, "files": list, "command": str, "results": list, "user": str}
_KINDS = {int: "a number", str: "text in quotes", list: "a list of names in quotes"}


def launcher_values(text: str, path: str, count: Optional[int] = None) -> dict[str, Any]:
    """The value of every key, walltime in minutes; `count` nodes if that is given. UsageError for another text."""
    try:
        document = toml_document(text)
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    values: dict[str, Any] = {"walltime": "2d", "files": [], "results": [], "user": "root", **document}
    if count is not None:
        values["nodes"] = count
    _check(path, values)
    for name in (*values["files"], *values["results"]):
        if not _NAME.fullmatch(name) or name in (NODES, OUTPUT):
            raise UsageError(
                f"{path}: '{name}' is not the name of a file or folder directly in the launcher's: letters, digits "
                f"and _ . + - without slashes; {NODES} and {OUTPUT} are taken"
            )
    try:
        values["walltime"] = walltime_to_minutes(values["walltime"])
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return values


def _check(path: str, values: dict[str, Any]) -> None:
    """Every key, the type of each value, and what is no command, number or user."""
    unknown = sorted(set(values) - set(_KEYS))
    if unknown:
        raise UsageError(f"{path}: the key '{unknown[0]}' is unknown; there are {', '.join(_KEYS)}")
    for key, kind in _KEYS.items():
        if key not in values:
            raise UsageError(f"{path}: '{key}' is missing")
        value = values[key]
        if type(value) is not kind or (
            isinstance(value, list) and not all(isinstance(it, str) for it in value)
        ):
            raise UsageError(f"{path}: '{key}' is not {_KINDS[kind]}")
    if values["nodes"] < 1:
        raise UsageError(f"{path}: {values['nodes']} nodes launch nothing; give at least 1 (nodes, or -n N)")
    if values["nodes"] > _MAX_NODES:
        raise UsageError(f"{path}: no cluster has so many nodes; give at most {_MAX_NODES} (nodes, or -n N)")
    command = values["command"]
    if not command.strip() or not command.replace("\n", "").replace("\t", "").isprintable():
        raise UsageError(f"{path}: command is empty, or has control characters")
    if len(command.encode()) > _LONGEST_COMMAND:
        raise UsageError(
            f"{path}: command is longer than {_LONGEST_COMMAND} bytes: give it as a script in files"
        )
    if not _USER.fullmatch(values["user"]):
        raise UsageError(f"{path}: '{values['user']}' is not a user's name")
