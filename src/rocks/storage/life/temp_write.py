"""The size of a temp-write volume; pure. How full it is, and when it must grow: `space`."""

from __future__ import annotations

CHUNK_BYTES = 8192
EXCEPTION_BYTES = 16


def temp_write_bytes(volume_bytes: int) -> int:
    """The size of a temp-write volume: every chunk of the image, 16 bytes of metadata for each and a margin of 1 %, in
    whole chunks of 8 KiB.
    """
    chunks = -(-volume_bytes // CHUNK_BYTES)
    metadata = chunks * EXCEPTION_BYTES
    return (
        -(-(chunks * CHUNK_BYTES + max(metadata, volume_bytes // 100) + 16 * CHUNK_BYTES) // CHUNK_BYTES)
        * CHUNK_BYTES
    )
