"""Static routes in four scopes."""

import shlex

import pytest

from tests.system.commands.conftest import Site

SCOPES: dict[str, tuple[list[str], list[str]]] = {
    "global": ([], []),
    "os": (["os"], ["linux"]),
    "appliance": (["appliance"], ["compute"]),
    "host": (["host"], ["compute-0-0"]),
}


TABLES = ("global_routes", "os_routes", "appliance_routes", "node_routes")


@pytest.fixture
def two(computes: Site) -> Site:
    """Two hosts of appliance compute, the first of them on the network private."""
    computes.done("add host interface compute-0-0 eth0 ip=10.1.0.7 subnet=private")
    return computes


def stored(site: Site) -> list[tuple[object, ...]]:
    """All routes of all tables."""
    site.database.rollback()
    return [
        (table, *row)
        for table in TABLES
        for row in site.database.rows(
            f"SELECT r.Network, r.Netmask, r.Gateway, s.name FROM {table} r LEFT JOIN subnets s ON s.ID = r.Subnet"
        )
    ]


@pytest.mark.parametrize("scope", SCOPES)
def test_add_list_dump_and_remove_in_every_scope(two: Site, scope: str) -> None:
    kind, members = SCOPES[scope]
    two.done("add", *kind, "route", *members, "10.2.0.0", "10.1.1.254", "netmask=255.255.0.0")
    two.done("add", *kind, "route", *members, "address=224.0.0.0", "gateway=private", "netmask=255.255.255.0")
    two.done("add", *kind, "route", *members, "198.51.100.7", "10.1.1.254")
    rows = [line.split() for line in two.done("list", *kind, "route").splitlines()]
    source = ["H"] if scope == "host" else []
    owner = [f"{members[0]}:"] if members else []
    colon = "" if members else ":"
    through = "eth0" if scope == "host" else "private"
    assert rows[0] == [
        *(word.upper() for word in kind),
        "NETWORK",
        "NETMASK",
        "GATEWAY",
        *(["SOURCE"] * bool(source)),
    ]
    assert rows[1:] == [
        [*owner, f"10.2.0.0{colon}", "255.255.0.0", "10.1.1.254", *source],
        [*owner, f"198.51.100.7{colon}", "255.255.255.255", "10.1.1.254", *source],
        [*owner, f"224.0.0.0{colon}", "255.255.255.0", through, *source],
    ]
    before = stored(two)
    lines = two.done("dump", *kind, "route").splitlines()
    assert shlex.split(lines[0])[1:] == [
        "add", *kind, "route", *members, "10.2.0.0", "10.1.1.254", "netmask=255.255.0.0",
    ]  # fmt: skip
    assert set(lines) <= set(two.done("dump").splitlines()), "rocks dump has them too"
    address = ["address=%"] if scope == "host" else ["%"]
    two.done("remove", *kind, "route", *members, *address)
    assert stored(two) == []
    for line in lines:
        two.done(*shlex.split(line)[1:])
    assert sorted(map(str, stored(two))) == sorted(map(str, before)), "the dump restores them"
    address = ["address=10.2.0.0"] if scope == "host" else ["10.2.0.0"]
    two.done("remove", *kind, "route", *members, *address)
    assert [row[1] for row in stored(two)] == ["198.51.100.7", "224.0.0.0"]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_route_that_exists_is_an_error_for_all_members(two: Site, scope: str) -> None:
    kind, members = SCOPES[scope]
    two.done("add", *kind, "route", *members, "10.2.0.0", "10.1.1.254", "netmask=255.255.0.0")
    everyone = {"os": ["%"], "appliance": ["%"], "host": ["compute"]}.get(scope, [])
    message = two.refused("add", *kind, "route", *everyone, "10.2.0.0", "private", "netmask=255.255.0.0")
    assert message.startswith("route exists: 10.2.0.0/255.255.0.0")
    two.done("add", *kind, "route", *members, "10.2.0.0", "10.1.1.254", "netmask=255.255.255.0")


def test_an_invalid_route_is_refused(two: Site) -> None:
    for arguments, message in [
        (["10.2.0.300", "10.1.1.1"], 'address "10.2.0.300" is not valid'),
        (["10.2.0.1", "10.1.1.1", "netmask=255.255.0.0"], "the network of that address is 10.2.0.0"),
        (["10.2.0.0", "10.1.1.1", "netmask=16"], 'netmask "16" is not valid'),
        (["0.0.0.0", "10.1.1.1"], "netmask=0.0.0.0"),
        (["10.2.0.0", "nowhere"], 'unknown network "nowhere"'),
        (["10.2.0.0", "10.1.1"], 'the gateway "10.1.1" is not valid'),
        (["10.2.0.0", "224.0.0.1"], "The ip address 224.0.0.1 is invalid"),
        (["10.2.0.0"], 'must supply address, besides gateway "10.2.0.0"'),
        ([], "must supply address"),
    ]:
        for scope in ["global", "host"]:
            kind, members = SCOPES[scope]
            if members and not arguments[1:]:
                members = []
            assert message in two.refused("add", *kind, "route", *members, *arguments)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_gateway_on_no_network_is_named(two: Site, scope: str) -> None:
    """The route is stored, and hosts leave it out until there is such a network."""
    kind, members = SCOPES[scope]
    ended = two.rocks("add", *kind, "route", *members, "192.168.99.0", "10.99.0.1", "netmask=255.255.255.0")
    assert (ended.status, ended.err) == (
        0,
        "the gateway 10.99.0.1 is on no network of the site, and hosts leave the route out: rocks list network\n",
    )
    two.done("add", *kind, "route", *members, "192.168.98.0", "10.1.99.1", "netmask=255.255.255.0")
    two.done("add network far 10.99.0.0 255.255.0.0")
    two.done("add", *kind, "route", *members, "192.168.97.0", "10.99.0.1", "netmask=255.255.255.0")


def test_a_device_in_place_of_a_gateway_names_its_network(two: Site) -> None:
    for device in ("eth0", "ETH0"):
        message = two.refused("add host route compute-0-0 192.168.7.0", device)
        assert message == f'"{device}" is a device of compute-0-0: name its network instead, private'
    two.done("add host interface compute-0-0 eth7")
    assert 'unknown network "eth7"' in two.refused("add host route compute-0-0 192.168.7.0 eth7")
    assert 'unknown network "eth0"' in two.refused("add route 192.168.7.0 eth0")


def test_a_member_must_be_named_and_known(two: Site) -> None:
    route = ["10.2.0.0", "10.1.1.254"]
    for kind in ("os", "appliance", "host"):
        refused = two.refused("add", kind, "route", *route)
        assert (
            refused == f'must supply at least one {kind}, besides address "10.2.0.0" and gateway "10.1.1.254"'
        )
        assert two.refused("add", kind, "route", "nobody", *route)
    assert 'address "10.2.0"' in two.refused("remove route 10.2.0")
    ended = two.rocks("remove route 10.2.0.0")
    assert (ended.status, ended.out) == (0, "")
    assert ended.err == "no global route to 10.2.0.0: rocks list route shows all\n"


def test_of_routes_to_one_address_that_of_the_last_scope_applies(two: Site) -> None:
    two.done("add route 0.0.0.0 10.1.1.1 netmask=0.0.0.0")
    two.done("add route 10.2.0.0 10.1.1.1 netmask=255.255.0.0")
    two.done("add os route linux 10.2.0.0 10.1.1.2 netmask=255.255.0.0")
    two.done("add os route sunos 10.3.0.0 10.1.1.2 netmask=255.255.0.0")
    two.done("add appliance route compute 10.2.0.0 10.1.1.3 netmask=255.255.0.0")
    two.done("add appliance route nas 10.2.0.0 10.1.1.9 netmask=255.255.0.0")
    two.done("add host route compute-0-1 10.2.0.0 private netmask=255.255.255.0")
    lines = two.done("list host route output-header=no").splitlines()
    assert [line.split() for line in lines] == [
        ["compute-0-0:", "0.0.0.0", "0.0.0.0", "10.1.1.1", "G"],
        ["compute-0-0:", "10.2.0.0", "255.255.0.0", "10.1.1.3", "A"],
        ["compute-0-1:", "0.0.0.0", "0.0.0.0", "10.1.1.1", "G"],
        ["compute-0-1:", "10.2.0.0", "255.255.255.0", "--------", "H"],
    ], "compute-0-1 is not on the network private, and its own route replaces that of its appliance"
    two.done("set host membership compute-0-0 'NAS Appliance'")
    assert "10.1.1.9" in two.done("list host route compute-0-0")


def test_hosts_take_their_routes_along(two: Site) -> None:
    two.done("add host route compute-0-0 10.2.0.0 private")
    two.done("set host name compute-0-0 blue")
    assert two.done("list host route blue")
    two.rocks("remove host blue")
    assert stored(two) == []
