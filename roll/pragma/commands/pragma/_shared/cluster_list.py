"""The list of a repository, `vcdb.txt`: a line NAME,PATH for each cluster image."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from rocks.core.errors import UserError
from rocks.core.terminal import one_line

from .documents import read_file

LIST = "vcdb.txt"
MAX_LIST_BYTES = 1024**2
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")
"""Of a cluster image; it is part of the names of files."""


def read_list(data: bytes, what: str) -> dict[str, str]:
    """Name → path of its vc-in.xml, in the order of the list. UserError, with the line, for one that is not valid."""
    found: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, comma, path = (part.strip() for part in text.partition(","))
        where = f"line {number} of {what}"
        if not comma or not NAME.fullmatch(name):
            raise UserError(f"{where} is not NAME,PATH: {one_line(text)[:100]}")
        if name in found:
            raise UserError(f"{where} names {name} a second time; remove one of the lines")
        parts = PurePosixPath(path).parts
        if not parts or not path.isprintable() or ".." in parts or parts[:1] == (LIST,):
            raise UserError(
                f"{where} has no valid path: {one_line(path)[:100]!r}; give one without .., and not {LIST} itself"
            )
        if not path.startswith("/") and any(part.startswith(".") for part in parts):
            # such folders and files of the repository are ours, as those of clusters
            raise UserError(
                f"{where} has a path with a hidden part: {one_line(path)[:100]!r}; give another name"
            )
        found[name] = path
    return found


def read_list_file(file: Path) -> dict[str, str]:
    """As `read_list`; UserError also for a list that is too large or is no plain file. OSError."""
    data = read_file(file, MAX_LIST_BYTES)
    if len(data) > MAX_LIST_BYTES:
        raise UserError(
            f"{file} has more than {MAX_LIST_BYTES} bytes; this is no list of clusters: correct it"
        )
    return read_list(data, str(file))
