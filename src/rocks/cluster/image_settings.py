"""What the image storage daemons of a host are told. Pure. Source: img-storage specification §1.3 and §3.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocks.cluster.attributes import KNOWN
from rocks.cluster.image_places import check_pool_name
from rocks.cluster.network_rules import check_zone
from rocks.cluster.values import read_number
from rocks.errors import StateError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.cluster.records import Host

MOST_WORKERS = 256


@dataclass(frozen=True)
class SaidSettings:
    """What a person said for all hosts of a report; '' is what the attributes say."""

    network: str = ""
    pool: str = ""
    workers: str = ""


@dataclass(frozen=True)
class DaemonSettings:
    """What the daemons of one host are told; `network` is the DNS zone in which NAS and hosts meet."""

    name: str
    frontend: str
    network: str
    pool: str
    workers: int

    @property
    def is_frontend(self) -> bool:
        """Whether the host is the frontend itself."""
        return self.name.lower() == self.frontend.lower()


def check_said(said: SaidSettings) -> None:
    """UserError for a zone, a pool or a number of workers that is none."""
    _read_settings(said.network, said.pool, said.workers)


def daemon_settings(host: Host, local: str, private_zone: str, said: SaidSettings) -> DaemonSettings:
    """The settings of one host: what was said, else its own attributes, else the network private and the defaults.

    The frontend is the one that its attributes name, else `local`, the host that this machine is. StateError that
    names the host and what to set when an attribute has a fault, or when there is no frontend or no zone at all.
    """

    def setting(said: str, *attributes: str, default: str = "") -> str:
        values = (said, *(host.attribute(name) for name in attributes), default)
        return next((value for value in values if value), "")

    frontend = setting("", "Kickstart_PrivateHostname", default=local)
    if not frontend:
        raise StateError(
            f"host {host.name} has no frontend: the attribute Kickstart_PrivateHostname is not set, and this machine "
            "is no host; set it with rocks set attr Kickstart_PrivateHostname NAME"
        )
    network = setting(said.network, "imgstorage-network", default=private_zone)
    if not network:
        raise StateError(
            f"host {host.name} has no network for images: the attribute imgstorage-network is not set, and the "
            "network private has no zone; set one with rocks set attr imgstorage-network ZONE"
        )
    default_pool = KNOWN["vm_container_zpool"].default
    pool = setting(said.pool, "imgstorage-pool", "vm_container_zpool", default=default_pool)
    workers = setting(said.workers, "imgstorage-workers", default=KNOWN["imgstorage-workers"].default)
    try:
        number = _read_settings(network, pool, workers)
    except UserError as error:
        raise StateError(
            f"the attributes of host {host.name} have a fault: {error}; rocks list host attr {host.name} shows "
            "imgstorage-network, imgstorage-pool, vm_container_zpool and imgstorage-workers"
        ) from None
    return DaemonSettings(host.name, frontend, network, pool, number)


def _read_settings(network: str, pool: str, workers: str) -> int:
    """The number of workers, 0 when none is given; UserError for a word that is wrong. '' is right everywhere."""
    checks: list[tuple[str, Callable[[str], None]]] = [(network, check_zone), (pool, check_pool_name)]
    for text, check in checks:
        if text:
            check(text)
    return read_number("workers", workers, 1, MOST_WORKERS) if workers else 0
