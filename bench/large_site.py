"""A site of any size in an empty cluster database: hosts of all appliances, clusters, and rows of every kind.

The same seed gives the same rows, but for the UUIDs of virtual machines. The database package's own modules store
them, in sets.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from rocks.database.connection import Database
from rocks.install.boot.actions import set_boot_flags
from rocks.inventory.attributes.records import replace_attribute
from rocks.inventory.disks.partition_rules import DiskPartition
from rocks.inventory.hosts import insert_hosts, memberships
from rocks.inventory.new_host_parameters import Membership, NewHost
from rocks.inventory.records import Disk, Network
from rocks.leases.lease import set_state, take_leases
from rocks.machine.add import InterfaceRequest, NewVm
from rocks.machine.record import insert_default_route, insert_vms
from rocks.network.cluster_vlans import HostVlan, claim_vlan
from rocks.network.firewall.records import insert_rule
from rocks.network.firewall.rules import FirewallRule
from rocks.network.interface_rules import Subnet
from rocks.network.interfaces import NewInterface, find_subnet, insert_interfaces
from rocks.network.networks import insert_network
from rocks.network.route_rules import Route
from rocks.network.routes import insert_route

FRONTEND = "head"
PRIVATE = "private"
_NETWORKS = (
    Network(PRIVATE, "10.1.0.0", "255.255.0.0", 1500, "local", True),
    Network("public", "203.0.0.0", "255.255.0.0", 1500, "example.org", True),
    Network("storage", "10.2.0.0", "255.255.0.0", 9000, "storage.local", False),
)
Row = TypeVar("Row")
_HOSTS_IN_RACK = 40
_ROWS_IN_STATEMENT = 1000
_COLOURS = ("red", "it's green", 'a "blue" one', "grün & gelb", "$(black)", "a\nb")


class Size(NamedTuple):
    """How many rows there are: physical hosts without the frontend, clusters, and virtual machines in each."""

    hosts: int = 2000
    clusters: int = 200
    vms_per_cluster: int = 100


LARGE = Size()
"""2,000 hosts and 20,000 virtual machines."""

LARGEST = Size(hosts=10_000, clusters=1_000)
"""10,000 hosts and 100,000 virtual machines."""

QUARTER = Size(hosts=500, clusters=50)
"""500 hosts and 5,000 virtual machines."""


class _Names(NamedTuple):
    """The physical hosts by appliance."""

    computes: list[str]
    containers: list[str]
    servers: list[str]

    @property
    def all(self) -> list[str]:
        return [*self.computes, *self.containers, *self.servers]


def fill(database: Database, size: Size = LARGE, seed: int = 0) -> None:
    """Store the site in a database that has its first rows only. Commits."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for network in _NETWORKS:
        insert_network(database, network)
    by_name = {one.name: one for one in memberships(database)}
    names = _add_hosts(database, size, by_name)
    _add_interfaces(database, names, chance)
    for part in _parts(range(size.clusters), max(1, _ROWS_IN_STATEMENT // size.vms_per_cluster)):
        _add_clusters(database, part, size, names.containers, by_name)
    _add_attributes(database, names, chance)
    _add_routes_and_rules(database, names)
    _add_other_rows(database, names)
    database.commit()


def _add_hosts(database: Database, size: Size, by_name: dict[str, Membership]) -> _Names:
    """One in four is a VM container, one in a hundred a NAS."""
    containers, servers = max(1, size.hosts // 4), max(1, size.hosts // 100)
    counts = {
        "Compute": size.hosts - containers - servers,
        "VM Container": containers,
        "NAS Appliance": servers,
    }
    found: list[list[str]] = []
    insert_hosts(database, [NewHost(FRONTEND, by_name["Frontend"].id, 16, 0, 0, "linux")])
    for membership, count in counts.items():
        appliance = by_name[membership].appliance
        new = [
            NewHost(f"{appliance}-{rack}-{rank}", by_name[membership].id, 32, rack, rank, "linux")
            for rack, rank in (divmod(number, _HOSTS_IN_RACK) for number in range(count))
        ]
        insert_hosts(database, new)
        found.append([host.name for host in new])
    return _Names(*found)


def _add_interfaces(database: Database, names: _Names, chance: random.Random) -> None:
    ids = _subnet_ids(database)
    macs = (
        f"00:16:3e:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}" for number in range(1 << 24)
    )
    places = {name: _addresses(name) for name in ids}
    head = [
        NewInterface(FRONTEND, f"eth{number}", next(macs), next(places[name]), FRONTEND, ids[name])
        for number, name in enumerate(ids)
    ]
    rows = [
        *head,
        *(
            NewInterface(host, f"eth{number}", next(macs), next(places[name]), host, ids[name])
            for host in names.all
            for number, name in enumerate((PRIVATE, "storage"))
        ),
        *(NewInterface(host, "ipmi", next(macs)) for host in names.all if chance.random() < 0.5),
    ]
    for part in _parts(rows, _ROWS_IN_STATEMENT):
        insert_interfaces(database, part)


def _add_clusters(
    database: Database,
    numbers: Sequence[int],
    size: Size,
    containers: Sequence[str],
    by_name: dict[str, Membership],
) -> None:
    """Clusters, each with its VLAN; two of three of their machines run."""
    new = {number: list(_cluster(number, size, containers, by_name)) for number in numbers}
    all_new = [vm for vms in new.values() for vm in vms]
    host_vlans = [
        HostVlan(host, _vlan(number), PRIVATE)
        for number, vms in new.items()
        for host in dict.fromkeys(vm.container for vm in vms)
    ]
    insert_vms(database, all_new, _subnet_ids(database), host_vlans)
    for number in numbers:
        claim_vlan(database, _vlan(number), f"vc{number}")
        insert_default_route(database, f"vc{number}", "203.0.0.1")
    running = {
        vm.name: (vm.container, [(vm.container, disk.path) for disk in vm.disks])
        for vm in all_new
        if vm.slice % 3
    }
    take_leases(database, running)
    set_state(database, list(running), "running")


def _cluster(
    number: int, size: Size, containers: Sequence[str], by_name: dict[str, Membership]
) -> Iterator[NewVm]:
    first = number * size.vms_per_cluster
    for one in range(size.vms_per_cluster):
        container = containers[(first + one) % len(containers)]
        yield _vm(f"vc{number}", _vlan(number), first, one, container, by_name)


def _vlan(number: int) -> int:
    return number + 2


def _vm(
    cluster: str, vlan: int, first: int, number: int, container: str, by_name: dict[str, Membership]
) -> NewVm:
    mac = first + number << 1
    is_frontend = number == 0
    name = cluster if is_frontend else f"vm-{cluster}-{number - 1}"
    subnets = {one.name: Subnet(one.name, one.subnet, one.netmask) for one in _NETWORKS}
    interfaces = [InterfaceRequest(subnets[PRIVATE], None, vlan, _vm_mac(mac))]
    if is_frontend:
        ip = str(ipaddress.IPv4Address("203.0.1.0") + vlan)
        interfaces.append(InterfaceRequest(subnets["public"], ip, 0, _vm_mac(mac + 1)))
    folder = "/state/partition1/kvm/disks"
    rack, rank = container.split("-")[-2:]
    return NewVm(
        name=name,
        membership=by_name["Frontend" if is_frontend else "Hosted VM"],
        container=container,
        cpus=2,
        rack=int(rack),
        rank=int(rank),
        run_action="os" if is_frontend else None,
        install_action="install vm frontend" if is_frontend else "install",
        memory_mb=4096,
        slice=first + number,
        interfaces=tuple(interfaces),
        disks=(Disk("file", folder, f"{name}.vda", "vda", "virtio", 36),),
    )


def _add_attributes(database: Database, names: _Names, chance: random.Random) -> None:
    for name, value in (
        ("Kickstart_PrivateHostname", FRONTEND),
        ("Kickstart_PublicGateway", "203.0.0.1"),
        ("Kickstart_PrivateDNSServers", "10.1.0.1"),
        ("Kickstart_PrivateDNSDomain", "local"),
        ("vm_mac_base_addr", "02:71:00:80:00:00"),
        ("vm_mac_base_addr_mask", "ff:ff:ff:c0:00:00"),
        ("vm_image_directory", "/state/partition1/kvm/disks"),
        *((f"site_{number}", chance.choice(_COLOURS)) for number in range(40)),
    ):
        replace_attribute(database, "global", ["global"], name, value)
    for number in range(5):
        replace_attribute(database, "os", ["linux"], f"os_{number}", chance.choice(_COLOURS))
        replace_attribute(database, "appliance", ["compute", "vm-container"], f"kind_{number}", "x")
    for value in _COLOURS:
        replace_attribute(database, "host", chance.sample(names.all, len(names.all) // 3), "colour", value)
        replace_attribute(
            database, "host", chance.sample(names.all, len(names.all) // 3), "colour_old", value
        )
    for number in range(3):
        replace_attribute(database, "host", names.all, f"host_{number}", f"value {number}")
    replace_attribute(database, "host", [FRONTEND], "kvm", "true")
    replace_attribute(database, "host", names.servers, "img_zpools", "tank,fast")


def _add_routes_and_rules(database: Database, names: _Names) -> None:
    storage = _subnet_ids(database)["storage"]
    for scope, members, network in (
        ("global", ["global"], "10.16.0.0"),
        ("os", ["linux"], "10.17.0.0"),
        ("appliance", ["compute", "vm-container"], "10.18.0.0"),
        ("host", names.all[::4], "10.19.0.0"),
    ):
        route = Route(network, "255.255.0.0", "10.1.0.1")
        insert_route(database, scope, members, route, None)
        insert_route(database, scope, members, Route(network, "255.255.255.0", "", "storage"), storage)
    for scope, members in (
        ("global", ["global"]),
        ("os", ["linux"]),
        ("appliance", ["compute", "vm-container", "nas"]),
        ("host", names.all[::4]),
    ):
        for number in range(4):
            rule = FirewallRule(
                *(f"A{30 + number}-{scope.upper()}", str(8000 + number), "tcp", "INPUT", "ACCEPT", PRIVATE),
                scope=scope,
            )
            insert_rule(database, rule, members)


def _add_other_rows(database: Database, names: _Names) -> None:
    """Aliases, partitions, flags of the kernel."""
    listed = ", ".join(["%s"] * len(names.all))
    database.execute(
        "INSERT INTO aliases (Node, Name) SELECT ID, CONCAT('alias-', ID) FROM nodes"
        f" WHERE Name IN ({listed}) ORDER BY ID",
        names.all,
    )
    for one in (
        DiskPartition("sda1", "/", "2048", "20480MB", "83", "ext4"),
        DiskPartition("sda2", "swap", "", "16384MB", "82", "swap"),
        DiskPartition("sda3", "/state/partition1", "", "1024000MB", "83", "xfs"),
    ):
        database.execute(
            "INSERT INTO partitions (Node, Device, Mountpoint, SectorStart, PartitionSize, PartitionID, FsType)"
            f" SELECT ID, %s, %s, %s, %s, %s, %s FROM nodes WHERE Name IN ({listed}) ORDER BY ID",
            [*one[:6], *names.all],
        )
    set_boot_flags(database, None, "quiet")
    set_boot_flags(database, names.all[::10], "console=ttyS0")


def _subnet_ids(database: Database) -> dict[str, int]:
    found = {one.name: find_subnet(database, one.name) for one in _NETWORKS}
    return {name: one[0] for name, one in found.items() if one is not None}


def _addresses(network: str) -> Iterator[str]:
    """Addresses of a network from its first on."""
    one = next(one for one in _NETWORKS if one.name == network)
    return (str(address) for address in ipaddress.IPv4Network(f"{one.subnet}/{one.netmask}").hosts())


def _vm_mac(number: int) -> str:
    return f"02:71:00:{128 + (number >> 16):02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


def _parts(rows: Sequence[Row], length: int) -> Iterator[Sequence[Row]]:
    for begin in range(0, len(rows), length):
        yield rows[begin : begin + length]
