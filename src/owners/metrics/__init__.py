"""Metrics of nodes, which the site's Prometheus has from the hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.parts import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import APIRouter


def _routers() -> Sequence[APIRouter]:
    from owners.metrics import rest

    return [rest.router]


PART = Part(routers=_routers)
