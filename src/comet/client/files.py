"""Files of the user: TOML that is read, and texts that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comet.client.errors import UsageError


def expanded(path: Path) -> Path:
    """The path with a home for its `~` or `~NAME`. UsageError for a user without one."""
    try:
        return path.expanduser()
    except RuntimeError:  # neither HOME nor an entry of passwd, as in some containers
        if path.parts[0] != "~":
            raise UsageError(f"{path}: this machine has no user {path.parts[0][1:]}") from None
        raise UsageError("this user has no home folder: set HOME") from None


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

    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".comet.")
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


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """While no other `comet` has locked the file, which is made. OSError. It is no folder, since NFS locks none."""
    import fcntl

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
