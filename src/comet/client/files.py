"""Files: TOML that is read, and texts that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any


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
