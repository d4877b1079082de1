"""Defaults, limits and deadlines of a virtual machine and of its moves. Pure.

Elsewhere, since lower rooms need them: CPUs, and the memory that is left to a host, `inventory.limits`; the size of a
volume on a NAS `storage.limits`.
"""

from rocks.core.units import BYTES_PER_GIB

DEFAULT_MEMORY_MB = 2048
LEAST_MEMORY_MB = 32
"""Less is a typing error: no kernel of today boots in it."""
LARGEST_MEMORY_MB = 64 * 1024 * 1024

DEFAULT_DISK_GB = 36
LARGEST_DISK_GB = 1_000_000

LEAST_FREE_BYTES = BYTES_PER_GIB
"""The least free space in the file system of an image: with less, the guest would soon stop with a write error."""

MAX_INTERFACES = 26

SHUTDOWN_SECONDS = 60
"""How long a guest has to shut down, where the operator gives no other time."""

AGENT_SECONDS = 20
"""How long a guest agent may take to freeze or thaw its file systems: it writes all their data first."""

STATUS_SECONDS = 5.0
"""How long a listing waits for a host."""

LOCK_SECONDS = 30.0
"""How long an operation on a host waits for the lock of its machine."""

FENCE_SECONDS = 120.0
"""How long the command of `vm_fence_command` may take."""

LIVE_TICK_SECONDS = 5.0
LIVE_SILENT_SECONDS = 60.0
"""A live migration ends when one of its hosts, or the frontend, was silent for so long: each sends a tick."""

LIVE_DIRECT_SECONDS = 5.0
"""How long the old host waits for the new one on the direct way, before memory and disks go through the frontend."""

LIVE_STILL_SECONDS = 600.0
"""A live migration that has sent nothing more for this long has failed, though both agents are there."""

LIVE_DOWNTIME_MILLISECONDS = 100
"""How long a machine may stand still at the end of a live migration.

It is paused while QEMU sends the rest of its memory, by QEMU's default for at most 300 ms. In addition, the last
messages of both libvirts pass through the frontend several times.
"""
