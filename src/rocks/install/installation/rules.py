"""Which machine may get the files for a host's installation. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

from rocks.core.errors import StateError, UserError

INSTALL = "install"


class InstallingHost(NamedTuple):
    """A host by its address on the network private: its MAC addresses there, and its next boot."""

    name: str
    macs: tuple[str, ...]
    next_boot: str | None


HIGHEST_PORT_OF_ROOT = 1023


def check_port_of_root(port: int) -> None:
    """UserError for a request of a program that was not root's: every user of the host has its addresses."""
    if not 0 < port <= HIGHEST_PORT_OF_ROOT:
        raise UserError(
            f"the request comes from port {port}, which any user can have; as root, send it from a port below "
            f"{HIGHEST_PORT_OF_ROOT + 1}: curl --local-port 512-{HIGHEST_PORT_OF_ROOT} …"
        )


def identify(
    address: str, neighbour: str, stated: Iterable[str], host: InstallingHost | None
) -> InstallingHost:
    """The host that asks. UserError for an unknown machine, or one with another host's address.

    `neighbour` is the MAC address that the kernel of the frontend has for it ('' for none), `stated` are those that its
    installer states.
    Nothing of the database is in the text for an unknown client.
    """
    if host is None:
        raise UserError(
            f"no host has the address {address} on the network private; on the frontend: "
            "rocks list host interface"
        )
    known = {_normal(mac) for mac in host.macs}
    if not known:
        raise UserError(
            f"the host with the address {address} has no MAC address in the database; on the frontend: "
            "rocks set host interface mac"
        )
    found = [_normal(neighbour)] if neighbour else []
    stated = [_normal(mac) for mac in stated]
    if not found and not stated:
        raise UserError(
            f"the MAC address of {address} is not known: it is behind a router, and its installer does not "
            "state it; add inst.ks.sendmac to the arguments of the installer's kernel"
        )
    if (found and known.isdisjoint(found)) or (stated and known.isdisjoint(stated)):
        raise UserError(
            f"the address {address} belongs to a host with another MAC address than "
            f"{', '.join(dict.fromkeys((*found, *stated)))}; on the frontend: rocks list host interface"
        )
    return host


def check_is_to_be_installed(host: InstallingHost) -> None:
    """StateError for a host whose next boot is not its installation."""
    if host.next_boot != INSTALL:
        raise StateError(
            f"host {host.name} is not to be installed, its next boot is {host.next_boot or 'os'}; on the frontend: "
            f"rocks set host boot {host.name} action=install"
        )


def stated_macs(headers: list[tuple[str, str]]) -> tuple[str, ...]:
    """The MAC addresses in an installer's headers: `X-RHN-Provisioning-MAC-0: eth0 02:00:00:00:00:01`."""
    values = [value.split() for name, value in headers if name.lower().startswith("x-rhn-provisioning-mac-")]
    return tuple(parts[-1] for parts in values if len(parts) in (1, 2))


def neighbour_mac(table: str, address: str) -> str:
    """The MAC address of a neighbour in the text of /proc/net/arp; '' when the kernel has none."""
    for line in table.splitlines()[1:]:
        columns = line.split()
        # 0x2: the entry is complete
        if len(columns) >= 4 and columns[0] == address and int(columns[2], 16) & 2:
            return columns[3]
    return ""


def is_attached(table: str, address: str) -> bool:
    """Whether an address is reached without a gateway, by the text of /proc/net/route; a default route never counts."""
    asked, found = int.from_bytes(bytes(int(part) for part in address.split(".")), "big"), []
    for line in table.splitlines()[1:]:
        columns = line.split()
        if len(columns) < 8:
            continue
        network, mask = _swapped(columns[1]), _swapped(columns[7])
        if mask and asked & mask == network:
            # 0x2: by a gateway; 0x200: rejected
            found.append((-mask, int(columns[6]), not int(columns[3], 16) & 0x202))
    return min(found)[2] if found else False


def _swapped(text: str) -> int:
    """An address of /proc/net/route, which is printed in the machine's order of bytes."""
    return int.from_bytes(int(text, 16).to_bytes(4, sys.byteorder), "big")


def _normal(mac: str) -> str:
    return mac.strip().lower()
