"""Attributes that the system reads, and the resolution of scopes. Pure. Source: specification §2.2 and §2.4."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.cluster.names import check_attribute_name, printable
from rocks.errors import UserError
from rocks.wire.imgstorage_conf import DEFAULT_TRANSFERS, MOST_TRANSFERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SOURCE_LETTERS = {"global": "G", "os": "O", "appliance": "A", "host": "H"}
"""Scope → its letter in listings. No host belongs to the scope `rack`."""

INTRINSIC = ("hostname", "rack", "rank", "appliance", "membership")
INTRINSIC_SOURCE = "I"
FORCED_SOURCE = "G"
OLD_SUFFIX = "_old"
"""Suffix of the attribute that stores the value before the last `set`."""

NAME_LONGEST = 128 - len(OLD_SUFFIX)
VALUE_LONGEST_BYTES = 65535


class Known(NamedTuple):
    """An attribute that the system itself reads: its usual scope, its default, and what it means.

    A secret one is stored where only root reads it. One that is a program names what this system runs as root.
    """

    scope: str
    default: str
    meaning: str
    is_secret: bool = False
    is_program: bool = False


KNOWN = {
    "managed": Known("appliance", "", "true: commands without a host argument act on the host"),
    "kvm": Known("appliance", "", "true: the host runs virtual machines"),
    "primary_net": Known("appliance", "private", "network whose address reaches the host and that names it"),
    "ssh_port": Known("host", "22", "port of the host's SSH service"),
    "vm_image_directory": Known(
        "global", "", "folder for disk images; without it a host's largest partition"
    ),
    "vm_image_directories": Known(
        "host",
        "",
        "further folders of the host below which disks and CD images of its virtual machines may be, separated by "
        "commas",
    ),
    "vm_disk_devices": Known(
        "host",
        "",
        "block devices of the host that its virtual machines may have, as patterns separated by commas: "
        "/dev/mapper/guests-*",
    ),
    "vm_image_erase": Known(
        "host",
        "discard",
        "what becomes of the blocks of a removed disk image: discard frees them, overwrite writes zeros first",
    ),
    "image_library": Known(
        "global", "/export/rocks/images", "folder of the frontend for the images of rocks add image"
    ),
    "vm_image": Known(
        "host",
        "",
        "image of the library from which the virtual machine's first disk is made where it does not exist yet; the "
        "machine then gets a second, small disk for cloud-init with its name, addresses and keys",
    ),
    "vm_cdrom": Known(
        "host", "", "ISO of the library in the virtual machine's CD drive; rocks set host vm cdrom sets it"
    ),
    "vm_authorized_keys": Known(
        "host", "", "public SSH keys, one a line, that may log in as root to a machine with vm_image"
    ),
    "vm_cluster_address": Known(
        "host",
        "",
        "IPv4 address inside its virtual cluster of a compute with vm_image; its netmask is that of the frontend",
    ),
    "vm_cluster_key": Known(
        "host",
        "",
        "of a virtual frontend with vm_image: the key, made at a start, with which it reaches its computes; a secret",
        is_secret=True,
    ),
    "firewall": Known(
        "host",
        "no",
        "true: the rules of rocks list host firewall are in force on the host, by its profile and rocks sync host "
        "firewall",
    ),
    "vm_memory_reserve": Known("host", "256", "MB of the host's memory that virtual machines may not use"),
    "vm_fence_command": Known(
        "host",
        "",
        "program and arguments that switch the host off, for force=yes; a secret: rocks set host sec_attr. All users "
        "see its arguments while it runs: let it read a password from a file (mode 0600) or from NAME=value before it",
        is_secret=True,
        is_program=True,
    ),
    "power_command": Known(
        "host",
        "",
        "program and arguments for rocks set host power, which adds the action (on, off or cycle) and the host's "
        "name; a secret: rocks set host sec_attr. A password is in a file (mode 0600) or in NAME=value before it",
        is_secret=True,
        is_program=True,
    ),
    "ipmi_address": Known("host", "", "address of the host's BMC, for rocks set host power by ipmitool"),
    "ipmi_user": Known("host", "admin", "user at the host's BMC"),
    "ipmi_password": Known(
        "host", "", "password at the host's BMC; a secret: rocks set host sec_attr", is_secret=True
    ),
    "airboss": Known(
        "host",
        "",
        "of localhost, in a virtual cluster: address of the site's frontend, for rocks set host power key=…",
    ),
    "airboss_old_rsa": Known(
        "host",
        "no",
        "true, of a virtual frontend: its owner may sign requests with an RSA key below 3072 bits",
    ),
    "comment": Known("host", "", "what rocks set host comment stored"),
    "vm_mac_base_addr": Known("global", "", "first MAC address for virtual machines"),
    "vm_mac_base_addr_mask": Known("global", "", "mask of the MAC pool"),
    "vlan_transport": Known(
        "host", "", "local: VLANs are bridges on the host alone, for a kernel without 8021q"
    ),
    "vm_filter": Known(
        "host",
        "on",
        "off: guests of the host, or this guest, may send any frame; for kernels without packet filters",
    ),
    "vm_ipv6": Known(
        "host",
        "",
        "IPv6 addresses, separated by commas, of the virtual machine on networks that it shares with others",
    ),
    "vm_vlan_pool": Known(
        "global",
        "2-4094",
        "VLAN ids for virtual clusters: numbers and ranges, separated by commas: 100-199,300",
    ),
    "ib_pkey_pool": Known(
        "global",
        "",
        "partition keys for virtual clusters, as 0x0002-0x00ff; unset, the site has no InfiniBand",
    ),
    "ib_default_membership": Known(
        "global",
        "both",
        "membership of all ports in the default partition: both, full, limited, or none for no statement",
    ),
    "ib_sm": Known("global", "", "virtual: the subnet manager sees ports of virtual machines (mlx5)"),
    "ib_partitions_file": Known("global", "/etc/opensm/partitions.conf", "where opensm reads its partitions"),
    "ib_opensm_pid_file": Known(
        "global", "", "file with the process id of opensm, which is signalled to read its partitions"
    ),
    "ib_opensm_reload": Known(
        "global",
        "",
        "program and arguments that make opensm read its partitions, instead of a signal",
        is_program=True,
    ),
    "cpu_mode": Known("global", "", "CPU mode of guests, MODE or MODE:INNER-XML"),
    "kvm_cpu_pinning": Known("host", "", "pin_all, or XML for cputune"),
    "kvm_autostart": Known("host", "", "true: the machine starts with its container"),
    "kvm_device_0": Known(
        "host", "", "XML of one more device; kvm_device_1 and so on, up to the first missing number"
    ),
    "kvm_cdrom_boot": Known(
        "host", "first", "last: the CD boots where neither the network nor the disk does; first: before them"
    ),
    "kvm_netboot": Known("host", "yes", "no: the network is left out of the boot order"),
    "img_storage_nas": Known(
        "appliance", "", "true: the host is a NAS for disk images; unset, hosts of the appliance nas are"
    ),
    "img_storage_vm": Known(
        "appliance", "", "true: the host runs virtual machines whose images are on a NAS"
    ),
    "img_sync": Known(
        "host",
        "",
        "true: images are copied to the host; false, for a virtual machine: its image stays on the NAS",
    ),
    "img_persistent": Known(
        "host", "yes", "no: the changes of the virtual machine are discarded when its image is unmapped"
    ),
    "img_zpools": Known("host", "", "pools of a NAS, separated by commas; rocks set host vm nas chooses one"),
    "img_zpool_disks": Known(
        "host",
        "",
        "disks of a NAS, separated by blanks, from which its profile makes the first pool of img_zpools if it is "
        "missing: one, or an even number, each two of which become a mirror",
    ),
    "img_grace_hours": Known(
        "host", "24", "hours for which a removed image of the NAS can be restored; 0: it is destroyed at once"
    ),
    "vm_container_zpool": Known("host", "tank", "pool of a host for copies of images"),
    "vm_container_zpool_disks": Known(
        "host",
        "",
        "one disk or two, separated by blanks, from which the host's profile makes vm_container_zpool",
    ),
    "img_storage_part_zfs_mirror": Known(
        "host",
        "",
        "true: the host's profile makes a missing vm_container_zpool; two disks become a mirror",
    ),
    "host_network": Known(
        "host",
        "",
        "no: the profile leaves the host's network devices alone; yes: it makes systemd-networkd or NetworkManager set "
        "them up; unset: as yes where that service is enabled",
    ),
    "boot_service": Known(
        "host",
        "",
        "yes, for the frontend: its profile enables DHCP, TFTP and HTTPS for hosts that boot from the network private",
    ),
    "dns_service": Known(
        "host",
        "",
        "yes, for the frontend: its profile enables DNS for the networks with servedns",
    ),
    "packaging": Known("host", "deb", "deb or rpm: the packages of the host's operating system"),
    "release": Known("host", "", "release of the host's operating system, as in node and graph files"),
    "imgstorage-network": Known(
        "global", "", "zone of the network for images; unset, that of the network private"
    ),
    "imgstorage-pool": Known("host", "", "pool in the daemons' configuration instead of vm_container_zpool"),
    "imgstorage-workers": Known(
        "host",
        str(DEFAULT_TRANSFERS),
        f"concurrent transfers of a NAS, from 1 to {MOST_TRANSFERS}",
    ),
    "RABBITMQ_Server": Known(
        "global",
        "",
        "host of the message broker of images; unset, the frontend, where rocks sync broker sets it up",
    ),
    "HVM_Features": Known("host", "", "XML that replaces the default features"),
    "Kickstart_PrivateHostname": Known("global", "", "name of the frontend's node"),
    "Kickstart_PrivateKickstartHost": Known("global", "", "address from which hosts are installed"),
    "Kickstart_DistroDir": Known("global", "/export/rocks", "folder that holds the distribution in install"),
    "Kickstart_PrivateGateway": Known("global", "", "gateway of the hosts of the site"),
    "Kickstart_PrivateDNSServers": Known(
        "global", "", "name servers of the hosts of the site, separated by commas"
    ),
    "install_disk": Known(
        "host",
        "smallest",
        "disk on which the installer puts the host's system: smallest, serial=X, path=/dev/X or "
        "path=pci-0000:00:04.0; two of them, separated by a comma, become a RAID 1",
    ),
    "install_partitions": Known(
        "host",
        "root:rest:ext4:/",
        "partitions that the installer makes, separated by blanks: NAME:GB:ext4:/PATH, NAME:GB:swap or NAME:GB:none; "
        "the last one's size may be rest; what is on a partition none stays when the host is installed again",
    ),
    "install_overwrite": Known(
        "host",
        "no",
        "yes: the installer may overwrite a disk that has data; a ZFS pool is not overwritten in any case",
    ),
    "install_kernel_arguments": Known("host", "", "arguments of the installed host's kernel: console=ttyS0"),
    "Kickstart_PublicNTPHost": Known(
        "global", "", "time server of the frontend, which rocks check site asks for"
    ),
    "Kickstart_PublicGateway": Known("global", "", "gateway of virtual frontends"),
    "Kickstart_PublicDNSServers": Known(
        "global", "", "name servers of virtual frontends, separated by commas"
    ),
}
"""Name → scope, default and meaning, for documentation and defaults."""


class Member(NamedTuple):
    """The name of a host and the scopes that it belongs to; they determine its attributes."""

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
    """The value of an attribute for a host, with the letter of the scope that supplied it."""

    value: str
    source: str


def check_name(name: str) -> None:
    """UserError unless `name` is valid for an attribute, and for its old value with `OLD_SUFFIX`."""
    check_attribute_name(name)
    if len(name) > NAME_LONGEST and not is_old(name):
        raise UserError(
            f'attribute "{printable(name)}" is not valid: it must be 1 to {NAME_LONGEST} characters'
        )
    if name.lower() == "help":
        raise UserError(f'attribute "{name}" is not valid: every command prints its help for that argument')


def check_value(value: str) -> None:
    """UserError for a value that is too long; any text is valid, including newlines."""
    length_bytes = len(value.encode())
    if length_bytes > VALUE_LONGEST_BYTES:
        raise UserError(
            f'the value "{printable(value)}" is too long: {length_bytes} bytes, '
            f"at most {VALUE_LONGEST_BYTES} are stored"
        )


def is_old(name: str) -> bool:
    """Whether the attribute stores the old value of another one."""
    return name.lower().endswith(OLD_SUFFIX)


def known_spelling(name: str) -> str:
    """`name` in the spelling of `KNOWN` and the intrinsic attributes, when it differs from one of them in case only."""
    return _SPELLING.get(name.lower(), name)


def resolve(
    members: Iterable[Member], stored: Iterable[Stored], forced: Mapping[str, str]
) -> dict[str, dict[str, Resolved]]:
    """Host → attribute → value, for each member.

    Forced attributes override stored ones, and stored ones override intrinsic ones; among stored ones the highest
    precedence wins. Names that differ in case only are one attribute. Its spelling is that of `KNOWN`, else that of
    the winner.
    """
    layers: dict[tuple[str, str], dict[str, tuple[str, Resolved]]] = {}
    precedences: dict[str, int] = {}
    known = (row for row in stored if row.scope in SOURCE_LETTERS)
    for row in sorted(known, key=lambda row: row.precedence):
        layer = layers.setdefault((row.scope, row.member.lower()), {})
        layer[row.name.lower()] = (known_spelling(row.name), Resolved(row.value, SOURCE_LETTERS[row.scope]))
        precedences[row.scope] = row.precedence
    scopes = sorted(SOURCE_LETTERS, key=lambda scope: precedences.get(scope, 0))
    last = {name: (name, Resolved(value, FORCED_SOURCE)) for name, value in forced.items()}
    return {
        member.hostname: _resolve_one(
            member, [layers.get(place, {}) for place in _places(member, scopes)], last
        )
        for member in members
    }


def _places(member: Member, scopes: Iterable[str]) -> list[tuple[str, str]]:
    """(scope, member of it in lower case) whose attributes a host has, in the order of the scopes."""
    mine = {"global": "global", "os": member.os, "appliance": member.appliance, "host": member.hostname}
    return [(scope, mine[scope].lower()) for scope in scopes]


def _resolve_one(
    member: Member,
    layers: Iterable[Mapping[str, tuple[str, Resolved]]],
    forced: Mapping[str, tuple[str, Resolved]],
) -> dict[str, Resolved]:
    """Tens of thousands of hosts share the values of the layers, so that they take little memory."""
    found = {name: (name, Resolved(getattr(member, name), INTRINSIC_SOURCE)) for name in INTRINSIC}
    for layer in layers:
        found.update(layer)
    if member.arch:
        found["arch"] = ("arch", Resolved(member.arch, FORCED_SOURCE))
    found.update(forced)
    return dict(found.values())


SECRETS = tuple(name for name, known in KNOWN.items() if known.is_secret)
"""The known attributes that only root may read."""

PROGRAMS = tuple(name for name, known in KNOWN.items() if known.is_program)
"""The known attributes that name a program which this system runs as root."""

_SPELLING = {name.lower(): name for name in (*KNOWN, *INTRINSIC)}


def is_known_secret(name: str) -> bool:
    """Whether the system stores the attribute where only root reads it."""
    return name.lower().removesuffix(OLD_SUFFIX) in SECRETS
