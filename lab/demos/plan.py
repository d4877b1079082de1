"""The `rocks` commands that describe the demo's site, without those whose result is in the database. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple

from rocks.inventory.mac_pool import MASK, base_from_address

FRONTEND = "head"
CLUSTER = "vc1"
COMPUTES = 2
GUEST = f"vm-{CLUSTER}-0"
GUESTS = (CLUSTER, *(f"vm-{CLUSTER}-{number}" for number in range(COMPUTES)))

# Ranges of documentation (RFC 5737) and of private use (RFC 1918), in the demo's own network namespace.
_PRIVATE = ("10.1.0.0", "255.255.0.0", "10.1.1.1")
_PUBLIC = ("203.0.113.0", "255.255.255.0", "203.0.113.2")
_GATEWAY = "203.0.113.1"
_CLUSTER_ADDRESS = "203.0.113.9"

Arguments = tuple[str, ...]


class FrontendFacts(NamedTuple):
    """Facts about this machine: processors, the site's two network devices, what its kernel can do."""

    cpus: int
    private_device: str
    public_device: str
    has_vlans: bool
    has_filters: bool
    image_folder: str


class Described(NamedTuple):
    """Contents of the cluster database: names, and attributes of the whole site and of the frontend."""

    networks: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    frontend_interfaces: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = {}
    frontend_attributes: Mapping[str, str] = {}


def addresses() -> tuple[str, str]:
    """The frontend's addresses with the length of their prefixes: private, public."""
    private, public = (
        str(ipaddress.ip_interface(f"{ip}/{netmask}")) for _, netmask, ip in (_PRIVATE, _PUBLIC)
    )
    return private, public


def site_commands(machine: FrontendFacts, described: Described) -> list[Arguments]:
    """Commands that describe the site, in order; those whose object is in the database already are left out."""
    commands: list[Arguments] = []
    for name, (subnet, netmask, _), more in (
        ("private", _PRIVATE, ("servedns=yes",)),
        ("public", _PUBLIC, ()),
    ):
        if name not in described.networks:
            commands.append(("add", "network", name, f"subnet={subnet}", f"netmask={netmask}", *more))
    if FRONTEND not in described.hosts:
        commands.append(
            ("add", "host", FRONTEND, "membership=Frontend", "rack=0", "rank=0", f"cpus={machine.cpus}")
        )
    commands += _attribute_commands(machine, described)
    commands += _interface_commands(machine, described)
    if CLUSTER not in described.hosts:
        commands.append(
            ("add", "cluster", _CLUSTER_ADDRESS, str(COMPUTES), f"fe-name={CLUSTER}", "cluster-naming=true")
        )
        # Its disk gets a system, too, so there is nothing to install.
        commands.append(("set", "host", "boot", CLUSTER, "action=os"))
    return commands


def _attribute_commands(machine: FrontendFacts, described: Described) -> list[Arguments]:
    site = {
        "Kickstart_PrivateHostname": FRONTEND,
        "Kickstart_PublicGateway": _GATEWAY,
        "vm_mac_base_addr": base_from_address(_PUBLIC[2]),
        "vm_mac_base_addr_mask": MASK,
        "vm_image_directory": machine.image_folder,
        "kvm_netboot": "no",
        "site_demo": "yes",
    }
    frontend = {"kvm": "true"}
    if not machine.has_vlans:
        frontend["vlan_transport"] = "local"
    if not machine.has_filters:
        frontend["vm_filter"] = "off"
    missing = site.items() - described.attributes.items()
    missing_of_frontend = frontend.items() - described.frontend_attributes.items()
    return [("set", "attr", *pair) for pair in site.items() if pair in missing] + [
        ("set", "host", "attr", FRONTEND, *pair) for pair in frontend.items() if pair in missing_of_frontend
    ]


def _interface_commands(machine: FrontendFacts, described: Described) -> list[Arguments]:
    commands: list[Arguments] = []
    devices = (
        (machine.private_device, "private", _PRIVATE[2]),
        (machine.public_device, "public", _PUBLIC[2]),
    )
    for device, network, address in devices:
        if device not in described.frontend_interfaces:
            commands.append(
                ("add", "host", "interface", FRONTEND, device, f"ip={address}", f"subnet={network}")
            )
            if network == "private":
                # VLAN devices are then called DEVICE.VLAN, not pDEVICE.VLAN: the device is not renamed here.
                commands.append(("set", "host", "interface", "options", FRONTEND, device, "novtap"))
            else:  # as `rocks create site` has it; the published pragma_boot asks for it
                commands.append(("add", "host", "route", FRONTEND, "0.0.0.0", _GATEWAY, "netmask=0.0.0.0"))
    return commands
