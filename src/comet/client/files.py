"""Files of the user: TOML that is read, and texts that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comet.client.errors import CometError, UsageError

_UNFINISHED = ".unfinished"
_UNFINISHED_SECONDS = 24 * 3600
"""No command writes one file for so long."""
_UNANSWERED_SECONDS = 3600
"""Later, somebody who gives the same command again means another change. A Nucleus knows a key for a day."""


def expanded(path: Path) -> Path:
    """The path with a home for its `~` or `~NAME`. UsageError for a user without one."""
    try:
        return path.expanduser()
    except RuntimeError:  # neither HOME nor an entry of passwd, as in some containers
        if path.parts[0] != "~":
            raise UsageError(f"{path}: this machine has no user {path.parts[0][1:]}") from None
        raise UsageError("this user has no home folder: set HOME") from None


def state_folder() -> Path:
    """`$XDG_STATE_HOME/comet`, by default below ~/.local/state: what a command that was killed continues from."""
    base = os.environ.get("XDG_STATE_HOME") or ""
    return (Path(base) if Path(base).is_absolute() else expanded(Path("~/.local/state"))) / "comet"


def toml_document(text: str) -> dict[str, Any]:
    """The tables of a text. ValueError if it is not TOML."""
    try:
        import tomllib as toml
    except ImportError:  # Python below 3.11
        import tomli as toml  # type: ignore[import-not-found,no-redef,unused-ignore]
    try:
        return dict(toml.loads(text))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def replace_file(path: Path, text: str, mode: int) -> None:
    """Write a text beside the file, then put it in its place. OSError leaves the file as it was."""
    import tempfile  # takes 10 ms to import, and few commands write a file

    _remove_unfinished(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".comet.", suffix=_UNFINISHED)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _remove_unfinished(folder: Path) -> None:
    """Remove what killed commands left. A file without a name (O_TMPFILE) could replace none, and macOS has none."""
    for path in folder.glob(f".comet.*{_UNFINISHED}"):
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > _UNFINISHED_SECONDS:
                path.unlink()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """While no other `comet` has locked the file, which is made. OSError. It is no folder, since NFS locks none."""
    import fcntl

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def request_key(request: str) -> Iterator[tuple[str, bool]]:
    """The key of a change, and whether its command was given before, and was killed before the answer.

    With the same key, Nucleus changes nothing again. A second `comet` at the same moment has another key, as has one
    that cannot write the file.
    """
    import fcntl

    key, is_repeated, file = os.urandom(16).hex(), False, None
    path = state_folder() / "unanswered" / hashlib.sha256(request.encode()).hexdigest()[:32]
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            opened = stack.enter_context(path.open("a+"))
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            opened.seek(0)
            stored, status = opened.read(), os.fstat(opened.fileno())
            if status.st_nlink:  # else the command that had it locked has removed it
                is_repeated = len(stored) == len(key) and time.time() - status.st_mtime < _UNANSWERED_SECONDS
                if not is_repeated:
                    opened.truncate(0)
                    opened.write(key)
                    opened.flush()
                key, file = stored if is_repeated else key, path
        try:
            yield key, is_repeated
        except CometError as error:
            # a repetition may be refused before Nucleus looks at the key: then the change may be there
            if file is not None and not (is_repeated or error.may_be_done):
                file.unlink()
            raise
        if file is not None:
            file.unlink()
