"""Commands on many hosts: statements, places, names."""

from collections.abc import Iterator

import pytest

from tests.system.commands.conftest import Site


def _counted(site: Site, *arguments: str) -> int:
    ended = site.rocks(*arguments)
    assert ended.status == 0, ended
    return ended.statements


def _sixty_four(site: Site) -> Iterator[str]:
    for number in range(64):
        yield f"compute-1-{number}"
    rows = [f"('compute-1-{n}', 2, 1, {n})" for n in range(64)]
    site.change(f"INSERT INTO nodes (Name, Membership, Rack, Rank) VALUES {', '.join(rows)}")
    site.change("INSERT INTO networks (Node, Device) SELECT ID, 'eth0' FROM nodes")


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "host", "HOSTS"),
        ("list", "host", "interface", "HOSTS"),
        ("list", "host", "boot", "HOSTS"),
        ("list", "host", "membership", "HOSTS"),
        ("set", "host", "cpus", "HOSTS", "4"),
        ("set", "host", "membership", "HOSTS", "login"),
        ("set", "host", "runaction", "HOSTS", "os"),
        ("set", "host", "boot", "HOSTS", "action=install"),
        ("set", "host", "interface", "subnet", "HOSTS", "eth0", "private"),
        ("set", "host", "interface", "vlan", "HOSTS", "eth0", "7"),
        ("remove", "host", "interface", "HOSTS", "eth0"),
        ("dump", "host", "HOSTS"),
        ("dump", "host", "interface", "HOSTS"),
        ("remove", "host", "HOSTS"),
    ],
    ids=" ".join,
)
def test_sixty_four_hosts_take_as_many_statements_as_one(site: Site, arguments: tuple[str, ...]) -> None:
    names = list(_sixty_four(site))

    def line(hosts: list[str]) -> list[str]:
        return [part for word in arguments for part in (hosts if word == "HOSTS" else [word])]

    one = _counted(site, *line(names[:1]))
    rest = names[1:] if arguments[0] == "remove" else names
    assert _counted(site, *line(rest)) == one
    assert one <= 26  # one of them is the entry of the audit log
