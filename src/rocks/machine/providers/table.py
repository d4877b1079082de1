"""The providers of a start, in the order in which they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.machine.providers.functions import Functions
from rocks.machine.providers.images import Images
from rocks.machine.providers.partitions import Partitions
from rocks.machine.providers.placement import Placements
from rocks.machine.providers.seeds import Seeds

if TYPE_CHECKING:
    from rocks.machine.providers.provider import Provider

PROVIDERS: tuple[type[Provider], ...] = (Images, Functions, Placements, Partitions, Seeds)
