"""What makes the result of a program the same each time: its environment, and the modes and times of its files."""

from __future__ import annotations

import os
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/nonexistent"}


def set_modes_and_times(tree: Path, epoch: int) -> None:
    """Give all files and folders of the tree the same modes and this time, in seconds since 1970. OSError."""
    for path, _, files in os.walk(tree, topdown=False):
        for name in files:
            Path(path, name).chmod(0o644)
            os.utime(Path(path, name), (epoch, epoch))
        Path(path).chmod(0o755)
        os.utime(path, (epoch, epoch))
