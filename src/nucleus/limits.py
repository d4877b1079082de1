"""Limits of owners and of projects, defaults, and how long something is kept or waited for. Pure.

What a site sets is in the settings file, with its defaults in `configuration`; rates and what is open at the same time
in `api.service`, of wrong credentials in `api.access.throttles`; limits of reservations in `reservations.rules`.
"""

LIMITS = {
    "vms": "virtual machines that run at the same time",
    "cpus": "processors of the machines that run",
    "memory_mb": "memory in MB of the machines that run",
    "disk_gb": "disks in GB of the machines that run",
    "sets": "computesets that have not ended",
    "walltime_minutes": "longest walltime of a computeset in minutes",
    "node_hours": "hours of nodes for each allocation",
    "images": "images",
    "image_bytes": "bytes of images",
    "consoles": "consoles that are open at the same time",
}
"""Limits of a project, all optional. `nucleus project limit` sets them; a new project has `FIRST_LIMITS`."""

FIRST_LIMITS = {"images": 100, "image_bytes": 200 * 10**9}
"""Of a new project: images are what an owner can fill the site's disk with."""

MAX_UNFINISHED = 1000
"""Changes of a project that wait or run."""

MAX_SET_TRIES = 3
"""After so many failed starts of a machine, or lost jobs before it has hosts, a computeset is given up."""

MAX_SETS_PER_HOUR = 1000
"""Computesets of a cluster that are started within an hour: what is known of them is kept for ever."""

MAX_RENAMED_PER_HOUR = 2000
"""Nodes of a cluster that are renamed within an hour, or twice as many as it has, if that is more.

Their names are kept for ever, in the history and in the audit log.
"""

MAX_WALLTIME_MINUTES = 10_000_000
"""Of a request; a site sets less (`most_walltime_minutes`)."""

MAX_TOKENS = 100
"""Usable tokens of a user. So many of those that have ended are listed besides; older ones are forgotten."""

DEFAULT_TOKEN_DAYS = 90
MAX_TOKEN_DAYS = 3650
"""How long a token lasts; a site may set less (`most_token_days`)."""

SESSION_HOURS = 12
"""After which a person signs in on the page again."""

SIGNATURE_WINDOW_SECONDS = 1800
"""How far the time of a signed request may be from that of the server."""

TICKET_SECONDS = 30
"""How long a ticket waits for its WebSocket (specification of Nucleus, §6.1)."""

UPLOAD_PAUSE_SECONDS = 60
"""After which silence of an upload its user may begin it anew under its name."""

UPLOAD_HOURS = 24
"""An upload that got nothing for so long is forgotten."""

EVENT_HOURS = 2
"""How long events are kept for clients that connect again."""

IDEMPOTENCY_HOURS = 24
"""How long the answer to a change is kept for a repetition with its key."""

RESERVATION_DAYS = 90
"""How long a reservation is listed after its last interval."""

STALE_INTERVALS = 3
"""After so many intervals without an answer, what the mirror has is called stale."""

MAX_STORED_ANSWER_BYTES = 64 << 10
"""Of an answer that is kept for a repetition; of a longer one only the place of what it has made."""

MAX_BODY_BYTES = 1 << 20
"""Of a request that is no upload."""

REQUEST_SECONDS = 60.0
"""How long the answer to a request that is no upload may take."""

BODY_SECONDS = 30.0
"""How long a client may take to send a body that is no upload."""

LONGEST_WAIT_SECONDS = 50
"""How long a request waits for the end of an operation; proxies end a request after 60."""

MAX_PER_PAGE = 1000
"""Entries of a list in one answer."""

MAX_NODES_PER_PAGE = 10_000
"""Nodes of the computesets in one answer, where some have ended; one computeset is answered whole."""

MAX_PICTURES_OF_HOST = 3
"""Of screens, at the same time."""

LONGEST_GRACE_SECONDS = 3600
"""How long a guest may take to shut down."""

SLOW_SECONDS = 60
"""How much longer than other commands one may take that waits for a guest, or removes machines.

`rocks stop host vm action=shutdown` waits as long for a guest by default.
"""

START_SECONDS = 1200
"""How much longer a start may take than other commands.

`rocks start host vm` waits a quarter of an hour for an image that is being written back, and five minutes for its
device.
"""

IMPORT_SECONDS = 800
"""How much longer the import of an image may take than other commands."""
