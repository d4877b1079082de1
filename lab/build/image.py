"""The image that all machines boot from: ext4 filled by mke2fs itself, so without loop device and without mount."""

from __future__ import annotations

from pathlib import Path

from rocks.core.process import run_checked

IMAGE_BYTES = 6 * 1024**3
"""Sparse. The tree uses 0.7 GB; the rest is free for guests' disks and logs."""

_DEADLINE_SECONDS = 300.0


def write_image(tree: Path, image: Path) -> None:
    """Write the tree into a new sparse file `image`. With a journal: machines are killed, and must come back."""
    with image.open("xb") as file:
        file.truncate(IMAGE_BYTES)
    options = ["-t", "ext4", "-L", "lab", "-m", "0", "-J", "size=32"]
    lazily = ["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"]
    run_checked(
        ["mke2fs", "-q", "-F", *options, *lazily, "-d", str(tree), str(image)],
        deadline_seconds=_DEADLINE_SECONDS,
    )
