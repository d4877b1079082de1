"""What the frontend that writes /etc/imgstorage.conf and the daemons that read it agree upon."""

DEFAULT_TRANSFERS = 8
MOST_TRANSFERS = 64
"""A NAS has so many transfers at the same time, each with threads of its own; attribute `imgstorage-workers`."""
