"""No command's number of SQL statements grows with the site: every command of the tree, without being named here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rocks.commands._framework.documentation import Documentation, read_documentation
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package

from .conftest import Site

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
        site.rocks("add", "host", name)
        mac = f"52:54:00:01:{rack:02x}:{rank:02x}"
        site.rocks(
            "add",
            "host",
            "interface",
            name,
            "eth0",
            f"ip=10.1.{rack}.{rank + 1}",
            "subnet=private",
            f"mac={mac}",
        )
        site.rocks("add", "host", "alias", name, f"alias-{rack}-{rank}")
    site.done("add", "host", "route", *names, "10.2.0.0", "private", "netmask=255.255.0.0")
    site.done("set", "host", "attr", *names, "colour", "blue")
    site.done("add", "cluster", f"203.0.113.{ip}", str(number))
    return names


def test_reading_takes_as_many_statements_for_a_large_site_as_for_a_small_one(vm_site: Site) -> None:
    commands = [
        (path, line)
        for path, documentation in documented()
        if path[0] in READING and (line := of_everything(path, documentation)) is not None
    ]
    vm_site.done("add", "route", "10.3.0.0", "private", "netmask=255.255.0.0")
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
