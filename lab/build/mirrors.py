"""Where packages come from: this machine's own mirrors of Debian, as apt knows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rocks.core.errors import StateError
from rocks.core.process import run

_TOOLS = Path(__file__).absolute().parents[2] / "tools"
_DEADLINE_SECONDS = 300.0
_VARIABLE = "DEBIAN_RELEASE"


def release() -> str:
    """The name of the release that tools/release prints, such as `bookworm`. StateError for another system."""
    return _answer("release").split()[0]


def names_of_releases() -> list[str]:
    """The names of all releases that tools/release knows, from the oldest."""
    return [line.split()[0] for line in _answer("release", "all").splitlines()]


@contextmanager
def of_release(name: str) -> Iterator[None]:
    """Set DEBIAN_RELEASE in the environment of this process and of the programs that it runs, until the block's end."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = name
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
        if before is not None:
            os.environ[_VARIABLE] = before


def sources(backports: bool = False) -> str:
    """Apt's sources with ZFS's `contrib`, and with the backports where they are asked for, as of tools/debian-sources.

    StateError when this machine's apt names no mirror of the release, or when it does not answer.
    """
    options = ["--backports"] if backports else []
    return _answer("debian-sources", *options, "main", "contrib")


def _answer(program: str, *arguments: str) -> str:
    done = run([str(_TOOLS / program), *arguments], deadline_seconds=_DEADLINE_SECONDS)
    if done.exit_status != 0:
        raise StateError(done.error_text.strip().removeprefix("Error: "))
    return done.text
