"""The attributes that the system reads, by subject. Pure. Source: specification §2.2."""

from __future__ import annotations

from rocks.cluster.known_attributes.form import Known
from rocks.cluster.known_attributes.hosts import HOSTS
from rocks.cluster.known_attributes.installation import INSTALLATION
from rocks.cluster.known_attributes.machines import MACHINES
from rocks.cluster.known_attributes.storage import STORAGE

__all__ = ["KNOWN", "Known"]

KNOWN: dict[str, Known] = {**HOSTS, **MACHINES, **STORAGE, **INSTALLATION}
"""Name → scope, default and meaning, for documentation and defaults."""
