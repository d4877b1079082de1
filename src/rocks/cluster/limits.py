"""Defaults, limits and deadlines of virtual clusters. Pure."""

COMPUTE_CPUS = 1
COMPUTE_MEMORY_MB = 1024
"""CPUs and memory of a compute of a new cluster, where the operator gives no others.

The help of `rocks add cluster` has them, too. Its disk, and what its frontend has: `machine.limits` and
`inventory.limits`."""

MAX_COMPUTES = 4000
"""Of a cluster."""

CLONES_AT_ONCE = 40
"""Clones in one request: the NAS answers other requests between two."""

REINSTALL_WAIT_SECONDS = 3600
"""How long the write-back of images is waited for, by default: meanwhile no other command can change the machines."""
