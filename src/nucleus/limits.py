"""Limits of owners and of projects, and what several modules need of other limits and defaults. Pure.

What a site sets is in the settings file, with its defaults in `configuration`.
"""

LIMITS = {
    "vms": "virtual machines that run at the same time",
    "cpus": "processors of the machines that run",
    "memory_mb": "memory in MB of the machines that run",
    "disk_gb": "disks in GB of the machines that run",
    "sets": "computesets that have not ended",
    "walltime_minutes": "longest walltime of a computeset in minutes",
    "node_hours": "node hours of each allocation",
    "images": "images",
    "image_bytes": "bytes of images",
    "consoles": "consoles that are open at the same time",
}
"""Limits of a project, all optional. `nucleus project limit` sets them; a new project has `FIRST_LIMITS`."""

FIRST_LIMITS = {"images": 100, "image_bytes": 200 * 10**9}
"""The limits of a new project: images are what an owner can fill the site's disk with."""

MAX_WALLTIME_MINUTES = 10_000_000
"""The longest walltime that a request may have; a site sets less (`most_walltime_minutes`)."""

MAX_SESSIONS = 20
"""Usable tokens of a user's sign-ins by a password: the next sign-in ends the one that nothing has used for longest."""

MAX_TOKENS = 100
"""Usable tokens of a user besides those of sign-ins. So many that have ended are listed; older ones are forgotten."""

DEFAULT_TOKEN_DAYS = 90
MAX_TOKEN_DAYS = 3650
"""How long a token lasts; a site may set less (`most_token_days`)."""

SIGNATURE_WINDOW_SECONDS = 1800
"""How far the time of a signed request may be from that of the server."""

STALE_INTERVALS = 3
"""After so many intervals without an answer, what the mirror has is called stale."""

LONGEST_WAIT_SECONDS = 50
"""How long a request waits for the end of an operation; proxies end a request after 60."""

MAX_PER_PAGE = 1000
"""Entries of a list in one answer."""
