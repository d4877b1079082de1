"""Where an author's code failed: the file and the line, without a traceback of ours."""
# ruff: noqa: PTH100, PTH118, PTH120 - pathlib would cost every command its start-up time

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_OUR_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "")


def author_place(error: BaseException) -> str:
    """`FILE, line N` of the last line of another roll's code that led to the error; "" when none did.

    Python's own modules and libraries, which that code calls, are passed over.
    """
    if isinstance(error, SyntaxError) and error.filename and _is_authors(error.filename):
        return f"{error.filename}, line {error.lineno}"
    found = ""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if _is_authors(name):
            found = f"{name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


def named_fault(error: BaseException) -> str:
    """The kind and text of an error, and its place in another roll's code; a SyntaxError names its place itself."""
    place = "" if isinstance(error, SyntaxError) else author_place(error)
    return f"{type(error).__name__}: {error}{f' ({place})' if place else ''}"


def _is_authors(name: str) -> bool:
    from rocks.commands._framework.tree import OUR_TREE, tree_folders

    others = [os.path.join(folder, "") for folder in tree_folders() if folder != OUR_TREE]
    return not name.startswith(_OUR_PACKAGE) and any(name.startswith(folder) for folder in others)
