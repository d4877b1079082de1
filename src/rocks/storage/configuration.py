"""The configuration of a daemon: /etc/imgstorage.conf, as `rocks report host imgstorage` prints it, and addresses.

The file is a JSON list of one object with texts, so `configparser` cannot read it.
Unknown keys are ignored.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, NamedTuple, Optional

from rocks.core.errors import HostError, StateError
from rocks.storage.limits import DEFAULT_TRANSFERS, MAX_TRANSFERS

PATH = Path("/etc/imgstorage.conf")
STREAM_PORT = 7443
"""Port of a NAS for transfers, beside that of iSCSI."""

PORTAL_PORT = 3260


class Configuration(NamedTuple):
    """Names of this node and of the frontend, the zone of the storage network, the node's own pool, the concurrent
    transfers of a NAS, and the host of the message broker."""

    name: str
    frontend_name: str
    network: str
    default_pool: str
    transfers: int
    broker_name: str


def read_configuration(path: Path = PATH) -> Configuration:
    """The configuration of this node. StateError when it is missing, incomplete or invalid."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StateError(
            f"{path} is missing; write the output of `rocks report host imgstorage` there"
        ) from None
    except (OSError, ValueError) as error:
        raise StateError(
            f"{path} cannot be read ({error}); write the output of `rocks report host imgstorage` there"
        ) from None
    values = found[0] if isinstance(found, list) and len(found) == 1 else None
    if not isinstance(values, dict):
        raise StateError(
            f"{path} is no list of one object; write the output of `rocks report host imgstorage` there"
        )
    # an attribute without a value becomes an empty text
    workers = values.get("img_sync_workers") or str(DEFAULT_TRANSFERS)
    if not _is_number_of_transfers(workers):
        raise StateError(
            f"img_sync_workers in {path} is {workers!r}; a whole number from 1 to {MAX_TRANSFERS} is needed: set the "
            "attribute imgstorage-workers, and write the output of `rocks report host imgstorage` there"
        )
    frontend = _text(path, values, "frontend_name")
    return Configuration(
        _text(path, values, "name"),
        frontend,
        _text(path, values, "network", "local"),
        _text(path, values, "default_pool", "tank"),
        int(workers),
        _text(path, values, "broker_name", frontend),
    )


def storage_address(node: str, network: str) -> str:
    """The address of a node on the storage network: that of `<short name>.<zone>`, else that of its name.

    HostError when neither resolves.
    """
    for name in (f"{node.partition('.')[0]}.{network}", node):
        try:
            return str(socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
        except OSError:
            continue
    raise HostError(
        f"Host {node} is unknown: neither {node.partition('.')[0]}.{network} nor {node} has an address"
    )


def _is_number_of_transfers(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and text.isdigit() and 0 < int(text) <= MAX_TRANSFERS


def _text(path: Path, values: Any, key: str, default: Optional[str] = None) -> str:
    value = values.get(key, default)
    if not isinstance(value, str) or not value:
        raise StateError(
            f"{key} is missing in {path}; write the output of `rocks report host imgstorage` there"
        )
    return value
