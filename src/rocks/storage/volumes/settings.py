"""Roles of a node in image storage, and the settings of its daemons. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, UserError
from rocks.core.names import check_plain_name
from rocks.core.values import TRUE_VALUES, read_number
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.network.network_rules import check_zone
from rocks.storage.limits import MAX_TRANSFERS
from rocks.storage.volumes.places import NAS_APPLIANCE, check_pool_name
from rocks.storage.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rocks.inventory.records import Host


FRONTEND_APPLIANCE = "frontend"

_BY_ATTRIBUTE = {
    names.NAS: ("img_storage_nas", NAS_APPLIANCE),
    names.HOST: ("img_storage_vm", "vm-container"),
}
"""Role → the attribute that assigns it, and the appliance that has it when the attribute is not set."""


def storage_roles(attributes: Mapping[str, str]) -> frozenset[str]:
    """The roles of a node, from its attributes, including intrinsic ones."""
    found = {name.lower(): value.lower() for name, value in attributes.items()}
    appliance = found.get("appliance", "")
    roles = set()
    for role, (attribute, usual) in _BY_ATTRIBUTE.items():
        value = found.get(attribute, "")
        if value in TRUE_VALUES or (not value and appliance == usual):
            roles.add(role)
    if appliance == FRONTEND_APPLIANCE:
        roles.add(names.FRONTEND)
    return frozenset(roles)


def why_no_certificate(attributes: Mapping[str, str], is_virtual: bool, is_broker: bool) -> str | None:
    """Why a host must not have a certificate of the storage network (after its name); None when it may.

    A virtual machine belongs to a tenant: with a certificate it could send and receive images of all clusters.
    """
    if is_virtual:
        return "is a virtual machine"
    if not is_broker and not storage_roles(attributes):
        return "is neither a NAS nor a VM container nor the frontend"
    return None


# --- settings of the daemons of a host -----------------------------------------------------------------------------


BROKER_ATTRIBUTE = "RABBITMQ_Server"


@dataclass(frozen=True)
class RequestedSettings:
    """Settings that the operator gives for all hosts of a report; '' leaves a setting to the attributes."""

    network: str = ""
    pool: str = ""
    workers: str = ""


@dataclass(frozen=True)
class DaemonSettings:
    """Settings of the daemons of one host: `network` is the DNS zone of the storage network, `broker` the host of the
    message broker.
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
    """The host of the message broker of images: the one in the attribute, else the frontend.

    UserError when the attribute is neither the name of a host nor an address.
    """
    host = attributes.get(BROKER_ATTRIBUTE, "")
    if not host or host.lower() == frontend.lower():
        return frontend
    check_plain_name(BROKER_ATTRIBUTE, host)
    return host


def check_requested_settings(requested: RequestedSettings) -> None:
    """UserError for an invalid zone, pool or number of workers."""
    _read_settings(requested.network, requested.pool, requested.workers)


def daemon_settings(
    host: Host, local: str, private_zone: str, requested: RequestedSettings
) -> DaemonSettings:
    """The settings of one host: the requested ones, else its attributes, else the network private and the defaults.

    The frontend is the one in its attributes, else `local`, the host of this machine. StateError, with the attribute to
    set, when an attribute is not valid, or when there is no frontend or no zone.
    """
    frontend = _setting(host, "", "Kickstart_PrivateHostname", default=local)
    if not frontend:
        raise StateError(
            f"host {host.name} has no frontend: the attribute Kickstart_PrivateHostname is not set, and this machine "
            "is not a host of the cluster; set it with rocks set attr Kickstart_PrivateHostname NAME"
        )
    network = storage_zone(host, private_zone, requested.network)
    pool = _setting(host, requested.pool, "imgstorage-pool", "vm_container_zpool")
    workers = _setting(host, requested.workers, "imgstorage-workers")
    try:
        number = _read_settings(network, pool, workers)
        broker = broker_host(host.attributes, frontend)
    except UserError as error:
        raise StateError(
            f"the attributes of host {host.name} are not valid: {error}; rocks list host attr {host.name} shows "
            f"imgstorage-network, imgstorage-pool, vm_container_zpool, imgstorage-workers and {BROKER_ATTRIBUTE}"
        ) from None
    return DaemonSettings(host.name, frontend, network, pool, number, broker)


def storage_zone(host: Host, private_zone: str, requested: str = "") -> str:
    """The DNS zone of the host's storage address: the requested one, else its attribute, else that of the network
    private. StateError when there is none.
    """
    zone = _setting(host, requested, "imgstorage-network", default=private_zone)
    if not zone:
        raise StateError(
            f"host {host.name} has no network for images: the attribute imgstorage-network is not set, and the "
            f"network {PRIVATE_NETWORK} has no zone; set one with rocks set attr imgstorage-network ZONE"
        )
    return zone


def _setting(host: Host, requested: str, *attributes: str, default: str = "") -> str:
    """The requested value, else the first attribute that has a value, else the default."""
    values = (requested, *(host.attribute(name) for name in attributes), default)
    return next((value for value in values if value), "")


def _read_settings(network: str, pool: str, workers: str) -> int:
    """The number of workers, 0 when none is given; UserError for an invalid setting. '' is always valid."""
    checks: list[tuple[str, Callable[[str], None]]] = [(network, check_zone), (pool, check_pool_name)]
    for text, check in checks:
        if text:
            check(text)
    return read_number("workers", workers, 1, MAX_TRANSFERS) if workers else 0


# --- /etc/imgstorage.conf, as the daemons read it ------------------------------------------------------------------


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
