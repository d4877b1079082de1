"""Folders on a host: made with the mode that is asked for, whatever the umask, and their names made lasting."""

from __future__ import annotations

import os
from pathlib import Path


def ensure_folders(path: Path, mode: int) -> None:
    """The folder and those above it; what is missing gets the mode, what is there stays. OSError as the system says."""
    if path.is_dir():
        return
    ensure_folders(path.parent, mode)
    try:
        path.mkdir(mode)
    except FileExistsError:
        if not path.is_dir():
            raise
        return  # somebody else made it just now
    path.chmod(mode)


def sync_folder(path: Path) -> None:
    """Have the names in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
