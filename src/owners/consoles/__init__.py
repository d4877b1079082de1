"""Consoles: tickets, a WebSocket for each, and its page, which uses scripts of the portal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nucleus.parts import Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import APIRouter

    from nucleus.configuration import Configuration


def _routers() -> Sequence[APIRouter]:
    from owners.consoles import rest

    return [rest.router]


def _files(configuration: Configuration) -> Mapping[str, Path]:
    libraries = Path(configuration.console.libraries)
    return {
        "console": Path(__file__).parent / "static",
        "novnc": libraries / "novnc",
        "xterm": libraries / "xterm",
    }


PART = Part(routers=_routers, files=_files)
