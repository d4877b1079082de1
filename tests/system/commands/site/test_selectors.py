"""Host selectors: each kind, alone and combined, through `rocks list host`."""

import json
import socket
import threading
import time

import pytest

from rocks.inventory import host_records
from tests.system.commands.conftest import Site

MAC = "76:77:6E:80:00:01"


@pytest.fixture
def cluster(site: Site) -> Site:
    """Hosts in two racks, with what the selectors look at."""
    site.change(
        "INSERT INTO nodes (ID, Name, Membership, Rack, Rank) VALUES (1, 'head', 1, 0, 0),"
        " (2, 'compute-0-1', 2, 0, 1), (3, 'compute-0-0', 2, 0, 0), (4, 'nas-1-0', 4, 1, 0), (5, 'login1', 3, 1, 1)"
    )
    site.change(
        "INSERT INTO networks (Node, MAC, IP, Name, Device, Subnet) SELECT w.Node, w.MAC, w.IP, w.Name, w.Device, s.ID"
        f" FROM (SELECT 2 AS Node, '{MAC}' AS MAC, '10.1.0.2' AS IP, 'compute-0-1' AS Name, 'eth0' AS Device"
        " UNION ALL SELECT 4, NULL, '10.1.0.4', 'store', 'eth0') w JOIN subnets s ON s.name = 'private'"
    )
    site.change("INSERT INTO aliases (Node, Name) VALUES (5, 'front'), (5, 'www.example.org')")
    site.done("set attr Kickstart_PrivateHostname head")
    return site


def names(site: Site, *arguments: str) -> list[str]:
    """The hosts that `rocks list host` lists for the selectors."""
    return [row["host"] for row in json.loads(site.done("list host", *arguments, "json=yes"))]


def test_selectors(cluster: Site) -> None:
    for arguments, expected in (
        ([], ["head", "compute-0-1", "compute-0-0", "nas-1-0", "login1"]),
        (["compute-0-1"], ["compute-0-1"]),
        (["COMPUTE-0-1"], ["compute-0-1"]),
        (["compute-0-1", "compute-0-0"], ["compute-0-0", "compute-0-1"]),
        (["compute-0-1", "Compute-0-1", "10.1.0.2"], ["compute-0-1"]),
        (["compute%"], ["compute-0-0", "compute-0-1"]),
        (["%-0-%"], ["compute-0-0", "compute-0-1"]),
        (["%"], ["compute-0-0", "compute-0-1", "head", "login1", "nas-1-0"]),
        (["nothing%"], []),
        (["compute"], ["compute-0-0", "compute-0-1"]),
        (["Frontend"], ["head"]),
        (["power"], []),
        (["rack0"], ["compute-0-0", "compute-0-1"]),
        (["RACK1"], ["login1", "nas-1-0"]),
        (["rack00"], ["compute-0-0", "compute-0-1"]),
        (["rack77"], []),
        (["frontend", "rack0"], ["compute-0-0", "compute-0-1", "head"]),
        (["rack0", "frontend"], ["compute-0-0", "compute-0-1", "head"]),
        (["head", "rack0", "rack1"], ["compute-0-0", "compute-0-1", "head", "login1", "nas-1-0"]),
        (["10.1.0.4"], ["nas-1-0"]),
        ([MAC], ["compute-0-1"]),
        ([MAC.lower()], ["compute-0-1"]),
        (["76:77:6e:80:0:1", "10.1.0.4"], ["compute-0-1", "nas-1-0"]),
        (["front"], ["login1"]),
        (["FRONT"], ["login1"]),
        (["www.example.org"], ["login1"]),
        (["compute-0-1.local"], ["compute-0-1"]),
        (["nas-1-0.local"], ["nas-1-0"]),
        (["store.local"], ["nas-1-0"]),
        (["store"], ["nas-1-0"]),
        (["localhost"], ["head"]),
        (["127.0.0.1"], ["head"]),
        (["select Name from nodes where Rack = 1"], ["login1", "nas-1-0"]),
        (["select Name from nodes where Name like 'compute%'"], ["compute-0-0", "compute-0-1"]),
        (["select Name, Rack from nodes where Name = 'head'"], ["head"]),
        (["select Name from nodes where Rack = 9"], []),
        (
            [
                *("select Name from nodes where Rack=1", "front", "%0-0", "rack7", "frontend"),
                *("10.1.0.2", "localhost"),
            ],
            ["compute-0-0", "compute-0-1", "head", "login1", "nas-1-0"],
        ),
    ):
        assert names(cluster, *arguments) == expected, arguments


def test_a_machine_by_its_uuid(cluster: Site) -> None:
    uuid = "6ed1f3a4-59a8-4a1b-9d67-0242ac130003"
    cluster.change(
        f"INSERT INTO vm_nodes (Node, PhysNode, Slice, Mem, UUID) VALUES (2, 1, 1, 1024, '{uuid}')"
    )
    assert names(cluster, uuid) == names(cluster, uuid.upper(), "compute-0-1") == ["compute-0-1"]
    unknown = cluster.rocks("list host", uuid.replace("6", "7"))
    assert unknown.status == 1 and "no virtual machine has the UUID 7ed1f3a4-" in unknown.err


def test_words_that_mean_no_host(cluster: Site) -> None:
    for word, message in (
        ("compute-0-*", "a pattern has % for any text and _ for a character: compute-0-%"),
        ("nobody", 'cannot resolve host "nobody"'),
        ("compute-0-1.elsewhere", "cannot resolve host"),
        ("10.9.9.9", "cannot resolve host"),
        ("00:00:00:00:00:00", "cannot resolve host"),
        ("", 'cannot resolve host ""'),
        ("racket", 'after "rack" a number must follow'),
        ("compute-0-1 ", "cannot resolve host"),
        ("compute-0-1\n", "cannot resolve host"),
        ("cömpute-0-1", "cannot resolve host"),
        ("x" * 5000, "cannot resolve host"),
        ("' or 1=1 --", "cannot resolve host"),
        ("select", "refused the selector"),
        ("select nonsense", "refused the selector"),
        ("select Name from nodes; delete from nodes", "refused the selector"),
        ("select 'stranger'", 'host "stranger" is not in cluster'),
        ("select 1/0, Name from nodes into outfile '/tmp/rocks-selector'", "refused"),
    ):
        assert message in cluster.refused("list host head", word), word


def test_a_selector_cannot_write(cluster: Site) -> None:
    cluster.change(
        "CREATE FUNCTION evil() RETURNS VARCHAR(8) MODIFIES SQL DATA BEGIN DELETE FROM aliases; RETURN 'head'; END"
    )
    assert "a selector may only read" in cluster.refused("list host 'select evil()'")
    assert names(cluster, "front") == ["login1"]
    cluster.change("DROP FUNCTION evil")


def test_a_selector_that_ends_like_a_parameter(cluster: Site) -> None:
    cluster.done("set host cpus 'select Name from nodes where Rack=1' cpus=3")
    assert cluster.database.rows("SELECT Name FROM nodes WHERE CPUs = 3 ORDER BY 1") == [
        ("login1",),
        ("nas-1-0",),
    ]


def test_a_node_beats_an_alias_of_another_and_an_alias_an_interface_name(cluster: Site) -> None:
    cluster.change("INSERT INTO aliases (Node, Name) VALUES (1, 'nas-1-0'), (1, 'store')")
    assert names(cluster, "nas-1-0") == ["nas-1-0"]
    assert names(cluster, "store") == ["head"]


def test_this_machine_by_its_own_name(cluster: Site) -> None:
    cluster.patch.setattr(socket, "gethostname", lambda: "bigiron.example.org")
    assert names(cluster, "bigiron") == ["head"]
    assert names(cluster, "BigIron.example.org") == ["head"]
    cluster.patch.setattr(socket, "gethostname", lambda: "login1.example.org")
    assert names(cluster, "localhost") == ["login1"]


def test_this_machine_when_it_is_no_host(site: Site) -> None:
    assert "this machine is not in the cluster database" in site.refused("list host localhost")


def test_the_resolver_is_asked_last(cluster: Site) -> None:
    asked: list[str] = []

    def resolve(name: str, *_: object) -> list[tuple[object, ...]]:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.0.4", 0))]

    cluster.patch.setattr(socket, "getaddrinfo", resolve)
    assert names(cluster, "compute-0-1") == ["compute-0-1"]
    assert names(cluster, "big-disk", "compute-0-1") == ["compute-0-1", "nas-1-0"]
    assert asked == ["big-disk"]


def test_a_silent_resolver_is_given_up(cluster: Site) -> None:
    answers = threading.Event()
    cluster.patch.setattr(host_records, "DNS_SECONDS", 0.2)
    cluster.patch.setattr(socket, "getaddrinfo", lambda *_: [(), answers.wait(300)][:0])
    begin = time.monotonic()
    assert "cannot resolve host" in cluster.refused("list host nobody")
    assert time.monotonic() - begin < 200, "it was waited for"
    answers.set()


def test_a_thousand_hosts_in_one_list(cluster: Site) -> None:
    rows = ", ".join(f"('compute-9-{n}', 2, 9, {n})" for n in range(1000))
    cluster.change(f"INSERT INTO nodes (Name, Membership, Rack, Rank) VALUES {rows}")
    arguments = [f"compute-9-{n}" for n in range(1000)]
    one = cluster.rocks("list host", arguments[0])
    ended = cluster.rocks("list host", *arguments, "front", "rack0")
    assert ended.status == 0
    assert len(ended.out.splitlines()) == 1004
    assert ended.statements == one.statements


def test_managed_only_counts_without_selectors(cluster: Site) -> None:
    expand = host_records.expand_selectors
    assert expand(cluster.database, [], managed_only=True) == ["compute-0-1", "compute-0-0", "nas-1-0"]
    assert expand(cluster.database, ["head"], managed_only=True) == ["head"]
    cluster.change(
        "UPDATE attributes SET Value = 'True' WHERE Attr = 'managed' AND Catindex ="
        " (SELECT ID FROM catindex WHERE Name = 'nas')"
    )
    assert expand(cluster.database, [], managed_only=True) == ["compute-0-1", "compute-0-0"]


def test_a_changing_command_names_the_selector_without_a_host(cluster: Site) -> None:
    for selector, advice in [
        ("compte-%", "did you mean compute or compute-0-1 or compute-0-0? rocks list host shows all"),
        ("zzz%", "see rocks list host"),
        ("power", "see rocks list host"),
        ("powre%", "see rocks list host"),
        ("rack77", "see rocks list host"),
        ("select Name from nodes where Rack = 9", "see rocks list host"),
    ]:
        for command in [
            ("set host attr", "a", "1"),
            ("set host boot", "action=os"),
            ("start host vm",),
            ("stop host vm",),
            ("remove host",),
            ("remove host vm",),
            ("remove cluster",),
            ("sync host vlan",),
            ("run host", "true"),
        ]:
            title, *rest = command
            message = cluster.refused(*title.split(), "compute-0-1", selector, *rest)
            assert message == f'"{selector}" matches no host; {advice}'


def test_an_unknown_host_is_named_with_similar_names(cluster: Site) -> None:
    message = cluster.refused("set host boot computer-0-1 action=os")
    assert message.endswith(
        "other selector; did you mean compute-0-1 or compute-0-0? rocks list host shows all"
    )


def test_a_command_that_is_mistyped_for_a_host_is_named(cluster: Site) -> None:
    for typed, meant in (
        ("list host storageimg", "list host storagemap"),
        ("list host interfaces", "list host interface"),
        ("remove host interfce", "remove host interface"),
        ("dump host vms", "dump host vm"),
    ):
        message = cluster.refused(typed)
        assert message.endswith(f"see rocks list host; did you mean the command rocks {meant}?"), typed
    assert "command" not in cluster.refused("list host elsewhere")


def test_a_setter_without_a_value_is_a_usage_error(cluster: Site) -> None:
    assert cluster.refused("set host boot compute-0-1").startswith("must supply action= (os, run or install)")
    assert cluster.refused("set host vm compute-0-1").startswith("must supply physnode, disk, ")
