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
from typing import Optional

from comet.client.errors import RefusedError, UsageError
from comet.client.files import expanded, locked, replace_file
from comet.client.launcher_rules import FILE, launcher_values

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
        base = os.environ.get("XDG_STATE_HOME") or ""
        folder = Path(base) if Path(base).is_absolute() else expanded(Path("~/.local/state"))
        self.name = name
        self.path = folder / "comet" / "launch" / f"{name}.json"

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


def read_launcher(folder: Path, count: Optional[int] = None) -> Launcher:
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
    """It is there, with files, folders, and links to files in the launcher's folder alone."""
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
