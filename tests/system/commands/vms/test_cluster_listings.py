"""`list cluster` and `remove cluster`; no physical host answers."""

import json

import pytest

from tests.system.commands.conftest import Site
from tests.system.commands.vms.test_cluster_additions import ADD


def test_the_sample_of_list_cluster(clusters: Site) -> None:
    assert clusters.done("list cluster") == (
        "FRONTEND CLIENT NODES TYPE    \n"
        "head:    ------------ physical\n"
        ":        compute-0-0  physical\n"
        "fe-a:    ------------ VM      \n"
        ":        vm-fe-a-0    VM      \n"
        ":        vm-fe-a-1    VM      \n"
    )


def test_the_owner_is_never_left_out(clusters: Site) -> None:
    assert clusters.done("list cluster fe-a").splitlines()[1] == "fe-a:    ------------ VM  "
    clusters.done(*ADD, "203.0.113.10", "0", "fe-name=lonely")
    assert clusters.done("list cluster lonely") == "FRONTEND CLIENT NODES TYPE\nlonely:  ------------ VM  \n"


def test_list_cluster_as_json(clusters: Site) -> None:
    uuids = dict(
        clusters.database.rows("SELECT n.Name, v.UUID FROM nodes n JOIN vm_nodes v ON v.Node = n.ID")
    )
    assert json.loads(clusters.done("list cluster fe-a json=yes")) == [
        {
            "frontend": "fe-a",
            "cluster": [
                {"client nodes": "", "type": "VM", "uuid": uuids["fe-a"]},
                {"client nodes": "vm-fe-a-0", "type": "VM", "uuid": uuids["vm-fe-a-0"]},
                {"client nodes": "vm-fe-a-1", "type": "VM", "uuid": uuids["vm-fe-a-1"]},
            ],
        }
    ]


def test_physical_frontends_and_their_clients_have_no_status(clusters: Site) -> None:
    clusters.done("add host vm vmc-0-0 compute")
    listed = clusters.rocks("list cluster status=yes")
    assert listed.err.count("Warning: the states of machines on ") == 3
    assert listed.out == (
        "FRONTEND CLIENT NODES  TYPE     STATUS       \n"
        "head:    ------------- physical -------------\n"
        ":        compute-0-0   physical -------------\n"
        ":        compute-0-0-1 VM       -------------\n"
        "fe-a:    ------------- VM       nostate-error\n"
        ":        vm-fe-a-0     VM       nostate-error\n"
        ":        vm-fe-a-1     VM       nostate-error\n"
    )


def test_no_frontend_at_all(site: Site) -> None:
    assert site.done("list cluster") == site.done("list cluster status=yes") == ""
    assert site.done("list cluster json=yes") == "[]\n"


@pytest.mark.parametrize("command", ["list", "start", "stop", "remove"])
def test_a_host_that_is_no_virtual_frontend_is_rejected(clusters: Site, command: str) -> None:
    message = clusters.refused(command, "cluster", "vm-fe-a-0")
    assert message.startswith("host vm-fe-a-0 is not a virtual frontend")
    if command != "list":
        assert "host head is not a virtual frontend" in clusters.refused(command, "cluster", "fe-a", "head")
