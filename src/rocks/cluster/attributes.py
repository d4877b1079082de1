"""Attributes: which the system reads, and how scopes resolve. Pure. Source: specification §2.2 and §2.4."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.cluster.names import check_attribute_name, printable
from rocks.errors import UserError
from rocks.wire.imgstorage_conf import DEFAULT_TRANSFERS, MOST_TRANSFERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SOURCE_LETTERS = {"global": "G", "os": "O", "appliance": "A", "host": "H"}
"""Scope → the letter by which a listing tells it. No host belongs to the scope `rack`."""

INTRINSIC = ("hostname", "rack", "rank", "appliance", "membership")
INTRINSIC_SOURCE = "I"
FORCED_SOURCE = "G"
OLD_SUFFIX = "_old"
"""Ends the name of the attribute that keeps the value before the last `set`."""

NAME_LONGEST = 128 - len(OLD_SUFFIX)
VALUE_LONGEST_BYTES = 65535


class Known(NamedTuple):
    """An attribute that the system itself reads: its usual scope, its default, and what it means."""

    scope: str
    default: str
    meaning: str


KNOWN = {
    "managed": Known(
        "appliance", "", "true: the host is among those that commands without a host word act on"
    ),
    "kvm": Known("appliance", "", "true: the host runs virtual machines"),
    "primary_net": Known("appliance", "private", "network whose address reaches the host and that names it"),
    "ssh_port": Known("host", "22", "port of the host's SSH service"),
    "vm_image_directory": Known(
        "global", "", "folder for disk images; without it a host's largest partition"
    ),
    "vm_memory_reserve": Known("host", "256", "MB of the host's memory that virtual machines may not have"),
    "vm_fence_command": Known("host", "", "program and arguments that switch the host off, for force=yes"),
    "vm_mac_base_addr": Known("global", "", "first MAC address for virtual machines"),
    "vm_mac_base_addr_mask": Known("global", "", "mask of the MAC pool"),
    "vlan_transport": Known(
        "host", "", "local: VLANs are bridges of the host's own, for a kernel without 8021q"
    ),
    "vm_filter": Known(
        "host",
        "on",
        "off: guests of the host, or this guest, may send any frame; for kernels without packet filters",
    ),
    "vm_ipv6": Known(
        "host",
        "",
        "IPv6 addresses, by commas, that the virtual machine has on networks that it shares with others",
    ),
    "vm_vlan_pool": Known(
        "global", "2-4094", "VLAN ids for virtual clusters: numbers and ranges by commas, as in 100-199,300"
    ),
    "ib_pkey_pool": Known(
        "global",
        "",
        "partition keys for virtual clusters, as 0x0002-0x00ff; unset, the site has no InfiniBand",
    ),
    "ib_default_membership": Known(
        "global",
        "both",
        "what all ports are in the default partition: both, full, limited, or none to say nothing",
    ),
    "ib_sm": Known("global", "", "virtual: the subnet manager sees ports of virtual machines (mlx5)"),
    "ib_partitions_file": Known("global", "/etc/opensm/partitions.conf", "where opensm reads its partitions"),
    "ib_opensm_pid_file": Known(
        "global", "", "file with opensm's process id, to have it read its partitions"
    ),
    "ib_opensm_reload": Known(
        "global", "", "program and arguments that have opensm read its partitions, instead of its process id"
    ),
    "cpu_mode": Known("global", "", "CPU mode of guests, MODE or MODE:INNER-XML"),
    "kvm_cpu_pinning": Known("host", "", "pin_all, or XML for cputune"),
    "kvm_autostart": Known("host", "", "true: the machine starts with its container"),
    "kvm_device_0": Known(
        "host", "", "XML of one more device; kvm_device_1 and so on, up to the first that is missing"
    ),
    "kvm_netboot": Known("host", "yes", "no: the network is left out of the boot order"),
    "img_storage_nas": Known(
        "appliance", "", "true: the host is a NAS that keeps disk images; unset, the appliance nas is one"
    ),
    "img_storage_vm": Known("appliance", "", "true: the host runs virtual machines whose images a NAS keeps"),
    "img_sync": Known(
        "host", "", "true: images follow to the host; of a virtual machine, false: its image stays on the NAS"
    ),
    "img_persistent": Known(
        "host", "yes", "no: what the virtual machine wrote is thrown away when its image is unmapped"
    ),
    "img_zpools": Known("host", "", "pools of a NAS, by commas, of which rocks set host vm nas chooses one"),
    "vm_container_zpool": Known("host", "tank", "pool of a host for the images that follow to it"),
    "vm_container_zpool_disks": Known(
        "host", "", "one disk or two, by blanks, of which the host's profile makes vm_container_zpool"
    ),
    "img_storage_part_zfs_mirror": Known(
        "host",
        "",
        "true: the host's profile makes vm_container_zpool where it is missing, of two disks as a mirror",
    ),
    "packaging": Known("host", "deb", "deb or rpm: which packages the host's operating system has"),
    "release": Known("host", "", "release of the host's operating system, as node and graph files name it"),
    "imgstorage-network": Known(
        "global", "", "zone of the network for images; unset, that of the network private"
    ),
    "imgstorage-pool": Known("host", "", "pool in the daemons' configuration instead of vm_container_zpool"),
    "imgstorage-workers": Known(
        "host",
        str(DEFAULT_TRANSFERS),
        f"transfers that a NAS makes at the same time, from 1 to {MOST_TRANSFERS}",
    ),
    "RABBITMQ_Server": Known(
        "global",
        "",
        "host of the message broker of images, if it is not the frontend, whose own rocks sync broker sets up",
    ),
    "HVM_Features": Known("host", "", "XML that replaces the default features"),
    "Kickstart_PrivateHostname": Known("global", "", "name of the frontend's node"),
    "Kickstart_PrivateKickstartHost": Known("global", "", "address from which hosts are installed"),
    "Kickstart_DistroDir": Known("global", "/export/rocks", "folder whose install holds the distribution"),
    "Kickstart_PublicGateway": Known("global", "", "gateway of virtual frontends"),
    "Kickstart_PublicDNSServers": Known("global", "", "name servers of virtual frontends, by commas"),
}
"""Name → what it is, for the documentation and for defaults."""


class Member(NamedTuple):
    """What decides a host's attributes: its name and the scopes that it belongs to."""

    hostname: str
    os: str
    appliance: str
    membership: str
    rack: str
    rank: str
    arch: str


class Stored(NamedTuple):
    """An attribute as stored: scope, member of the scope, precedence (higher wins), name, value."""

    scope: str
    member: str
    precedence: int
    name: str
    value: str


class Resolved(NamedTuple):
    """An attribute as a host sees it, with the letter of the scope that it comes from."""

    value: str
    source: str


def check_name(name: str) -> None:
    """UserError unless `name` may be an attribute's, and that of its old value as well."""
    check_attribute_name(name)
    if len(name) > NAME_LONGEST and not is_old(name):
        raise UserError(
            f'attribute "{printable(name)}" is not valid: it must be 1 to {NAME_LONGEST} characters'
        )
    if name.lower() == "help":
        raise UserError(f'attribute "{name}" is not valid: the word asks for help in every command')


def check_value(value: str) -> None:
    """UserError for a value that is too long; any text is a value, newlines and all."""
    length_bytes = len(value.encode())
    if length_bytes > VALUE_LONGEST_BYTES:
        raise UserError(
            f'the value "{printable(value)}" is too long: {length_bytes} bytes, '
            f"at most {VALUE_LONGEST_BYTES} are stored"
        )


def is_old(name: str) -> bool:
    """Whether the attribute keeps another one's old value."""
    return name.lower().endswith(OLD_SUFFIX)


def known_spelling(name: str) -> str:
    """`name` as the system reads it, where it is one of `KNOWN` or intrinsic in another case."""
    return _SPELLING.get(name.lower(), name)


def resolve(
    members: Iterable[Member], stored: Iterable[Stored], forced: Mapping[str, str]
) -> dict[str, dict[str, Resolved]]:
    """Host → attribute → value, for each member.

    Intrinsic attributes are below stored ones, which win by precedence, below the forced ones. Names that
    differ in case only are one attribute, under the name that the system reads it by, else under the
    winner's.
    """
    by_member: dict[tuple[str, str], list[Stored]] = {}
    for row in sorted(stored, key=lambda row: row.precedence):
        by_member.setdefault((row.scope, row.member.lower()), []).append(row)
    return {member.hostname: _resolve_one(member, by_member, forced) for member in members}


def _resolve_one(
    member: Member, by_member: Mapping[tuple[str, str], list[Stored]], forced: Mapping[str, str]
) -> dict[str, Resolved]:
    found = {name: (name, Resolved(getattr(member, name), INTRINSIC_SOURCE)) for name in INTRINSIC}
    mine = {"global": "global", "os": member.os, "appliance": member.appliance, "host": member.hostname}
    rows = [row for scope, name in mine.items() for row in by_member.get((scope, name.lower()), ())]
    for row in sorted(rows, key=lambda row: row.precedence):
        key = row.name.lower()
        found[key] = (known_spelling(row.name), Resolved(row.value, SOURCE_LETTERS[row.scope]))
    last = {"arch": member.arch, **forced} if member.arch else forced
    found.update({name: (name, Resolved(value, FORCED_SOURCE)) for name, value in last.items()})
    return dict(found.values())


_SPELLING = {name.lower(): name for name in (*KNOWN, *INTRINSIC)}
