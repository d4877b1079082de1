"""Files whose zeros take space."""

import os
from pathlib import Path

from rocks.machine.host.snapshots import free_holes


def test_the_space_of_zeros_is_freed_and_the_content_stays(tmp_path: Path) -> None:
    """A file system that cannot do it keeps the space; the content is the same on each."""
    file = tmp_path / "image"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, 10**7)
        os.pwrite(descriptor, b"data", 5 * 10**6)
        before = os.fstat(descriptor).st_blocks
        free_holes(descriptor)
        assert os.fstat(descriptor).st_blocks <= before
        assert os.fstat(descriptor).st_size == 10**7
    finally:
        os.close(descriptor)
    content = file.read_bytes()
    assert content.strip(b"\0") == b"data" and content[5 * 10**6 : 5 * 10**6 + 4] == b"data"
