"""`list cluster` and `remove cluster`; no physical host answers (specification §5.2, §5.7)."""

import json

import pytest

from tests.system.commands.conftest import Site
from tests.system.commands.vms.test_clusters import ADD, IP, machines, use_vlans
from tests.system.commands.vms.vm_records import interfaces


@pytest.fixture
def samples(vm_site: Site) -> Site:
    """The clusters of the specification's sample (§5.10)."""
    vm_site.done("add host compute-0-0")
    vm_site.done(*ADD, IP, "2", "fe-name=fe-a", "cluster-naming=yes")
    return vm_site


def test_the_sample_of_list_cluster(samples: Site) -> None:
    assert samples.done("list cluster") == (
        "FRONTEND CLIENT NODES TYPE    \n"
        "head:    ------------ physical\n"
        ":        compute-0-0  physical\n"
        "fe-a:    ------------ VM      \n"
        ":        vm-fe-a-0    VM      \n"
        ":        vm-fe-a-1    VM      \n"
    )


def test_the_owner_is_never_left_out(samples: Site) -> None:
    assert samples.done("list cluster fe-a").splitlines()[1] == "fe-a:    ------------ VM  "
    samples.done(*ADD, "203.0.113.10", "0", "fe-name=lonely")
    assert samples.done("list cluster lonely") == "FRONTEND CLIENT NODES TYPE\nlonely:  ------------ VM  \n"


def test_list_cluster_as_json(samples: Site) -> None:
    assert json.loads(samples.done("list cluster fe-a json=yes")) == [
        {
            "frontend": "fe-a",
            "cluster": [
                {"client nodes": "", "type": "VM"},
                {"client nodes": "vm-fe-a-0", "type": "VM"},
                {"client nodes": "vm-fe-a-1", "type": "VM"},
            ],
        }
    ]


def test_physical_frontends_and_their_clients_have_no_status(samples: Site) -> None:
    samples.done("add host vm vmc-0-0 compute")
    listed = samples.rocks("list cluster status=yes")
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
def test_a_host_that_is_no_virtual_frontend_is_rejected(samples: Site, command: str) -> None:
    message = samples.refused(command, "cluster", "vm-fe-a-0")
    assert message.startswith("host vm-fe-a-0 is not a virtual frontend")
    if command != "list":
        assert "host head is not a virtual frontend" in samples.refused(command, "cluster", "fe-a", "head")


def test_nothing_of_a_cluster_is_left(vm_site: Site) -> None:
    use_vlans(vm_site, 9)
    before = vm_site.contents()
    vm_site.done(*ADD, IP, "3", "fe-name=blue", "cluster-naming=yes")
    ended = vm_site.rocks("remove cluster blue")
    assert (ended.status, ended.out) == (0, "")
    names = ["vm-blue-0", "vm-blue-1", "vm-blue-2", "blue"]
    assert sorted(
        line.split()[2] for line in ended.err.splitlines() if line.startswith("Warning (libvirt)")
    ) == sorted(names)
    assert "the disk image" not in ended.err, "its hosts do not answer, so no image is known to exist"
    assert "whether disk images stay on " in ended.err
    assert vm_site.contents() == before


def test_other_clusters_are_left_alone(samples: Site) -> None:
    before = samples.done("list host vm showdisks=yes")
    carriers = interfaces(samples, "vmc-0-0")
    samples.done(*ADD, "203.0.113.10", "5", "fe-name=blue")
    samples.done(*ADD, "203.0.113.11", "1", "fe-name=red")
    assert samples.rocks("remove cluster blue red").status == 0
    assert samples.done("list host vm showdisks=yes") == before
    assert interfaces(samples, "vmc-0-0") == carriers


def test_machines_added_to_a_cluster_go_with_it(samples: Site) -> None:
    samples.done("add host vm vmc-0-0 'hosted vm' vlan=2 name=late")
    assert "late" in samples.done("list cluster fe-a")
    assert samples.rocks("remove cluster fe-a").status == 0
    assert machines(samples) == []
