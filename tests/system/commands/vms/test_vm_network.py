"""Network connections of machines: reports, and what is refused; no physical host answers."""

import json

import pytest

from rocks.leases import lease as leases
from tests.system.commands.conftest import Site

LIST = ("list", "host", "vm", "network")


@pytest.fixture
def cluster(vm_site: Site) -> Site:
    """A cluster with two computes on VLAN 2."""
    vm_site.done("add cluster 203.0.113.9 2 fe-name=vc1 cluster-naming=yes")
    return vm_site


def test_hosts_that_do_not_answer_are_reported(cluster: Site) -> None:
    """Every interface still has its row, and the exit status reports that no host answered."""
    ended = cluster.rocks(*LIST, "json=yes")
    assert ended.status == 1
    assert sorted(line.split(":")[1].strip() for line in ended.err.splitlines()) == [
        "head",
        "vmc-0-0",
        "vmc-0-1",
    ]
    rows = {(row["vm-host"], one["iface"]): one for row in json.loads(ended.out) for one in row["network"]}
    assert sorted(rows) == [("vc1", "eth0"), ("vc1", "eth1"), ("vm-vc1-0", "eth0"), ("vm-vc1-1", "eth0")]
    assert {one["state"] for one in rows.values()} == {"unknown"}
    assert (rows["vc1", "eth0"]["link"], rows["vc1", "eth0"]["vlan"]) == ("peth0.2", 2)
    assert (rows["vc1", "eth1"]["link"], rows["vc1", "eth1"]["vlan"]) == ("eth1", None)


def test_a_virtual_function_hangs_on_its_adapter(cluster: Site) -> None:
    cluster.done("set host interface options vm-vc1-0 eth0 sriov")
    ended = cluster.rocks(*LIST, "vm-vc1-0", "json=yes")
    (one,) = json.loads(ended.out)[0]["network"]
    assert (one["link"], one["vlan"], one["state"]) == ("peth0", 2, "unknown")
    assert cluster.done("report host vlan vm-vc1-0") == "# no vlan for vm-vc1-0\n"


def test_hosts_that_are_no_machines_are_left_out(cluster: Site) -> None:
    assert cluster.done(*LIST, "head") == ""
    assert "host, alias" in cluster.refused(*LIST, "nobody")


def test_what_hosts_are_to_have(cluster: Site) -> None:
    """For a machine always, for a host only of machines that may run there; a long name is printed."""
    assert "link add link peth0 name peth0.2 type vlan id 2" in cluster.done("report host vlan vm-vc1-0")
    assert cluster.done("report host vlan head") == ""
    cluster.take_lease("vm-vc1-0", "vmc-0-0", token=1)
    cluster.take_lease("vm-vc1-1", "vmc-0-0", token=1)
    assert cluster.done("report host vlan vmc-0-0").count("type vlan id 2 ") == 1
    cluster.change("UPDATE networks SET Device = 'enp129s0f0np0' WHERE Device = 'eth0' AND IP = '10.1.0.2'")
    long = cluster.done("report host vlan vm-vc1-0")
    assert "name v2-" in long and long.endswith("# penp129s0f0np0.2\n")
    ended = cluster.rocks(*LIST, "vm-vc1-0", "json=yes")
    link = json.loads(ended.out)[0]["network"][0]["link"]
    assert link.startswith("v2-") and link.endswith("(penp129s0f0np0.2)")


def test_a_machine_without_vlan(vm_site: Site) -> None:
    vm_site.done("add host vm vmc-0-0 'membership=Hosted VM' name=alone")
    assert vm_site.done("report host vlan alone") == "# no vlan for alone\n"


def test_sync_requires_hosts_and_reports_those_that_do_not_answer(cluster: Site) -> None:
    assert "this machine has no SSH key in" in cluster.refused("sync host vlan vm-vc1-0")
    ended = cluster.rocks("sync host vlan vmc-0-0 vmc-0-1")
    assert ended.status == 1 and ended.err.count("Error: vmc-0-") == 2


def test_the_pool_of_vlan_ids(vm_site: Site) -> None:
    """Chosen from the pool, refused outside it, and exhaustion names it; nothing half is added."""
    vm_site.done("set attr vm_vlan_pool 100-101")
    assert "Getting Free VLAN: 100 " in vm_site.done("add cluster 203.0.113.9 0")
    refusal = vm_site.refused("add cluster 203.0.113.10 0 vlan=7")
    assert "outside the pool 100-101 (attribute vm_vlan_pool)" in refusal
    vm_site.done("add cluster 203.0.113.10 0")
    refusal = vm_site.refused("add cluster 203.0.113.11 0")
    assert "the pool 100-101 (attribute vm_vlan_pool) is exhausted" in refusal
    vm_site.set_as_before("vm_vlan_pool", "100..200")
    assert "it must be like 100-199,300" in vm_site.refused("add cluster 203.0.113.11 0")


def test_a_vlan_is_in_use_until_the_machines_that_left_it_have_stopped(vm_site: Site) -> None:
    """Their records have left it, and they themselves at their next start."""
    for number in (1, 2):
        cluster = f"203.0.113.{8 + number} 1 fe-name=vc{number} cluster-naming=yes vlan={100 + number}"
        vm_site.done("add cluster", *cluster.split())
    for name in ("vm-vc1-0", "vc1"):
        leases.take_leases(vm_site.database, {name: ("vmc-0-0", ())})
        vm_site.database.commit()
        free = 103 if name == "vm-vc1-0" else 104
        vm_site.done(f"set host interface vlan vc1 vm-vc1-0 eth0 {free}")
        before = vm_site.contents()
        refusal = vm_site.refused("set host interface vlan vc2 vm-vc2-0 eth0 101")
        assert "VLAN 101 belongs to the virtual cluster vc1, and vc2 is" in refusal
        assert "a cluster that has left one has it until its machines have stopped" in refusal
        assert vm_site.contents() == before
        leases.release_leases(vm_site.database, [name])
        vm_site.database.commit()
    vm_site.done("set host interface vlan vc2 vm-vc2-0 eth0 101")
