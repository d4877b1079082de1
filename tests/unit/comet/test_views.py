"""What `comet cluster` and `Client.view` have of nodes, and in which order."""

import json

import pytest

from comet import Client, UsageError
from tests.nucleus_server import answer, cluster
from tests.unit.comet.conftest import Comet


def test_nodes_are_in_the_order_of_their_mac_addresses(comet: Comet) -> None:
    """Which are hexadecimal; the frontend comes first, and who is renamed stays in place."""
    comet.server.clusters = [cluster(count=11)]
    computes = comet.server.clusters[0]["computes"]
    computes[0]["name"], computes[10]["name"] = "vm-vc2-10", "vm-vc2-0"
    computes.reverse()
    expected = ["vc2", "vm-vc2-10", *(f"vm-vc2-{number}" for number in range(1, 10)), "vm-vc2-0"]
    printed = [comet("cluster", "vc2", *more, "--format=json").out for more in ((), ("--sort=mac",))]
    first, by_mac = [[it["name"] for it in json.loads(one)] for one in printed]
    assert first == expected
    assert by_mac == [*expected[1:], "vc2"], "as its public address says"


def test_node_info_has_mac_addresses_and_interfaces_in_one_order(comet: Comet) -> None:
    """The public one first."""
    (found,) = json.loads(comet("node", "info", "vc2", "--format=json").out)
    assert (found["mac"], found["iface"]) == ("76:77:6e:90:00:01;76:77:6e:80:00:01", ["eth1", "eth0"])


def test_columns_of_csv_are_those_of_the_interface(comet: Comet) -> None:
    """Those of this service alone come after them."""
    header = comet("cluster", "vc2", "--format=csv").out.partition("\n")[0]
    assert header.startswith(
        "name,state,kind,type,mac,ip,cpus,cluster,memory,disksize,active_computeset,allocation,admin_state,"
    )


def test_a_program_gets_a_part_of_each_node(comet: Comet) -> None:
    with Client() as client:
        rows = {view: client.view("vc2", view) for view in ("full", "concise", "status")}
        assert client.view("vc2") == rows["full"]
        with pytest.raises(UsageError, match="no view 'brief': choose one of full, concise, status"):
            client.view("vc2", "brief")
    assert list(rows["status"][1]) == ["name", "state", "active_computeset", "allocation", "admin_state"]
    assert list(rows["concise"][1]) == [*rows["status"][1], "mac", "ip", "cluster"]
    assert len(rows["full"]) == len(rows["concise"]) == 5


def test_top_has_the_busiest_node_first(comet: Comet) -> None:
    used = {"memory": [2 << 30], "received": [1234], "sent": [0], "read": [2_500_000], "written": [7e13]}
    nodes = [
        {"name": "vm-1", "cpu": [None]},
        {"name": "vm-10", "cpu": [0.25], **used},
        {"name": "vm-2", "cpu": [1.996]},
    ]
    document = {"cluster": "vc1", "moments": [1], "nodes": nodes}
    comet.server.answers["cluster/vc1/metrics"] = answer(200, json.dumps(document).encode())
    rows = [line.strip("| ").split() for line in comet("top", "vc1").out.splitlines() if line[0] == "|"]
    assert [[word for word in row if word != "|"] for row in rows] == [
        ["name", "CPUs", "memory", "in/s", "out/s", "read/s", "written/s"],
        ["vm-2", "2.0", *"-----"],
        ["vm-10", "0.2", "2.1G", "1.2k", "0", "2.5M", "70.0T"],
        ["vm-1", *"------"],
    ]
    first = json.loads(comet("top", "vc1", "-o", "json").out)[0]
    assert first["name"] == "vm-2" and first["cpu"] == 1.996 and first["memory"] is None
    nothing = {"cluster": "vc1", "moments": [], "nodes": [], "reason": "this site keeps no metrics"}
    comet.server.answers["cluster/vc1/metrics"] = answer(200, json.dumps(nothing).encode())
    assert comet("top", "vc1") == (0, "", "this site keeps no metrics\n")
    comet.server.answers["cluster/vc1/metrics"] = answer(503, b'{"detail": "they cannot be read now"}')
    refused = comet("top", "vc1")
    assert refused.status and "cannot be read now" in refused.err and "Traceback" not in refused.err
    for wrong in (b"[]", b'{"nodes": 7}', b'{"nodes": [7]}', b'{"nodes": [{"name": "a", "cpu": 3}]}'):
        comet.server.answers["cluster/vc1/metrics"] = answer(200, wrong)
        assert "not one of Nucleus" in comet("top", "vc1").err
