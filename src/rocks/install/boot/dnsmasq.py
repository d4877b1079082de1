"""The configuration of dnsmasq as the site's DHCP and TFTP server for network boots. Pure. Source: dnsmasq(8)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.names import misread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LEASE = "12h"
_UEFI_ARCHITECTURES = (7, 9)
"""x86-64, of RFC 4578 and as firmware states it besides."""


class BootNetwork(NamedTuple):
    """The network private as the frontend is on it: its device and address there, and what its hosts learn.

    `gateway` may be '', `mtu_bytes` 0.
    """

    device: str
    address: str
    netmask: str
    gateway: str
    name_servers: Sequence[str]
    mtu_bytes: int


class ServedHost(NamedTuple):
    """A host that gets an address by DHCP. One that boots on a bond asks from any of the bond's adapters.

    A BMC has the name ''.
    """

    name: str
    macs: Sequence[str]
    address: str


class BootPlaces(NamedTuple):
    """Absolute paths: folder of the files for TFTP; files of the hosts and of the process number of dnsmasq."""

    tftp: str
    hosts: str
    process: str


def dnsmasq_configuration(network: BootNetwork, places: BootPlaces) -> str:
    """The configuration: DHCP for known hosts on one device, and TFTP; no DNS."""
    first = ipaddress.IPv4Interface(f"{network.address}/{network.netmask}").network.network_address
    return "\n".join(
        [
            "# The boot service of the site. `rocks start service boot` writes this file at each start.",
            "port=0",
            f"interface={network.device}",
            "except-interface=lo",
            "bind-interfaces",
            "user=dnsmasq",
            "group=nogroup",
            f"pid-file={places.process}",
            "log-facility=-",
            "leasefile-ro",
            "dhcp-authoritative",
            f"dhcp-range={first},static,{network.netmask},{_LEASE}",
            "dhcp-ignore=tag:!known",
            f"dhcp-hostsfile={places.hosts}",
            # without a value the option is not sent; dnsmasq would send its own address
            f"dhcp-option=option:router{_values([network.gateway] if network.gateway else [])}",
            f"dhcp-option=option:dns-server{_values(network.name_servers)}",
            *([f"dhcp-option=option:mtu,{network.mtu_bytes}"] if network.mtu_bytes else []),
            "enable-tftp",
            f"tftp-root={places.tftp}",
            *(f"dhcp-match=set:uefi,option:client-arch,{number}" for number in _UEFI_ARCHITECTURES),
            "dhcp-userclass=set:ipxe,iPXE",
            f"dhcp-boot=tag:!ipxe,tag:!uefi,{BIOS_PROGRAM}",
            f"dhcp-boot=tag:!ipxe,tag:uefi,{UEFI_PROGRAM}",
            f"dhcp-boot=tag:ipxe,{FIRST_SCRIPT}",
            "",
        ]
    )


BIOS_PROGRAM, UEFI_PROGRAM, FIRST_SCRIPT = "undionly.kpxe", "snponly.efi", "boot.ipxe"
"""Files for TFTP: iPXE for each kind of firmware, and the script that it executes."""


def dnsmasq_hosts(hosts: Iterable[ServedHost]) -> str:
    """The file of hosts: a line `MAC,…,ADDRESS,NAME` each, in the order of their addresses.

    A name that dnsmasq takes for something else, and '', is left out: the host would get no address, or another lease.
    """
    ordered = sorted(hosts, key=lambda host: int(ipaddress.IPv4Address(host.address)))
    names = [host.name if not misread(host.name, ["dnsmasq"]) else "" for host in ordered]
    return "".join(
        f"{','.join((*host.macs, host.address, *([name] if name else [])))}\n"
        for host, name in zip(ordered, names, strict=True)
    )


def _values(values: Sequence[str]) -> str:
    return "".join(f",{value}" for value in values)
