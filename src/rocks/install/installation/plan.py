"""What the installer is to do on one host, from the host's records and attributes. Pure.

Every problem of a host is found before an error is raised, and the error lists them all.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rocks.core.errors import RocksError, UserError
from rocks.core.names import check_host_name, printable
from rocks.core.values import TRUE_VALUES
from rocks.install.installation.disks import DiskChoice, Partition, read_disks, read_partitions
from rocks.network.host_network_plan import (
    boot_mac,
    host_gateway,
    interface_address,
    is_bond,
    is_on,
    left_out_interface,
    no_file,
)
from rocks.network.network_rules import DEFAULT_MTU_BYTES, attribute_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rocks.inventory.records import Host, Interface

_T = TypeVar("_T")

KERNEL_ARGUMENTS = "install_kernel_arguments"
_NAME_SERVERS = "Kickstart_PrivateDNSServers"
_MAX_INTERFACES = 16
_MAX_NAME_SERVERS = 3
_MAX_KEYS = 8
_ARGUMENTS = re.compile(r"[A-Za-z0-9=,._:/+@ -]{0,500}", re.ASCII)
_URL = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[A-Za-z0-9/._~%?&=+,;@:-]*", re.ASCII)
_KEY = re.compile(r"(?:ssh-|ecdsa-)[a-z0-9-]+ [A-Za-z0-9+/=]+(?: [A-Za-z0-9@._-]+)?", re.ASCII)
_INSTALLATION = re.compile(r"[0-9a-f]{16}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.ASCII)
_DEVICE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,14}", re.ASCII)
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)


class Source(NamedTuple):
    """What the frontend offers for one installation.

    `installation` is a number of 16 hexadecimal digits, new for each installation of a host: by it the installer
    recognises its own interrupted run. `authorized_keys` are lines of root's authorized_keys. Addresses are https.
    """

    installation: str
    archive: str
    archive_sha256: str
    profile: str
    progress: str
    authorized_keys: tuple[str, ...]


class PlannedInterface(NamedTuple):
    """A network interface: device name, MAC address in lower case, address with its prefix length, MTU in bytes."""

    device: str
    mac: str
    address: str
    mtu_bytes: int


class InstallPlan(NamedTuple):
    """The plan of one host. The first interface has the gateway; '' is no gateway, domain or kernel arguments."""

    host: str
    domain: str
    interfaces: tuple[PlannedInterface, ...]
    gateway: str
    name_servers: tuple[str, ...]
    disks: tuple[DiskChoice, ...]
    overwrite: bool
    partitions: tuple[Partition, ...]
    kernel_arguments: str
    source: Source


def plan_installation(host: Host, source: Source, domain: str = "") -> InstallPlan:
    """The plan for a host. UserError with every problem of its records, its attributes and the source."""
    found = _Problems()
    found.read(lambda: check_host_name(host.name), None)
    interfaces: tuple[PlannedInterface, ...] = found.read(lambda: _interfaces(host), ())
    gateway = found.read(lambda: host_gateway(host), "")
    plan = InstallPlan(
        host.name,
        found.read(lambda: _checked(_DOMAIN, "the domain", domain), "") if domain else "",
        interfaces,
        gateway if interfaces and gateway and is_on(interfaces[0].address, gateway) else "",
        found.read(lambda: _few_name_servers(host), ()),
        found.read(lambda: _attribute(host, "install_disk", read_disks), ()),
        found.read(lambda: _attribute(host, "install_overwrite", _yes_or_no), False),
        found.read(lambda: _attribute(host, "install_partitions", read_partitions), ()),
        found.read(lambda: _attribute(host, KERNEL_ARGUMENTS, check_arguments), ""),
        source,
    )
    found.texts += _source_problems(source)
    if found.texts:
        lines = "".join(f"\n  {text}" for text in found.texts)
        raise UserError(f"the host {printable(host.name)} cannot be installed:{lines}")
    return plan


class _Problems:
    """Texts of the errors of several readers."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def read(self, reader: Callable[[], _T], otherwise: _T) -> _T:
        """What the reader returns; `otherwise` when it raises, and its error is stored."""
        try:
            return reader()
        except RocksError as error:
            self.texts.append(str(error))
            return otherwise


def check_arguments(text: str) -> str:
    """The kernel's arguments, with single blanks. UserError for characters that a boot loader would interpret."""
    if not _ARGUMENTS.fullmatch(text):
        raise UserError("it may have at most 500 letters, digits, blanks and = , . _ : / + @ -")
    return " ".join(text.split())


def with_boot_flags(attributes: Mapping[str, str], flags: str) -> Mapping[str, str]:
    """The attributes of a host, with its boot flags after the arguments of its kernel."""
    if not flags:
        return attributes
    arguments = f"{attributes.get(KERNEL_ARGUMENTS, '')} {flags}".strip()
    return {**attributes, KERNEL_ARGUMENTS: arguments}


def _interfaces(host: Host) -> tuple[PlannedInterface, ...]:
    """The interfaces with an address for which the profile has a file, too; that on the primary network is first.

    An adapter has the address of its bond, and none of its own, until the profile has set up the bond.
    """
    bonds = {one.device for one in host.interfaces if is_bond(one) and one.ip}
    own = [one for one in host.interfaces if is_bond(one) or one.channel not in bonds]
    adapters = [_adapter(host, one) for one in own if not one.is_bmc]
    complete = [one for one in adapters if one.ip and one.mac and not no_file(one)]
    if not complete:
        reasons = [
            left_out_interface(one, reason).text for one in adapters if one.ip and (reason := no_file(one))
        ]
        raise UserError(
            f"it has no interface with a device, a MAC address, an IP address and a network; add them with "
            f"rocks set host interface mac {host.name} eth0 … and rocks set host interface ip {host.name} eth0 …"
            f"{''.join(f'; {reason}' for reason in reasons)}"
        )
    if len(complete) > _MAX_INTERFACES:
        raise UserError(
            f"it has {len(complete)} interfaces with an address; at most {_MAX_INTERFACES} are set up"
        )
    primary = host.attribute("primary_net").lower()
    complete.sort(key=lambda interface: (interface.subnet or "").lower() != primary)
    return tuple(_interface(interface) for interface in complete)


def _adapter(host: Host, interface: Interface) -> Interface:
    """The interface; for a bond, the adapter with which the host boots, with the bond's address."""
    mac = boot_mac(interface, host.interfaces)
    if not is_bond(interface) or interface.mac or not mac:
        return interface
    device = next(one.device for one in host.interfaces if one.mac == mac)
    return replace(interface, device=device, mac=mac)


def _interface(interface: Interface) -> PlannedInterface:
    device = _checked(_DEVICE, "the device", interface.device or "")
    mac = _checked(_MAC, f"the MAC address of {device}", (interface.mac or "").lower())
    address = interface_address(interface)
    return PlannedInterface(device, mac, address, interface.mtu_bytes or DEFAULT_MTU_BYTES)


def name_servers(attributes: Mapping[str, str]) -> tuple[str, ...]:
    """The name servers of hosts, by their attributes or the global ones. UserError for one that is no address."""
    texts = attributes.get(_NAME_SERVERS, "").replace(",", " ").split()
    return tuple(attribute_address(_NAME_SERVERS, text) for text in texts)


def _few_name_servers(host: Host) -> tuple[str, ...]:
    servers = name_servers(host.attributes)
    if len(servers) > _MAX_NAME_SERVERS:
        raise UserError(
            f"the attribute {_NAME_SERVERS} has {len(servers)} name servers; at most {_MAX_NAME_SERVERS} are used by a "
            "system"
        )
    return servers


def _attribute(host: Host, name: str, read: Callable[[str], _T]) -> _T:
    """The value of an attribute or its default, as `read` understands it; the error names the attribute."""
    text = host.attribute(name)
    try:
        return read(text)
    except UserError as error:
        raise UserError(
            f"the attribute {name}: {error}; correct it with rocks set host attr {printable(host.name)} {name} …"
        ) from None


def _yes_or_no(text: str) -> bool:
    if text.lower() in TRUE_VALUES:
        return True
    if text.lower() in ("off", "no", "n", "false", "0"):
        return False
    raise UserError("it must be yes or no")


def _checked(pattern: re.Pattern[str], what: str, text: str) -> str:
    if not pattern.fullmatch(text):
        raise UserError(f'{what} "{printable(text)}" is not valid')
    return text


def _source_problems(source: Source) -> Iterable[str]:
    checks = [
        (_INSTALLATION, "the number of the installation", source.installation),
        (_SHA256, "the SHA-256 of the root archive", source.archive_sha256),
        (_URL, "the address of the root archive", source.archive),
        (_URL, "the address for progress", source.progress),
        *([(_URL, "the address of the profile", source.profile)] if source.profile else []),
        *((_KEY, "the authorised key", key) for key in source.authorized_keys),
    ]
    for pattern, what, text in checks:
        if not pattern.fullmatch(text):
            yield f'{what} "{printable(text)}" is not valid'
    if len(source.authorized_keys) > _MAX_KEYS:
        yield f"there are {len(source.authorized_keys)} authorised keys; at most {_MAX_KEYS} are installed"
    if not source.authorized_keys:
        yield "there is no authorised key, and nobody could log in; make the frontend's key first"
