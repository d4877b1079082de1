"""Files of a host's network devices: for systemd-networkd on Debian, for NetworkManager on RHEL. Pure.

The names come from files of systemd.link(5) on both: adapters get them by their own MAC address, which bridges and VLAN
devices above them do not have. Sources: systemd.network(5), nm-settings-keyfile(5).
"""

from __future__ import annotations

import shlex
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.cluster.host_network import HostDevice

SERVICES = {"deb": "systemd-networkd.service", "rpm": "NetworkManager.service"}
"""Kind of packages → the unit that reads the files."""

_NETWORKD = "/etc/systemd/network"
_MANAGER = "/etc/NetworkManager/system-connections"
MARK = "# Written by Rocks, which removes it when the host no longer has the device."
"""The first line of each file of systemd, also of those that our installer writes."""

_SPACE = uuid.UUID("5a0c3c0e-6f0b-4c0f-9a51-3f6a6a3c9f10")
"""Of the connections' identities, which are the same for the same device."""


def network_files(devices: Sequence[HostDevice], packaging: str) -> dict[str, str]:
    """Path → content. Files of NetworkManager are for root only."""
    found: dict[str, str] = {}
    for device in devices:
        found[f"{_NETWORKD}/10-{device.adapter}.link"] = _marked(
            ("Match", [("PermanentMACAddress", device.mac)]),
            ("Link", [("Name", device.adapter), ("MTUBytes", str(device.mtu_bytes))]),
        )
        found |= dict(_manager_files(device) if packaging == "rpm" else _networkd_files(device))
    return found


def removal_text(devices: Sequence[HostDevice], packaging: str) -> str:
    """A call of a profile's function that removes the files of devices that are no longer among these: those of
    systemd begin with `MARK`; NetworkManager writes its files anew without comments, and there the name counts.
    """
    return f"rocks_marked_files_absent {shlex.join([MARK, *network_files(devices, packaging)])}"


def file_permissions(path: str) -> str:
    """Octal digits: NetworkManager takes no file that others can read."""
    return "600" if path.startswith(_MANAGER) else "644"


def _networkd_files(device: HostDevice) -> Iterator[tuple[str, str]]:
    if device.bridge:
        yield (
            f"{_NETWORKD}/10-{device.bridge}.netdev",
            _marked(
                (
                    "NetDev",
                    [
                        ("Name", device.bridge),
                        ("Kind", "bridge"),
                        ("MACAddress", device.mac),
                        ("MTUBytes", str(device.mtu_bytes)),
                    ],
                ),
                ("Bridge", [("STP", "no")]),
            ),
        )
        yield (
            f"{_NETWORKD}/10-{device.adapter}.network",
            _marked(
                ("Match", [("Name", device.adapter)]),
                ("Network", [("Bridge", device.bridge), ("LinkLocalAddressing", "no")]),
            ),
        )
    settings = [("LinkLocalAddressing", "no")]
    if device.address:
        settings.insert(0, ("Address", device.address))
    if device.gateway:
        settings.append(("Gateway", device.gateway))
    sections = [("Match", [("Name", device.name)]), ("Network", settings)]
    if not device.address:
        # the boot does not wait for it
        sections.insert(1, ("Link", [("RequiredForOnline", "no")]))
    yield f"{_NETWORKD}/10-{device.name}.network", _marked(*sections)


def _manager_files(device: HostDevice) -> Iterator[tuple[str, str]]:
    addresses = [("method", "manual" if device.address else "disabled")]
    if device.address:
        addresses.append(("address1", device.address + (f",{device.gateway}" if device.gateway else "")))
    ends = [("ipv4", addresses), ("ipv6", [("method", "disabled")])]
    mtu = ("mtu", str(device.mtu_bytes))
    if not device.bridge:
        yield _connection(device.adapter, "ethernet", [], [("ethernet", [mtu]), *ends])
        return
    kind = ("bridge", [("mac-address", device.mac), ("stp", "false")])
    yield _connection(device.bridge, "bridge", [], [("ethernet", [mtu]), kind, *ends])
    port = [("master", device.bridge), ("slave-type", "bridge")]
    yield _connection(device.adapter, "ethernet", port, [("ethernet", [mtu])])


def _connection(
    name: str, kind: str, more: list[tuple[str, str]], sections: list[tuple[str, list[tuple[str, str]]]]
) -> tuple[str, str]:
    """A keyfile, by the name of its device."""
    first = [
        ("id", name),
        ("uuid", str(uuid.uuid5(_SPACE, name))),
        ("type", kind),
        ("interface-name", name),
        *more,
    ]
    return f"{_MANAGER}/rocks-{name}.nmconnection", _text(("connection", first), *sections)


def _marked(*sections: tuple[str, list[tuple[str, str]]]) -> str:
    """A file of systemd."""
    return f"{MARK}\n{_text(*sections)}"


def _text(*sections: tuple[str, list[tuple[str, str]]]) -> str:
    parts = (
        f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in settings) for name, settings in sections
    )
    return "\n".join(parts)
