"""What several modules need of the defaults, limits, deadlines and intervals of image storage. Pure.

Those of attributes are the site's: `inventory.attributes.known.storage` has their rows.
"""

DEFAULT_TRANSFERS = 8
MAX_TRANSFERS = 64
"""Copies that a NAS sends at once, and as many that it receives, each with its own threads; attribute
`imgstorage-workers`."""

DEFAULT_GRACE_HOURS = 24
LONGEST_GRACE_HOURS = 366 * 24
"""For which a removed image can be restored; attribute `img_grace_hours`."""

BLOCK_BYTES = 16 * 1024
"""Block size of new volumes: a guest's 4 KiB write costs four times its size when written back, not thirty-two."""

HEARTBEAT_SECONDS = 30.0
LOST_SECONDS = 150.0
"""A host is shown as lost: five heartbeats are missing."""

ALIVE_SECONDS = 20.0
"""How often an end that reads a volume or a file, and sends nothing of it, says so."""

DEVICE_SECONDS = 30.0
"""How long a daemon waits until udev has made the device of a volume."""

MAP_SECONDS = 300.0
"""How long a command waits for a device: a new volume, an export, a login."""

WRITE_BACK_SECONDS = 24 * 3600.0
"""How long a command waits for images that are transferred first, however large."""
