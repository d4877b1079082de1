"""The states of systemd's units on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.process import run

if TYPE_CHECKING:
    from collections.abc import Sequence

_RUNNING = Path("/run/systemd/system")
"""systemd makes it when it is process 1 (sd_booted(3))."""

_SECONDS = 15.0


class UnitState(NamedTuple):
    """A unit's ActiveState (active, inactive, failed …), and whether it starts with the machine."""

    active: str
    is_enabled: bool


def runs_here() -> bool:
    """Whether systemd manages this machine."""
    return _RUNNING.is_dir()


def read_units(names: Sequence[str]) -> dict[str, UnitState]:
    """The states of those of the units that are installed; empty where systemd does not manage this machine."""
    program = shutil.which("systemctl")
    if program is None or not runs_here():
        return {}
    properties = "--property=Id,LoadState,ActiveState,UnitFileState"
    with dry_run.reading():
        done = run([program, "show", properties, "--", *names], deadline_seconds=_SECONDS)
    found = {}
    for block in done.text.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("LoadState") == "loaded":
            found[values["Id"]] = UnitState(values["ActiveState"], values["UnitFileState"] == "enabled")
    return found
