"""Defaults, limits and deadlines of what looks at the whole site. Pure.

Those of requests of owners are rules: `site.airboss.rules`.
"""

CERTIFICATE_DAYS = 825
LONGEST_CERTIFICATE_DAYS = 3650
"""How long the certificate of a host is valid."""

HOST_SECONDS = 5.0
NAS_SECONDS = 5.0
"""How long an overview waits for a host or a NAS; then it counts as silent."""

CHECK_SECONDS = 15.0
"""How long a check waits for each host's answer; all are asked at once."""
