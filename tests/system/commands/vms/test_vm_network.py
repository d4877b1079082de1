"""Network connections of machines, and virtual functions: reports, and what is refused; no physical host answers."""

import json
import shlex

import pytest

from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.machine.leases import records as leases
from rocks.network.sriov import records as virtual_functions
from rocks.network.sriov.plan import AssignedVf
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
    cluster.change(
        "INSERT INTO vm_leases (Name, Token, Host, State) VALUES ('vm-vc1-0', 1, 'vmc-0-0', 'running'),"
        " ('vm-vc1-1', 1, 'vmc-0-0', 'running')"
    )
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
    assert "must supply at least one host" in cluster.refused("sync host vlan")
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


MAC, OTHER_MAC = "52:54:00:aa:00:01", "52:54:00:aa:00:02"


def hold(site: Site, name: str, number: int, host: str = "vmc-0-0", mac: str = MAC) -> int:
    """The machine's lease is that host's, and function `number` of eth0 is under it; returns the token."""
    token = leases.take_leases(site.database, {name: (host, ())}, "start")[name]
    virtual_functions.assign_vfs(site.database, [AssignedVf(host, "eth0", number, name, mac, token)])
    site.database.commit()
    return token


def given(site: Site) -> list[tuple[object, ...]]:
    """(host, number, machine) of all functions that are given."""
    site.database.rollback()
    return site.database.rows("SELECT Host, Number, Name FROM sriov_leases ORDER BY 1, 2")


def test_functions_are_set_listed_and_dumped(vm_site: Site) -> None:
    vm_site.done("set host sriov vmc-0-0 vmc-0-1 eth0 2")
    vm_site.done("set host sriov vmc-0-1 iface=52:54:0:0:0:4 functions=1")
    hold(vm_site, "web", 1)
    assert vm_site.done("list host sriov") == (
        "HOST     IFACE FUNCTION VM  MAC              \n"
        "vmc-0-0: eth0  0        --- -----------------\n"
        "vmc-0-0: eth0  1        web 52:54:00:aa:00:01\n"
        "vmc-0-1: eth0  0        --- -----------------\n"
    )
    listed = json.loads(vm_site.done("list host sriov vmc-0-0 json=yes"))
    assert listed[0]["sriov"][1] == {"iface": "eth0", "function": 1, "vm": "web", "mac": MAC}
    dumped = vm_site.done("dump host sriov").splitlines()
    assert [line.split(" ", 1)[1] for line in dumped] == [
        "set host sriov vmc-0-0 eth0 2",
        "set host sriov vmc-0-1 eth0 1",
    ]
    vm_site.done("set host sriov vmc-0-0 vmc-0-1 eth0 2")
    for line in dumped:
        vm_site.done(*shlex.split(line)[1:])
    assert vm_site.done("dump host sriov").splitlines() == dumped


def test_fewer_functions_only_when_none_of_them_is_given(vm_site: Site) -> None:
    vm_site.done("set host sriov vmc-0-0 eth0 4")
    hold(vm_site, "web", 2)
    error = vm_site.refused("set host sriov vmc-0-1 vmc-0-0 eth0 2")
    assert error == (
        "web may be using function 2 of eth0 on vmc-0-0: stop it first (rocks stop host vm web), "
        "or configure at least 3"
    )
    vm_site.refused("set host sriov vmc-0-0 eth0 0")
    vm_site.done("set host sriov vmc-0-0 eth0 3")
    leases.release_leases(vm_site.database, ["web"])
    vm_site.database.commit()
    vm_site.done("set host sriov vmc-0-0 eth0 0")
    assert vm_site.done("list host sriov") == ""


def test_invalid_arguments_change_nothing(vm_site: Site) -> None:
    vm_site.done("add host vm vmc-0-1 membership=compute name=web disk=file:/images/w,vda,virtio")
    vm_site.done("add host interface vmc-0-0 vlan4 subnet=private vlan=4")
    for arguments, part in [
        (("vmc-0-0", "eth0"), "must supply at least one host"),
        (("eth0",), "must supply iface"),
        (("iface=eth0", "vmc-0-0"), "must supply at least one host"),
        (("vmc-0-0", "eth0", "many"), 'functions "many" must be an integer from 0 to 256'),
        (("vmc-0-0", "eth0", "257"), "must be an integer"),
        (("vmc-0-0", "eth7", "2"), 'host vmc-0-0 has no interface "eth7"'),
        (("head", "vmc-0-0", "eth1", "2"), 'host vmc-0-0 has no interface "eth1"'),
        (("nobody", "eth0", "2"), "nobody"),
        (("vmc-0-0", "eth0", "2", "trust=yes"), "trust"),
        (
            ("web", "eth0", "2"),
            "host web is a virtual machine, and virtual functions belong to adapters of physical hosts",
        ),
        (("vmc-0-0", "vlan4", "2"), 'interface "vlan4" of host vmc-0-0 is not an adapter'),
    ]:
        assert part in vm_site.refused("set host sriov", *arguments), arguments


def test_an_adapter_that_goes_takes_its_functions_with_it(vm_site: Site) -> None:
    """Functions that a machine may use remain listed; a renamed interface retains its functions."""
    vm_site.done("set host sriov vmc-0-0 vmc-0-1 eth0 1")
    hold(vm_site, "web", 0)
    vm_site.done("set host interface iface vmc-0-1 52:54:00:00:00:04 ens1")
    assert "ens1" in vm_site.done("list host sriov vmc-0-1")
    vm_site.done("remove host interface vmc-0-0 eth0")
    assert vm_site.done("list host sriov vmc-0-0 output-col=iface,function,vm") == (
        "IFACE FUNCTION VM \neth0  0        web\n"
    )
    vm_site.done("set host name vmc-0-0 renamed")
    assert given(vm_site) == [("renamed", 0, "web")]


def test_a_lease_that_ends_gives_its_functions_back(vm_site: Site) -> None:
    hold(vm_site, "web", 0)
    hold(vm_site, "other", 1, mac=OTHER_MAC)
    leases.release_leases(vm_site.database, ["web"])
    vm_site.database.commit()
    assert given(vm_site) == [("vmc-0-0", 1, "other")]
    leases.take_leases(vm_site.database, {"other": ("vmc-0-1", ())}, "start")
    vm_site.database.commit()
    assert given(vm_site) == []


def test_a_function_on_a_host_that_lost_its_lease_by_force_is_released_when_the_host_responds(
    vm_site: Site,
) -> None:
    token = hold(vm_site, "web", 0)
    leases.put_up_fences(vm_site.database, [("vmc-0-0", "web", token + 1)])
    leases.release_leases(vm_site.database, ["web"], "unplugged")
    vm_site.database.commit()
    assert given(vm_site) == [("vmc-0-0", 0, "web")]
    hold(vm_site, "web", 0, host="vmc-0-1")
    assert given(vm_site) == [("vmc-0-0", 0, "web"), ("vmc-0-1", 0, "web")]
    leases.take_down_fences(vm_site.database, "vmc-0-0", [("other", token + 1)])
    vm_site.database.commit()
    assert len(given(vm_site)) == 2
    leases.take_down_fences(vm_site.database, "vmc-0-0", [("web", token + 1)])
    vm_site.database.commit()
    assert given(vm_site) == [("vmc-0-1", 0, "web")]


def test_no_function_is_two_machines(vm_site: Site, cluster_database: Settings) -> None:
    """A constraint of the table, independent of the commands."""
    hold(vm_site, "web", 0)
    with Database(cluster_database) as other, pytest.raises(Exception, match="Duplicate entry"):
        leases.take_leases(other, {"thief": ("vmc-0-0", ())}, "start")
        virtual_functions.assign_vfs(other, [AssignedVf("VMC-0-0", "ETH0", 0, "thief", OTHER_MAC, 1)])


def test_a_host_that_does_not_respond(vm_site: Site) -> None:
    vm_site.done("set host sriov vmc-0-0 eth0 1")
    listed = vm_site.rocks("list host sriov status=yes")
    assert listed.status == 0
    assert "no answer" in listed.out
    assert listed.err.startswith("vmc-0-0: ")
    synced = vm_site.rocks("sync host sriov vmc-0-0 vmc-0-1")
    assert synced.status == 1 and synced.out == "" and len(synced.err.splitlines()) == 1
    assert vm_site.done("sync host sriov vmc-0-1") == ""
