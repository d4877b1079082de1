"""Commands that services of this frontend run."""

from __future__ import annotations

import os


def outside_of_unit() -> list[str]:
    """How a unit of systemd starts a program without its own restrictions: it may have to start a machine here."""
    if "RUNTIME_DIRECTORY" not in os.environ:
        return []
    return ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--"]
