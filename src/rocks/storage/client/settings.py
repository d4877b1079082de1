"""Address of the message broker, and the frontend's certificate."""

from __future__ import annotations

import os
from typing import Mapping

from rocks.core.errors import StateError, UserError
from rocks.storage.bus import BusSettings
from rocks.storage.wire import queues

PKI_FOLDER = "/etc/rocks/pki"


def broker_settings(node: str, server: str, address: str, environment: Mapping[str, str]) -> BusSettings:
    """How this machine, `node` in the cluster, reaches the broker of the host `server` at that address.

    The environment has priority: ROCKS_BROKER_ADDRESS, ROCKS_BROKER_PORT, ROCKS_BROKER_NAME (the name in the
    broker's certificate) and ROCKS_PKI_FOLDER (the folder of node.pem and ca.crt). StateError without a certificate,
    UserError when this user may not read it.
    """
    folder = environment.get("ROCKS_PKI_FOLDER") or PKI_FOLDER
    pair = os.path.join(folder, "node.pem")  # noqa: PTH118 - pathlib costs start-up time
    if not os.path.exists(pair):  # noqa: PTH110
        raise StateError(
            f"{node} has no certificate in {pair} for requests about images: run "
            f"rocks add host certificate {node}, rocks sync host certificate {node} and rocks sync broker"
        )
    if not os.access(pair, os.R_OK):
        raise UserError(f"only root may send requests about images: this user cannot read {pair}")
    port = environment.get("ROCKS_BROKER_PORT") or str(queues.PORT)
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f'ROCKS_BROKER_PORT is "{port}"; a port is a number from 1 to 65535')
    elsewhere = environment.get("ROCKS_BROKER_ADDRESS")
    return BusSettings(
        node,
        elsewhere or address,
        int(port),
        environment.get("ROCKS_BROKER_NAME") or elsewhere or server,
        pair,
        os.path.join(folder, "ca.crt"),  # noqa: PTH118
    )
