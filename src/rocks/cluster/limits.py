"""Defaults, limits and deadlines of virtual clusters. Pure."""

COMPUTE_MEMORY_MB = 1024
"""Of a compute, where the operator gives no other memory."""

MAX_COMPUTES = 4000
"""Of a cluster."""

CLONES_AT_ONCE = 40
"""Clones in one request: the NAS answers other requests between two."""

REINSTALL_WAIT_SECONDS = 3600
"""How long the write-back of images is waited for, by default: meanwhile no other command can change the machines."""
