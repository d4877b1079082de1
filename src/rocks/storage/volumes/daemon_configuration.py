"""/etc/imgstorage.conf, as the image storage daemons read it. Pure. Source: img-storage specification §1.3."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rocks.storage.volumes.settings import DaemonSettings

CONFIGURATION_PATH = "/etc/imgstorage.conf"

_FOR_XML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
"""JSON escapes for the characters of XML markup: the block is valid in both."""


def configuration_lines(settings: DaemonSettings) -> list[str]:
    """The `file` element of a node file."""
    return [f'<file name="{CONFIGURATION_PATH}">', configuration_text(settings), "</file>"]


def configuration_text(settings: DaemonSettings) -> str:
    """The file's only line: a JSON list of one object, whose values are texts.

    The frontend's object also has `secur_server`; `broker_name` is present when the message broker is on another host
    than the frontend.
    """
    values: dict[str, str | bool] = {
        "name": settings.name,
        "frontend_name": settings.frontend,
        "network": settings.network,
        "default_pool": settings.pool,
        "img_sync_workers": str(settings.workers),
    }
    if settings.broker != settings.frontend:
        values["broker_name"] = settings.broker
    if settings.is_frontend:
        values["secur_server"] = True
    return json.dumps([values]).translate(_FOR_XML)
