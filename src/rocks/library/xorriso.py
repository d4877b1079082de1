"""xorriso: it writes ISO images, the same bytes each time, and reads them without a mount."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, StateError, ToolError
from rocks.core.process import run
from rocks.core.reproducible import ENVIRONMENT, set_modes_and_times

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rocks.core.process import Finished

_SECONDS = 7200


def write_iso(tree: Path, iso: Path, volume: str, epoch: int) -> None:
    """Write the files of a folder as an ISO. The same tree and time (seconds since 1970) give the same bytes.

    ToolError when xorriso fails, HostError when the folder cannot be prepared.
    """
    try:
        set_modes_and_times(tree, epoch)
    except OSError as error:
        raise HostError(f"cannot prepare {tree}: {error.strerror}") from None
    made = datetime.fromtimestamp(epoch, UTC)
    volume_id = re.sub(r"[^A-Z0-9_]", "_", volume.upper())[:32]
    arguments = ["-as", "mkisofs", "-quiet", "-r", "-iso-level", "3", "-V", volume_id]
    arguments += [f"--modification-date={made:%Y%m%d%H%M%S}00", "-uid", "0", "-gid", "0"]
    done = run_xorriso([*arguments, "-o", str(iso.absolute()), str(tree.absolute())], epoch)
    if done.exit_status != 0:
        raise ToolError(f"xorriso did not write {iso}: {failure_of(done)}")


def run_xorriso(arguments: Sequence[str], epoch: int) -> Finished:
    """Run xorriso, reproducibly unless the time is 0. StateError when it is not installed.

    Where a fault in its memory ends it, it is run once more: xorriso 1.5.4 did so by chance on a loaded machine, with
    input that it wrote before and after.
    """
    environment = dict(ENVIRONMENT)
    if epoch:
        environment["SOURCE_DATE_EPOCH"] = str(epoch)
    try:
        for _ in range(2):
            done = run(["xorriso", "-no_rc", *arguments], deadline_seconds=_SECONDS, environment=environment)
            if not re.search(r"^UNIX-SIGNAL:\s+SIG(SEGV|ABRT|BUS)", done.error_text, re.MULTILINE):
                break
        return done
    except ToolError as error:
        if "cannot start" in str(error):
            raise StateError(f"{error}: install the package xorriso (apt-get install xorriso)") from None
        raise


def failure_of(done: Finished) -> str:
    """Why xorriso failed; it catches the signal that ends it, names it and exits with 1."""
    if ended := re.search(r"^UNIX-SIGNAL:\s+(\w+)", done.error_text, re.MULTILINE):
        return f"{ended[1]} ended it"
    lines = [
        line for line in done.error_text.splitlines() if re.search(r": (FAILURE|FATAL|SORRY|MISHAP) :", line)
    ]
    return lines[0] if lines else f"xorriso ended with exit status {done.exit_status}"
