"""The attributes that the system reads, by subject. Pure. Source: specification §2.2."""

from __future__ import annotations

from rocks.inventory.attributes.known.form import Known
from rocks.inventory.attributes.known.hosts import HOSTS
from rocks.inventory.attributes.known.installation import INSTALLATION
from rocks.inventory.attributes.known.machines import MACHINES
from rocks.inventory.attributes.known.storage import STORAGE

__all__ = ["KNOWN", "Known"]

KNOWN: dict[str, Known] = {**HOSTS, **MACHINES, **STORAGE, **INSTALLATION}
"""Name → scope, default and meaning, for documentation and defaults."""
