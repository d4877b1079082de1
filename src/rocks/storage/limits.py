"""Defaults, limits, deadlines and intervals of image storage, which its daemons and the frontend share. Pure.

Those of attributes are the site's: `inventory.attributes.known.storage` has their rows. What a device or a protocol
forces stays beside its code.
"""

DEFAULT_TRANSFERS = 8
MAX_TRANSFERS = 64
"""Copies that a NAS sends at once, and as many that it receives, each with its own threads; attribute
`imgstorage-workers`."""

HOST_TRANSFERS = 2
"""Transfers of a NAS with one host at once."""

DEFAULT_PULL_SECONDS = 300
"""How often a NAS pulls a snapshot of what a machine has written on its host, where the map names no other period."""

LAST_SNAPSHOTS, HOURLY_SNAPSHOTS, DAILY_SNAPSHOTS = 3, 24, 7
"""How many automatic snapshots stay: the newest, and one for each of so many hours and days."""

DEFAULT_GRACE_HOURS = 24
LONGEST_GRACE_HOURS = 366 * 24
"""For which a removed image can be restored; attribute `img_grace_hours`."""

BLOCK_BYTES = 16 * 1024
"""Block size of new volumes: a guest's 4 KiB write costs four times its size when written back, not thirty-two."""

LARGEST_VOLUME_GIB = 16 * 1024**2
"""16 PiB, below the limit of ZFS."""

MAX_TRIES = 5
"""Of a step that fails; a busy or silent machine is waited for without limit."""

FIRST_DELAY_SECONDS = 1
LONGEST_DELAY_SECONDS = 300
"""Between two tries: twice as long after each failure."""

AGEING_SECONDS = 600
"""A transfer that has waited this long takes precedence over one of the next kind."""

HEARTBEAT_SECONDS = 30.0
LOST_SECONDS = 150.0
"""A host is shown as lost: five heartbeats are missing."""

SILENCE_SECONDS = 120.0
"""How long an end of a transfer waits for the next byte before it ends the connection; a transfer is resumable."""

ALIVE_SECONDS = 20.0
"""How often an end that reads a volume or a file, and sends nothing of it, says so."""

DEVICE_SECONDS = 30.0
"""How long a daemon waits until udev has made the device of a volume."""

QUICK_SECONDS = 20.0
"""How long a command waits for what a daemon answers at once."""

SILENT_SECONDS = 10.0
"""After which a command that waits for such an answer says so."""

MAP_SECONDS = 300.0
"""How long a command waits for a device: a new volume, an export, a login."""

WRITE_BACK_SECONDS = 24 * 3600.0
"""How long a command waits for images that are transferred first, however large."""
