"""What the image storage daemons of a host are told. Pure. Source: img-storage specification §1.3 and §3.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocks.cluster.attributes import KNOWN
from rocks.cluster.image_places import check_pool_name
from rocks.cluster.names import check_plain_word
from rocks.cluster.network_rules import check_zone
from rocks.cluster.values import read_number
from rocks.errors import StateError, UserError
from rocks.wire.imgstorage_conf import MOST_TRANSFERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rocks.cluster.records import Host

BROKER_ATTRIBUTE = "RABBITMQ_Server"
PRIVATE_NETWORK = "private"
"""The network whose zone is that of images where the attribute imgstorage-network says none."""


@dataclass(frozen=True)
class RequestedSettings:
    """What a person said for all hosts of a report; '' is what the attributes say."""

    network: str = ""
    pool: str = ""
    workers: str = ""


@dataclass(frozen=True)
class DaemonSettings:
    """What the daemons of one host are told; `network` is the DNS zone in which NAS and hosts meet, `broker` the host
    of the message broker.
    """

    name: str
    frontend: str
    network: str
    pool: str
    workers: int
    broker: str

    @property
    def is_frontend(self) -> bool:
        """Whether the host is the frontend itself."""
        return self.name.lower() == self.frontend.lower()


def broker_host(attributes: Mapping[str, str], frontend: str) -> str:
    """The host of the message broker of images: the one that the attribute says, else the frontend.

    UserError when the attribute says what is no host's name and no address.
    """
    said = attributes.get(BROKER_ATTRIBUTE, "")
    if not said or said.lower() == frontend.lower():
        return frontend
    check_plain_word(BROKER_ATTRIBUTE, said)
    return said


def check_requested_settings(said: RequestedSettings) -> None:
    """UserError for a zone, a pool or a number of workers that is none."""
    _read_settings(said.network, said.pool, said.workers)


def daemon_settings(host: Host, local: str, private_zone: str, said: RequestedSettings) -> DaemonSettings:
    """The settings of one host: what was said, else its own attributes, else the network private and the defaults.

    The frontend is the one that its attributes name, else `local`, the host that this machine is. StateError that
    names the host and what to set when an attribute has a fault, or when there is no frontend or no zone at all.
    """

    frontend = _setting(host, "", "Kickstart_PrivateHostname", default=local)
    if not frontend:
        raise StateError(
            f"host {host.name} has no frontend: the attribute Kickstart_PrivateHostname is not set, and this machine "
            "is no host; set it with rocks set attr Kickstart_PrivateHostname NAME"
        )
    network = storage_zone(host, private_zone, said.network)
    default_pool = KNOWN["vm_container_zpool"].default
    pool = _setting(host, said.pool, "imgstorage-pool", "vm_container_zpool", default=default_pool)
    workers = _setting(host, said.workers, "imgstorage-workers", default=KNOWN["imgstorage-workers"].default)
    try:
        number = _read_settings(network, pool, workers)
        broker = broker_host(host.attributes, frontend)
    except UserError as error:
        raise StateError(
            f"the attributes of host {host.name} have a fault: {error}; rocks list host attr {host.name} shows "
            f"imgstorage-network, imgstorage-pool, vm_container_zpool, imgstorage-workers and {BROKER_ATTRIBUTE}"
        ) from None
    return DaemonSettings(host.name, frontend, network, pool, number, broker)


def storage_zone(host: Host, private_zone: str, said: str = "") -> str:
    """The DNS zone in which the host has its storage address: what was said, else its attribute, else that of the
    network private. StateError when there is none at all.
    """
    zone = _setting(host, said, "imgstorage-network", default=private_zone)
    if not zone:
        raise StateError(
            f"host {host.name} has no network for images: the attribute imgstorage-network is not set, and the "
            f"network {PRIVATE_NETWORK} has no zone; set one with rocks set attr imgstorage-network ZONE"
        )
    return zone


def _setting(host: Host, said: str, *attributes: str, default: str = "") -> str:
    """What was said, else the first attribute that has a value, else the default."""
    values = (said, *(host.attribute(name) for name in attributes), default)
    return next((value for value in values if value), "")


def _read_settings(network: str, pool: str, workers: str) -> int:
    """The number of workers, 0 when none is given; UserError for a word that is wrong. '' is right everywhere."""
    checks: list[tuple[str, Callable[[str], None]]] = [(network, check_zone), (pool, check_pool_name)]
    for text, check in checks:
        if text:
            check(text)
    return read_number("workers", workers, 1, MOST_TRANSFERS) if workers else 0
