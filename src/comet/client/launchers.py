"""A launcher, which is a folder with a `launcher.toml` and what its command needs; and what is known of a launch."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional

from comet.client.durations import walltime_to_minutes
from comet.client.errors import RefusedError, UsageError
from comet.client.files import locked, replace_file, state_folder, toml_document

STEPS = ("prepare", "work", "end", "fetch", "ended")
"""`prepare`: it has asked for no computeset. `work`: one may have been asked for. `fetch`: its end was seen, and the
results are not here yet."""

_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Launcher:
    """What is launched, from which folder (absolute). Walltime in minutes."""

    folder: str
    nodes: int
    walltime: int
    files: list[str]
    command: str
    results: list[str]
    user: str


@dataclass
class Launch:
    """A launch: what was asked for, and how far it is. Times in seconds since 1970.

    `has_run`: the command may have been started. `problem` says why the launch failed, '' if it did not.
    `results` is the folder of this machine that they are fetched into; `fetched` its inode, before it gets its name.
    """

    endpoint: str
    username: str
    launcher: Launcher
    cluster: str
    allocation: Optional[str]
    address: str
    results: str
    step: str = "prepare"
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    asked_at: float = 0.0
    computeset: Optional[int] = None
    created: Optional[str] = None
    nodes: list[str] = field(default_factory=list)
    ends_at: float = 0.0
    has_run: bool = False
    problem: str = ""
    status: int = 0
    fetched: int = 0


class Group:
    """The launch of one name, in one file below XDG_STATE_HOME. UsageError for a name that cannot be one.

    The key of the request that starts the computeset is in the file before the request is sent. So a launch that was
    killed learns the number of its computeset by sending the same request again: nothing is started twice.
    """

    def __init__(self, name: str) -> None:
        if not _GROUP.fullmatch(name):
            raise UsageError(f"'{name}' is not a group's name: letters, digits and _ . - (--group=NAME)")
        self.name = name
        self.path = state_folder() / "launch" / f"{name}.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """While nobody else launches this group. RefusedError if somebody does."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self.path.with_suffix(".lock").open("w")
        except OSError as error:
            raise UsageError(f"the state of launches cannot be kept: {error}; set XDG_STATE_HOME") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RefusedError(f"group {self.name} is being launched by another comet") from None
            yield

    def load(self) -> Optional[Launch]:
        """The launch of the group; None if there is none. UsageError for a file that is none of ours."""
        try:
            document = json.loads(self.path.read_text("utf-8"))
            found = Launch(launcher=Launcher(**document.pop("launcher")), **document)
            if found.step not in STEPS:
                raise ValueError(f"its step {found.step!r} is of another version of comet")
            return found
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(
                f"{self.path} cannot be read ({error}): look at comet computeset --state=active, end what you do not "
                "need, and remove the file"
            ) from error

    def claim(self, launch: Launch) -> None:
        """Save a launch on a computeset that is there already. RefusedError if another group uses it from here."""
        with locked(self.path.with_name(".lock")):  # two launches at once; no group has this name
            for path in self.path.parent.glob("*.json"):
                # none of ours, or of another version: its own launch says so
                with contextlib.suppress(UsageError):
                    other = Group(path.stem)
                    found = other.load()
                    if (
                        found is not None
                        and other.name != self.name
                        and found.step != "ended"
                        and (found.endpoint, found.computeset) == (launch.endpoint, launch.computeset)
                    ):
                        raise RefusedError(
                            f"group {other.name} is launched on computeset {launch.computeset}: continue it with "
                            f"--group={other.name}, or start another computeset"
                        )
            self.save(launch)

    def save(self, launch: Launch) -> None:
        """UsageError where it cannot be written."""
        try:
            replace_file(self.path, json.dumps(asdict(launch)), 0o600)
        except OSError as error:
            raise UsageError(
                f"{self.path} cannot be written: {error.strerror}. Make room, and give the same command again"
            ) from error


def read_launcher(folder: Path, count: Optional[int]) -> Launcher:
    """The launcher of a folder, with `count` nodes if that is given. UsageError for what cannot be launched."""
    path = folder / FILE
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read: {reason}. A launcher is a folder with a {FILE}") from error
    values = launcher_values(text, str(path), count)
    for name in values["files"]:
        _check_file(path, name)
    return Launcher(folder=str(folder.resolve()), **values)


def _check_file(path: Path, name: str) -> None:
    """UsageError unless it is there, with files, folders, and links to files in the launcher's folder alone."""
    folder = path.parent.resolve()
    top = folder / name
    if not top.exists():
        raise UsageError(f"{path}: there is no {name} in {folder}")
    for it in (top, *(Path(where) / it for where, inner, files in os.walk(top) for it in (*inner, *files))):
        place = Path(os.path.realpath(it))
        is_link_to_folder = it.is_symlink() and place.is_dir()
        if folder not in place.parents or is_link_to_folder or not (place.is_file() or place.is_dir()):
            raise UsageError(
                f"{path}: {it} leads out of the launcher's folder, or is neither a file, a folder nor a link to a file"
            )


# What a `launcher.toml` may have: for `comet launch`, and for the form of Nucleus's page.
#
#     nodes = 2                     # how many computes
#     walltime = "2h"               # of their computeset
#     files = ["dock", "ligands"]   # of this folder: they are copied to the cluster's frontend
#     command = "sh dock"           # runs there, in the folder of the copies; the file `nodes` has a name a line
#     results = ["poses"]           # files and folders that it leaves there, to be fetched
#     user = "root"                 # who logs in on the frontend
#
# `walltime`, `files`, `results` and `user` may be left out.


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
