"""Defaults, limits and deadlines of images of operating systems. Pure."""

from rocks.core.units import BYTES_PER_GIB

DEFAULT_MAX_GB = 200
"""How large an image may become when it is imported, where the operator gives no other size."""

LARGEST_IMAGE_GB = 65536
LONGEST_COMMENT = 200

RESERVED_BYTES = BYTES_PER_GIB
"""What stays free in the file system of a library."""

LEAST_FREE_BYTES = BYTES_PER_GIB
"""What stays free in the file system of the disks."""

STALLED_SECONDS = 120.0
"""A host that takes nothing of an image for this long has failed."""

STORE_SECONDS = 900.0
"""The time in which the host has the whole image on its disk, after it has taken it."""
