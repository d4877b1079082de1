"""What makes the result of a program the same each time: its environment, and the modes and times of its files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import StateError, ToolError
from rocks.core.process import run

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 1800
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/nonexistent"}


def run_tool(arguments: Sequence[str], package: str, epoch: int | None = None) -> bytes:
    """The output of a program; `epoch` is its SOURCE_DATE_EPOCH, in seconds since 1970.

    StateError when it is not installed, with Debian's `package` that has it, ToolError when it fails.
    """
    name = arguments[3] if arguments[0] == "env" else arguments[0]
    if shutil.which(name, path=PATH) is None:
        raise StateError(f"{name} is not installed: apt-get install {package}, then repeat the command")
    more = {} if epoch is None else {"SOURCE_DATE_EPOCH": str(epoch)}
    done = run(arguments, deadline_seconds=_SECONDS, environment={**ENVIRONMENT, **more})
    if done.exit_status != 0:
        raise ToolError(f"{name} failed with exit status {done.exit_status}: {done.error_text[-300:]}")
    return done.output


def set_modes_and_times(tree: Path, epoch: int) -> None:
    """Give all files and folders of the tree the same modes and this time, in seconds since 1970. OSError."""
    for path, _, files in os.walk(tree, topdown=False):
        for name in files:
            Path(path, name).chmod(0o644)
            os.utime(Path(path, name), (epoch, epoch))
        Path(path).chmod(0o755)
        os.utime(path, (epoch, epoch))
