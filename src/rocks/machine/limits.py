"""Defaults and limits of a virtual machine. Pure.

Elsewhere, since lower rooms need them: `inventory.cpu_limits`, the size of a volume on a NAS `storage.volumes.plan`.
"""

DEFAULT_MEMORY_MB = 2048
LEAST_MEMORY_MB = 32
"""Less is a typing error: no kernel of today boots in it."""
LARGEST_MEMORY_MB = 64 * 1024 * 1024

DEFAULT_DISK_GB = 36
LARGEST_DISK_GB = 1_000_000

MAX_INTERFACES = 26

SHUTDOWN_SECONDS = 60
"""How long a guest has to shut down, where the operator gives no other time."""
