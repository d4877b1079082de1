"""What several modules need of the limits and deadlines of images of operating systems. Pure."""

from rocks.core.values import BYTES_PER_GIB

LEAST_FREE_BYTES = BYTES_PER_GIB
"""What stays free in the file system of the disks."""

STALLED_SECONDS = 120.0
"""A host that takes nothing of an image for this long has failed."""

STORE_SECONDS = 900.0
"""The time in which the host has the whole image on its disk, after it has taken it."""
