"""Files of a host's network devices: for systemd-networkd on Debian, for NetworkManager on RHEL. Pure.

The names come from files of systemd.link(5) on both: adapters get them by their own MAC address, which bridges and VLAN
devices above them do not have. Sources: systemd.network(5), nm-settings-keyfile(5).
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.cluster.host_network import HostDevice

SERVICES = {"deb": "systemd-networkd.service", "rpm": "NetworkManager.service"}
"""Kind of packages → the unit that reads the files."""

_NETWORKD = "/etc/systemd/network"
_MANAGER = "/etc/NetworkManager/system-connections"
_SPACE = uuid.UUID("5a0c3c0e-6f0b-4c0f-9a51-3f6a6a3c9f10")
"""Of the connections' identities, which are the same for the same device."""


def network_files(devices: Sequence[HostDevice], packaging: str) -> dict[str, str]:
    """Path → content. Files of NetworkManager are for root only."""
    found: dict[str, str] = {}
    for device in devices:
        found[f"{_NETWORKD}/10-{device.adapter}.link"] = _text(
            ("Match", [("PermanentMACAddress", device.mac)]),
            ("Link", [("Name", device.adapter), ("MTUBytes", str(device.mtu_bytes))]),
        )
        found |= dict(_manager_files(device) if packaging == "rpm" else _networkd_files(device))
    return found


def obsolete_files(devices: Sequence[HostDevice], packaging: str) -> list[str]:
    """Paths that another rendering of the same devices has, and this one has not."""
    names = [name for one in devices for name in (one.name, f"p{one.name}")]
    ours = [f"{_NETWORKD}/10-{name}.{end}" for name in names for end in ("link", "netdev", "network")]
    ours += [f"{_MANAGER}/rocks-{name}.nmconnection" for name in names]
    present = network_files(devices, packaging)
    return [path for path in ours if path not in present]


def file_permissions(path: str) -> str:
    """Octal digits: NetworkManager takes no file that others can read."""
    return "600" if path.startswith(_MANAGER) else "644"


def _networkd_files(device: HostDevice) -> Iterator[tuple[str, str]]:
    if device.bridge:
        yield (
            f"{_NETWORKD}/10-{device.bridge}.netdev",
            _text(
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
            _text(
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
    yield f"{_NETWORKD}/10-{device.name}.network", _text(*sections)


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


def _text(*sections: tuple[str, list[tuple[str, str]]]) -> str:
    parts = (
        f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in settings) for name, settings in sections
    )
    return "\n".join(parts)
