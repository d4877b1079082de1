"""How many bytes a receiver takes from a sender, which may send anything; pure."""

from __future__ import annotations

SMALLEST_BLOCK_BYTES = 512
"""The smallest volblocksize."""

_RECORD_BYTES = 312
"""A record of a stream, of which each block has one."""

_SLACK_BYTES = 16 * 2**20
_MOVE_FACTOR = 4
"""ZFS counts 128 bytes for a block that is embedded in its pointer; a stream has a record and the block's data."""

_MOVE_SLACK_BYTES = 2**30


def largest_stream_bytes(volume_bytes: int, block_bytes: int = SMALLEST_BLOCK_BYTES) -> int:
    """Of a stream of one snapshot of a volume: every block once, and its record."""
    blocks = -(-volume_bytes // block_bytes)
    return volume_bytes + blocks * _RECORD_BYTES + _SLACK_BYTES


def largest_move_bytes(stated_bytes: int, present_bytes: int) -> int:
    """Of the rest of an image: its snapshots take `stated_bytes` at the sender, `present_bytes` are here already."""
    return max(0, _MOVE_FACTOR * stated_bytes + _MOVE_SLACK_BYTES - present_bytes)
