"""Bounds that the frontend, which writes /etc/imgstorage.conf, and the daemons, which read it, share."""

DEFAULT_TRANSFERS = 8
MAX_TRANSFERS = 64
"""Concurrent transfers of a NAS, each with its own threads; attribute `imgstorage-workers`."""
