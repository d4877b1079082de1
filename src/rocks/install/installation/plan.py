"""The plan of one host's installation, from its records and attributes, and as installers read it. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rocks.core.errors import RocksError, StateError, UserError
from rocks.core.names import check_host_name, printable
from rocks.core.values import TRUE_VALUES
from rocks.network.host_network_plan import (
    boot_mac,
    host_gateway,
    interface_address,
    is_bond,
    is_on,
    left_out_interface,
    no_file,
    plan_network,
)
from rocks.network.network_rules import DEFAULT_MTU_BYTES, attribute_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rocks.install.profile_values import Value
    from rocks.inventory.records import Host, Interface


# Which disk a host is installed on, and its partitions: the attributes `install_disk` and `install_partitions`. Pure.
#
# The installer (`roll/installer`) checks all of it again on the machine, where the disks are.


MAX_PARTITIONS = 16
REST = "rest"
_MAX_DISKS = 2
_MAX_GB = 900_000
_BYTES_PER_GB = 1000**3
_BYTES_PER_MIB = 1024**2

_SERIAL = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_PATH = re.compile(r"/dev/[a-z0-9]{1,16}|pci-[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9]{0,14}", re.ASCII)
_MOUNT_POINT = re.compile(r"/(?:[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*)?", re.ASCII)
_RESERVED_NAMES = ("bios", "efi")
_RESERVED_PLACES = ("/boot/efi", "/dev", "/proc", "/run", "/sys", "/etc", "/usr", "/bin", "/sbin", "/lib")


class DiskChoice(NamedTuple):
    """One disk: kind `smallest`, `serial` or `path`, and the value of the last two, else ''."""

    kind: str
    value: str


class Partition(NamedTuple):
    """A partition: size in MiB (None: what is left), file system `ext4`, `swap` or `none`, mount point of ext4 or ''.

    The installer leaves the content of a partition `none` alone: a ZFS pool may be there.
    """

    name: str
    size_mib: int | None
    file_system: str
    mount_point: str


def read_disks(text: str) -> tuple[DiskChoice, ...]:
    """One disk, or the two of a RAID 1: `smallest`, `serial=X`, `path=/dev/X`, `path=pci-0000:00:04.0`, with commas.

    UserError for anything else.
    """
    choices = tuple(_read_disk(part.strip()) for part in text.split(","))
    if len(choices) > _MAX_DISKS:
        raise UserError(
            f"{len(choices)} disks are given; one is installed on, or two as a RAID 1: smallest,smallest"
        )
    if len(choices) == _MAX_DISKS and choices[0] == choices[1] and choices[0].kind != "smallest":
        raise UserError(f'the same disk "{choices[0].kind}={choices[0].value}" is given twice')
    return choices


def read_partitions(text: str) -> tuple[Partition, ...]:
    """Partitions, separated by blanks: `NAME:GB:ext4:/PATH`, `NAME:GB:swap`, `NAME:GB:none`; GB are 1000³ bytes.

    The last one's size may be `rest`. Exactly one is mounted at /. UserError for anything else.
    """
    partitions = tuple(_read_partition(part) for part in text.split())
    if len(partitions) > MAX_PARTITIONS:
        raise UserError(f"{len(partitions)} partitions are given; at most {MAX_PARTITIONS} are made")
    _check_unique("the name", [partition.name for partition in partitions])
    _check_unique("the mount point", [part.mount_point for part in partitions if part.mount_point])
    if not any(partition.mount_point == "/" for partition in partitions):
        raise UserError("no partition has the mount point /, as in root:rest:ext4:/")
    early = next((partition for partition in partitions[:-1] if partition.size_mib is None), None)
    if early is not None:
        raise UserError(f"the partition {early.name} has the size {REST} and is not the last one")
    return partitions


def _read_disk(text: str) -> DiskChoice:
    kind, _, value = text.partition("=")
    if text == "smallest":
        return DiskChoice("smallest", "")
    if kind == "serial" and _SERIAL.fullmatch(value):
        return DiskChoice(kind, value)
    if kind == "path" and _PATH.fullmatch(value):
        return DiskChoice(kind, value)
    raise UserError(
        f'the disk "{printable(text)}" is not valid: give smallest, serial=X, path=/dev/X or path=pci-0000:00:04.0'
    )


def _read_partition(text: str) -> Partition:
    fields = text.split(":")
    if len(fields) not in (3, 4):
        raise UserError(f'the partition "{printable(text)}" is not NAME:SIZE:FILE-SYSTEM[:MOUNT-POINT]')
    name, size, file_system = fields[:3]
    mount_point = fields[3] if len(fields) == 4 else ""
    if not _NAME.fullmatch(name) or name in _RESERVED_NAMES:
        raise UserError(
            f'the partition name "{printable(name)}" is not valid: it must be a small letter, then up to 14 small '
            f"letters and digits, and not {' or '.join(_RESERVED_NAMES)}"
        )
    _check_mount_point(name, file_system, mount_point)
    return Partition(name, _size_mib(name, size), file_system, mount_point)


def _check_mount_point(name: str, file_system: str, mount_point: str) -> None:
    if file_system not in ("ext4", "swap", "none"):
        raise UserError(
            f'the partition {name} has the file system "{printable(file_system)}"; ext4, swap and none are known'
        )
    if file_system != "ext4":
        if mount_point:
            raise UserError(f"the partition {name} has a mount point; with {file_system} it cannot have one")
        return
    parts = mount_point.split("/")
    if not _MOUNT_POINT.fullmatch(mount_point) or "." in parts or ".." in parts:
        raise UserError(
            f'the partition {name} has the mount point "{printable(mount_point)}", which is not an absolute path of '
            "letters, digits and . _ -"
        )
    reserved = next(
        (p for p in _RESERVED_PLACES if mount_point == p or mount_point.startswith(f"{p}/")), None
    )
    if reserved:
        raise UserError(
            f"the partition {name} has the mount point {mount_point}; what is below {reserved} belongs to the system"
        )


def _size_mib(name: str, text: str) -> int | None:
    if text == REST:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= _MAX_GB:
        return int(text) * _BYTES_PER_GB // _BYTES_PER_MIB
    raise UserError(
        f'the partition {name} has the size "{printable(text)}"; give GB from 1 to {_MAX_GB}, or {REST}'
    )


def _check_unique(what: str, values: list[str]) -> None:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise UserError(f"two partitions have {what} {twice}")


# What the installer is to do on one host, from the host's records and attributes. Pure.
#
# Every problem of a host is found before an error is raised, and the error lists them all.


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


# The plan of one host as the installer reads it (`roll/installer/initramfs/lib/plan.sh`). Pure.
#
# Lines "KEY VALUE" of plain ASCII between a first line with the number of the form and a last line `end`: a file that
# was cut off is not a plan. The keys of one host:
#
#     host, domain, installation, gateway, overwrite, kernel-arguments, archive, archive-sha256, profile, progress
#     interface DEVICE MAC ADDRESS/PREFIX MTU      nameserver ADDRESS
#     disk smallest | disk serial X | disk path X  authorized-key LINE
#     partition NAME MIB|rest ext4 PATH            partition NAME MIB|rest swap|none -
#
# `domain`, `gateway`, `nameserver`, `kernel-arguments` and `profile` may be missing. Two lines `disk` are a RAID 1.


FORM = "rocks-install-plan 1"
END = "end"


def plan_text(plan: InstallPlan) -> str:
    """The plan as a text, which ends with a line end."""
    return "".join(f"{line}\n" for line in (FORM, *_lines(plan), END))


def _lines(plan: InstallPlan) -> Iterator[str]:
    yield f"host {plan.host}"
    if plan.domain:
        yield f"domain {plan.domain}"
    yield f"installation {plan.source.installation}"
    for interface in plan.interfaces:
        yield f"interface {interface.device} {interface.mac} {interface.address} {interface.mtu_bytes}"
    if plan.gateway:
        yield f"gateway {plan.gateway}"
    yield from (f"nameserver {server}" for server in plan.name_servers)
    yield from (f"disk {disk.kind} {disk.value}".rstrip() for disk in plan.disks)
    yield f"overwrite {'yes' if plan.overwrite else 'no'}"
    yield from (_partition(partition) for partition in plan.partitions)
    if plan.kernel_arguments:
        yield f"kernel-arguments {plan.kernel_arguments}"
    yield f"archive {plan.source.archive}"
    yield f"archive-sha256 {plan.source.archive_sha256}"
    yield from (f"authorized-key {key}" for key in plan.source.authorized_keys)
    if plan.source.profile:
        yield f"profile {plan.source.profile}"
    yield f"progress {plan.source.progress}"


def _partition(partition: Partition) -> str:
    size = REST if partition.size_mib is None else str(partition.size_mib)
    return f"partition {partition.name} {size} {partition.file_system} {partition.mount_point or '-'}"


# Values for the lines of `main`: what kickstart and preseed files say of a host's network and disk. Pure.
#
# Other installers than that of this roll get a disk only when the attributes name it (`install_disk` path=/dev/X) and
# permit to overwrite it; otherwise they ask.


MAX_PARTITIONS_OF_OTHERS = 8
_DEVICES = "/dev/"


def installer_values(host: Host, packaging: str) -> dict[str, Value]:
    """`install_network`, `install_drive`, `install_part_1` to `install_part_8`, `install_bootloader`.

    A value that the host does not have is a StateError; a missing partition is ''.
    """
    parts: dict[str, Value] = dict.fromkeys(
        (f"install_part_{number}" for number in range(1, MAX_PARTITIONS_OF_OTHERS + 1)), ""
    )
    try:
        drive = _drive(host)
        for number, text in enumerate(_parts(host, drive), 1):
            parts[f"install_part_{number}"] = text
        arguments = check_arguments(host.attribute("install_kernel_arguments"))
        loader = f"--location=mbr --boot-drive={drive}" + (f' --append="{arguments}"' if arguments else "")
        disks: dict[str, Value] = {"install_drive": drive, "install_bootloader": loader}
    except (UserError, StateError) as error:
        reason = StateError(str(error))
        disks = {"install_drive": reason, "install_bootloader": reason}
    return {**parts, **disks, "install_network": _network(host, packaging)}


def _drive(host: Host) -> str:
    """The one disk that is overwritten, as `sda`."""
    choices = read_disks(host.attribute("install_disk"))
    if (
        len(choices) != 1
        or not choices[0].value.startswith(_DEVICES)
        or not host.is_true("install_overwrite")
    ):
        raise StateError(
            f"an installer that is not this roll's overwrites no disk of host {host.name}, unless install_disk is "
            "path=/dev/X and install_overwrite is yes"
        )
    return choices[0].value.removeprefix(_DEVICES)


def _parts(host: Host, drive: str) -> list[str]:
    partitions = read_partitions(host.attribute("install_partitions"))
    if len(partitions) > MAX_PARTITIONS_OF_OTHERS or any(one.file_system == "none" for one in partitions):
        raise StateError(
            f"only the installer of this roll makes the partitions of host {host.name}: others take at most "
            f"{MAX_PARTITIONS_OF_OTHERS}, and none without a file system"
        )
    return [_part(one, drive) for one in partitions]


def _part(partition: Partition, drive: str) -> str:
    place = partition.mount_point or "swap"
    kind = f" --fstype={partition.file_system}" if partition.mount_point else ""
    size = f" --size={partition.size_mib or 1024}"
    grow = " --grow" if partition.size_mib is None else ""
    return f"{place}{kind}{size}{grow} --ondisk={drive}"


def _network(host: Host, packaging: str) -> Value:
    """The first device with an address; DHCP where there is none."""
    try:
        devices = plan_network(host).devices
        device = next((one for one in devices if one.address), None)
        servers = ",".join(name_servers(host.attributes))
    except UserError as error:
        return StateError(str(error))
    if device is None:
        return f"--bootproto=dhcp --hostname={host.name}"
    address = ipaddress.IPv4Interface(device.address)
    options = [f"--bootproto=static --ip={address.ip} --netmask={address.netmask}"]
    options += [f"--gateway={device.gateway}"] if device.gateway else []
    options += [f"--nameserver={servers}"] if servers else []
    # a bond has the MAC addresses of its adapters; the profile sets it up
    mac = device.mac or next((one.mac for one in devices if one.channel == device.adapter), "")
    options += [f"--device={mac} --activate"] if packaging == "rpm" else []
    return " ".join([*options, f"--hostname={host.name}"])
