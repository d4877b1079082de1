"""No command's number of SQL statements grows with the site: every command of the tree, without being named here."""

import shlex
from collections.abc import Sequence

import pytest

from rocks.commands._framework.documentation import Documentation, read_documentation
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package
from tests.system.commands.conftest import Site
from tests.system.commands.vms.conftest import images

__all__ = ["images"]

READING = ("list", "report", "dump")
CHANGING = ("add", "set", "remove", "swap", "config")
GROWING: dict[tuple[str, ...], str] = {}
"""Command → why its number may grow."""

Path = tuple[str, ...]


def documented() -> list[tuple[Path, Documentation]]:
    """Every command of our tree with its documentation."""
    packages = [(path, load_package(path, [OUR_TREE])) for path in all_commands([OUR_TREE])]
    return [(path, read_documentation(one.Command)) for path, one in packages if hasattr(one, "Command")]


def of_everything(path: Path, documentation: Documentation) -> list[str] | None:
    """The command for the whole site; None when it needs more arguments."""
    required = [one for one in documentation.arguments if not one.optional]
    if any(not (one.repeat and one.name == "host") for one in required):
        return None
    return [*path, *(["%"] if required else [])]


def of_hosts(path: Path, documentation: Documentation, hosts: Sequence[str]) -> list[str] | None:
    """The command's first example with these hosts in place of its own; None for one that takes no list of hosts."""
    first = next(iter(documentation.arguments), None)
    if first is None or first.name != "host" or not first.repeat:
        return None
    example = shlex.split(documentation.examples[0][0])
    if len(example) <= len(path) or tuple(example[: len(path)]) != path:
        return None
    return [*path, *hosts, *example[len(path) + 1 :]]


def grow(site: Site, rack: int, ip: int, number: int) -> list[str]:
    """Add computes with interfaces, routes, aliases and attributes, and a cluster; returns the computes' names."""
    names = [f"compute-{rack}-{rank}" for rank in range(number)]
    for rank, name in enumerate(names):
        site.rocks("add host", name)
        mac = f"52:54:00:01:{rack:02x}:{rank:02x}"
        site.rocks(
            "add host interface", name, "eth0", f"ip=10.1.{rack}.{rank + 1}", "subnet=private", f"mac={mac}"
        )
        site.rocks("add host alias", name, f"alias-{rack}-{rank}")
    site.done("add host route", *names, "10.2.0.0", "private", "netmask=255.255.0.0")
    site.done("set host attr", *names, "colour", "blue")
    site.done("add cluster", f"203.0.113.{ip}", str(number))
    return names


def test_reading_takes_as_many_statements_for_a_large_site_as_for_a_small_one(vm_site: Site) -> None:
    commands = [
        (path, line)
        for path, documentation in documented()
        if path[0] in READING and (line := of_everything(path, documentation)) is not None
    ]
    vm_site.done("add route 10.3.0.0 private netmask=255.255.0.0")
    vm_site.done(
        "add firewall rulename=A1 service=123 protocol=udp chain=INPUT action=ACCEPT network=private"
    )
    grow(vm_site, 1, 10, 1)
    small = {path: vm_site.rocks(*line) for path, line in commands}
    grow(vm_site, 2, 11, 12)
    large = {path: vm_site.rocks(*line) for path, line in commands}
    found = {
        " ".join(path): (small[path].statements, large[path].statements)
        for path, _ in commands
        if path not in GROWING and large[path].statements > small[path].statements
    }
    assert found == {}
    assert sum(ended.status == 0 for ended in large.values()) > 50, "most commands were run to their end"


@pytest.mark.slow
def test_changing_many_hosts_takes_as_many_statements_as_one(vm_site: Site) -> None:
    one, many = grow(vm_site, 1, 10, 1), grow(vm_site, 2, 11, 8)
    found, compared = {}, 0
    # `remove host` comes last: the others need the hosts
    for path, documentation in sorted(documented(), key=lambda found: found[0] == ("remove", "host")):
        if path[0] not in CHANGING or (line := of_hosts(path, documentation, one)) is None:
            continue
        first = vm_site.rocks(*line)
        second = vm_site.rocks(*(of_hosts(path, documentation, many) or ()))
        if first.status != 0 or second.status != 0 or path in GROWING:
            continue
        compared += 1
        if second.statements > first.statements:
            found[" ".join(path)] = (first.statements, second.statements)
    assert found == {}
    assert compared > 10, "most commands were run to their end"


MAX_STATEMENTS = 19
"""The server counts one more than the connection: figure R16 permits 20."""


def test_a_cluster_takes_as_many_statements_for_many_computes_as_for_one(vm_site: Site) -> None:
    few = vm_site.rocks("add cluster 203.0.113.20 1 fe-name=few cluster-naming=yes")
    many = vm_site.rocks("add cluster 203.0.113.21 40 fe-name=many cluster-naming=yes")
    assert (few.status, many.status) == (0, 0)
    assert many.statements <= few.statements <= MAX_STATEMENTS
    placed = ("fe-container=head", "container-hosts=vmc-0-0 vmc-0-1", "gateway=203.0.113.1")
    assert vm_site.rocks("add cluster 203.0.113.22 2", *placed).statements <= MAX_STATEMENTS
    removed = [vm_site.rocks("remove cluster", name) for name in ("few", "many")]
    assert [ended.status for ended in removed] == [0, 0]
    assert removed[1].statements <= removed[0].statements


OF_HOSTS = (
    *("list host HOSTS", "list host interface HOSTS", "list host boot HOSTS", "list host membership HOSTS"),
    *("set host cpus HOSTS 4", "set host membership HOSTS login", "set host runaction HOSTS os"),
    *("add host route HOSTS 10.7.0.0 private netmask=255.255.0.0", "set host boot HOSTS action=install"),
    "set host interface subnet HOSTS eth0 private",
    *("set host interface vlan HOSTS eth0 7", "dump host HOSTS", "dump host interface HOSTS"),
    *("remove host interface HOSTS eth0", "remove host HOSTS"),
)
OF_MACHINES = (
    *("list host vm HOSTS", "list host vm HOSTS showdisks=yes", "report host vm config adapted=no HOSTS"),
    *("report host vm virt_type HOSTS", "dump host vm HOSTS", "remove host vm HOSTS"),
)
OF_IMAGES = (
    *("set host vm nas HOSTS nas=nas-0-0", "set host vm nas HOSTS nas=nas-0-0"),
    *("set host vm nas HOSTS nas=nas-0-1 zpool=tank", "list host vm nas HOSTS", "dump host vm nas HOSTS"),
    *("report host imgstorage HOSTS", "set host vm nas HOSTS nas=none"),
    *("set host vm nas HOSTS nas=nas-0-0", "remove host vm nas HOSTS"),
)
"""Commands on 64 hosts, machines, and disks of machines, in an order in which each can be run."""


def check_counts(site: Site, lines: Sequence[str], names: Sequence[str], most: int) -> None:
    """Each command takes as many statements for all other names as for the first, at most so many."""
    for line in lines:
        one, many = (site.rocks(line.replace("HOSTS", " ".join(part))) for part in (names[:1], names[1:]))
        assert (one.status, many.status) == (0, 0), (line, one, many)
        assert many.statements == one.statements <= most, line


def add_64(site: Site) -> list[str]:
    """Computes, which may run machines; returns their names."""
    rows = ", ".join(f"('node-{number}', 2, 9, {number})" for number in range(64))
    site.change(f"INSERT INTO nodes (Name, Membership, Rack, Rank) VALUES {rows}")
    site.done("set attr vm_image_directory /images")
    site.done("set appliance attr compute kvm true")
    return [f"node-{number}" for number in range(64)]


def test_64_hosts_take_as_many_statements_as_one(site: Site) -> None:
    names = add_64(site)
    site.change("INSERT INTO networks (Node, Device) SELECT ID, 'eth0' FROM nodes")
    check_counts(site, OF_HOSTS, names, 30)  # one of them is the entry of the audit log


@pytest.mark.slow
def test_64_machines_and_their_disks_take_as_many_statements_as_one(images: Site) -> None:
    check_counts(images, ["add host vm HOSTS compute"], add_64(images), 32)
    machines = [f"compute-9-{number}-0" for number in range(64)]
    check_counts(images, OF_IMAGES, machines, 12)
    check_counts(images, OF_MACHINES, machines, 32)


@pytest.mark.slow
def test_files_of_services_take_as_many_statements_for_many_hosts_as_for_few(vm_site: Site) -> None:
    grow(vm_site, 1, 10, 1)
    few = [vm_site.rocks("sync", name) for name in ("dns", "config")]
    grow(vm_site, 2, 11, 12)
    many = [vm_site.rocks("sync", name) for name in ("dns", "config")]
    assert [ended.status for ended in (*few, *many)] == [0, 0, 0, 0], (few, many)
    assert [ended.statements for ended in many] == [ended.statements for ended in few]
