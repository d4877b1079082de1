"""Metrics of nodes, which the site's Prometheus has from the hosts, and their plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nucleus.parts import Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import APIRouter

    from nucleus.configuration import Configuration


def _routers() -> Sequence[APIRouter]:
    from owners.metrics import rest

    return [rest.router]


def _files(configuration: Configuration) -> Mapping[str, Path]:
    return {
        "metrics": Path(__file__).parent / "static",
        "uplot": Path(configuration.console.libraries) / "uplot",
    }


PART = Part(routers=_routers, files=_files)
