"""What several modules need of the defaults, limits and deadlines of a virtual machine and of its moves. Pure.

Elsewhere, since lower rooms need them: CPUs `inventory.limits`; the block size of a volume on a NAS `storage.limits`.
"""

DEFAULT_MEMORY_MB = 2048
LEAST_MEMORY_MB = 32
"""Less is a typing error: no kernel of today boots in it."""
LARGEST_MEMORY_MB = 64 * 1024 * 1024

DEFAULT_DISK_GB = 36
LARGEST_DISK_GB = 1_000_000

SHUTDOWN_SECONDS = 60
"""How long a guest has to shut down, where the operator gives no other time."""

LOCK_SECONDS = 30.0
"""How long an operation on a host waits for the lock of its machine."""

LIVE_TICK_SECONDS = 5.0
LIVE_SILENT_SECONDS = 60.0
"""A live migration ends when one of its hosts, or the frontend, was silent for so long: each sends a tick."""
