"""Virtual functions of adapters: reports, and what is refused; no physical host answers."""

import json

import pytest

from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.leases import lease as leases
from rocks.network.sriov import adapters
from rocks.network.sriov.function_choice import AssignedVf
from tests.system.commands.conftest import Site

MAC, OTHER_MAC = "52:54:00:aa:00:01", "52:54:00:aa:00:02"


def hold(site: Site, name: str, number: int, host: str = "vmc-0-0", mac: str = MAC) -> int:
    """The machine's lease is that host's, and function `number` of eth0 is under it; returns the token."""
    token = leases.take_leases(site.database, {name: (host, ())})[name]
    adapters.record_assigned_vfs(site.database, [AssignedVf(host, "eth0", number, name, mac, token)])
    site.database.commit()
    return token


def given(site: Site) -> list[tuple[object, ...]]:
    """(host, number, machine) of all functions that are given."""
    return site.rows("SELECT Host, Number, Name FROM sriov_leases ORDER BY 1, 2")


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
    leases.take_leases(vm_site.database, {"other": ("vmc-0-1", ())})
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
        leases.take_leases(other, {"thief": ("vmc-0-0", ())})
        adapters.record_assigned_vfs(other, [AssignedVf("VMC-0-0", "ETH0", 0, "thief", OTHER_MAC, 1)])


def test_a_host_that_does_not_respond(vm_site: Site) -> None:
    vm_site.done("set host sriov vmc-0-0 eth0 1")
    listed = vm_site.rocks("list host sriov status=yes")
    assert listed.status == 0
    assert "no answer" in listed.out
    assert listed.err.startswith("vmc-0-0: ")
    synced = vm_site.rocks("sync host sriov vmc-0-0 vmc-0-1")
    assert synced.status == 1 and synced.out == "" and len(synced.err.splitlines()) == 1
    assert vm_site.done("sync host sriov vmc-0-1") == ""
