"""`rocks --complete`: prints what may follow on a command line, one a line, for the completion of a shell.

    rocks --complete line NAME LINE           what follows NAME in LINE, up to the cursor (bash)
    rocks --complete words WORD … CURRENT     the arguments so far, and the one at the cursor (zsh)

It prints nothing else: an error would appear in the middle of what a person types.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from rocks.commands._framework.completion import completions
from rocks.commands._framework.tree import tree_folders
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 1.0
"""A person does not wait longer for names: the process ends."""


def main(arguments: Sequence[str]) -> int:
    """Print the completions; the exit status is 0, whatever is wrong."""
    try:
        _complete(arguments)
    except Exception:  # noqa: BLE001 - `rocks` itself will report what is wrong
        return 0
    return 0


def program(arguments: Sequence[str]) -> int:
    """As `main`, for a process of its own: it ends after a second, and its standard error is closed to all."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    status = main(arguments)
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(2, 1)  # the reader has gone
    return status


def _complete(arguments: Sequence[str]) -> None:
    form, *rest = arguments
    texts = split(rest[1], rest[0]) if form == "line" else rest
    if not texts:
        return
    found = completions(texts[:-1], texts[-1], tree_folders())
    _print(found.texts)
    if not found.kinds:
        return
    from rocks.database.connection import Database
    from rocks.database.settings import read_settings
    from rocks.site.completion import names_that_begin

    try:
        with Database(read_settings()) as database:
            alone = found._replace(texts=[])
            _print(alone.all(lambda kind, beginning: names_that_begin(database, kind, beginning)))
    except RocksError:
        return


def split(line: str, name: str) -> list[str]:
    """The arguments that follow the program's name in a line; the last is that at the cursor, perhaps empty.

    None between quotes. In a line such as `VARIABLE=1 rocks list`, the name is not the first.
    """
    import shlex

    splitter = shlex.shlex(line, posix=True, punctuation_chars=False)
    splitter.whitespace_split = True
    splitter.commenters = ""
    texts: list[str] = []
    try:
        texts.extend(splitter)
    except ValueError:
        return []
    if not line or line[-1].isspace():
        texts.append("")
    return texts[texts.index(name) + 1 :] if name in texts else []


def _print(texts: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{text}\n" for text in texts))
    sys.stdout.flush()
