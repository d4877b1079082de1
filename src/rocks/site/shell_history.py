"""The lines that a person typed in `rocks shell`: a file in the home folder that only this person can read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError
from rocks.core.files import explain, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = ".rocks_history"
MAX_LINES = 1000
_MAX_BYTES = 1 << 20
_PRIVATE = 0o600


def read() -> list[str]:
    """The stored lines, the oldest first; none where there is no file, or nothing that can be read."""
    try:
        with _path().open("rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8", "replace")
    except (OSError, RuntimeError):
        return []
    return [line for line in text.splitlines() if line.isprintable()][-MAX_LINES:]


def append(lines: Sequence[str]) -> None:
    """Add the lines of a shell that ends. HostError when the file cannot be written."""
    if not lines:
        return
    try:
        path = _path()
    except RuntimeError:
        return  # a user without a home folder
    stored = [*read(), *(line for line in lines if line.isprintable())][-MAX_LINES:]
    try:
        write_file(path, "".join(f"{line}\n" for line in stored), mode=_PRIVATE)
    except OSError as error:
        raise HostError(f"cannot write {path}: {explain(error, path)}") from None


def _path() -> Path:
    return Path("~").expanduser() / NAME
