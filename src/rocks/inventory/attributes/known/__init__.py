"""The attributes that the system reads, by subject. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.inventory.attributes.known.form import Known
from rocks.inventory.attributes.known.hosts import HOSTS
from rocks.inventory.attributes.known.installation import INSTALLATION
from rocks.inventory.attributes.known.machines import MACHINES
from rocks.inventory.attributes.known.storage import STORAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KNOWN", "Known", "value_in"]

KNOWN: dict[str, Known] = {**HOSTS, **MACHINES, **STORAGE, **INSTALLATION}
"""Name → the row of the attribute: what checks, completes, documents and reads it takes from here."""


def value_in(attributes: Mapping[str, str], name: str) -> str:
    """The value of an attribute, else the default of its row; one that the system does not read has the default ''."""
    return attributes.get(name) or (KNOWN[name].default if name in KNOWN else "")
