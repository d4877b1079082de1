"""Where packages come from: this machine's own mirrors of Debian 12, as apt knows them."""

from __future__ import annotations

from pathlib import Path

from rocks.core.errors import StateError
from rocks.core.process import run

RELEASE = "bookworm"
_PROGRAM = Path(__file__).absolute().parents[2] / "tools" / "debian-sources"
_DEADLINE_SECONDS = 300.0


def sources(backports: bool = False) -> str:
    """Apt's sources with ZFS's `contrib`, and with the backports where they are asked for, as of tools/debian-sources.

    StateError when this machine's apt names no mirror of Debian 12, or when it does not answer.
    """
    options = ["--backports"] if backports else []
    done = run([str(_PROGRAM), *options, "main", "contrib"], deadline_seconds=_DEADLINE_SECONDS)
    if done.exit_status != 0:
        raise StateError(done.error_text.strip().removeprefix("Error: "))
    return done.text
