"""Interfaces: added, listed, changed, dumped, removed."""

import pytest

from rocks.inventory.address_records import host_addresses
from rocks.leases import lease as leases
from tests.system.commands.conftest import Site

MAC = "00:11:22:33:44:5a"
INFINIBAND = "80:00:00:48:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1"


@pytest.fixture
def two(computes: Site) -> Site:
    """compute-0-0 with one interface on private, and compute-0-1 with none."""
    computes.done("add host interface compute-0-0 eth0 ip=10.1.0.10 subnet=private", f"mac={MAC}")
    return computes


def test_list_host_interface_is_a_table(two: Site) -> None:
    two.done("add host interface compute-0-0 vlan7 subnet=private vlan=7 module=8021q")
    two.done("set host interface options compute-0-0 vlan7 novtap")
    two.done("add host interface compute-0-1 eth0")
    assert two.done("list host interface") == (
        "HOST         SUBNET  IFACE MAC               IP        NETMASK     MODULE NAME        VLAN OPTIONS CHANNEL\n"
        "compute-0-0: private eth0  00:11:22:33:44:5a 10.1.0.10 255.255.0.0 ------ compute-0-0 ---- ------- -------\n"
        "compute-0-0: private vlan7 ----------------- --------- ----------- ------ ----------- 7    novtap  -------\n"
        "compute-0-1: ------- eth0  ----------------- --------- ----------- ------ ----------- ---- ------- -------\n"
    )


def test_an_interface_known_by_its_mac(two: Site) -> None:
    mac = "0A:1b:2c:3d:4e:5F"  # as it is given
    two.done("add host interface compute-0-1", mac, "ip=10.1.0.11", "subnet=PRIVATE", "vlan=0", "name=c1")
    assert two.done("list host interface compute-0-1 output-col=mac,ip,name,iface,vlan") == (
        "IFACE MAC               IP        NAME VLAN\n----- 0A:1b:2c:3d:4e:5F 10.1.0.11 c1   ----\n"
    )
    two.done("set host interface iface compute-0-1 a:1B:2c:3d:4e:5f eth3")
    two.done("set host interface mac compute-0-1 eth3 NULL")
    two.done("set host interface ip compute-0-1 eth3 null")
    assert two.done("list host interface compute-0-1 output-col=mac,ip,iface") == (
        "IFACE MAC IP\neth3  --- --\n"
    )


def test_infiniband_addresses_are_preserved(two: Site) -> None:
    two.done("add host interface compute-0-1 ib0", f"mac={INFINIBAND}")
    assert INFINIBAND in two.done("list host interface compute-0-1")
    assert "is in use by host compute-0-1" in two.refused(
        "add host interface compute-0-0 ib0", f"mac={INFINIBAND.upper()}"
    )


def test_add_host_interface_refuses(two: Site) -> None:
    for arguments, message in (
        (["compute-0-0", "eth0"], 'interface "eth0" exists'),
        (["compute-0-0", "ETH0"], 'interface "ETH0" exists'),
        (["compute-0-0", MAC], f'interface "{MAC}" exists'),
        (["compute-0-1", MAC], f"The mac address {MAC} is in use by host compute-0-0"),
        (["compute-0-1", "eth0", "mac=00:11:22:33:44:5a"], "is in use by host compute-0-0"),
        (["compute-0-1", "eth0", "mac=0:11:22:33:44:56"], "give each octet two digits"),
        (["compute-0-1", "eth0", "mac=00:11:22:33:44"], "The mac address 00:11:22:33:44 is invalid"),
        (
            ["compute-0-1", "eth0", "mac=00:00:00:00:00:00"],
            "is invalid: it is all zeros, which stands for none",
        ),
        (["compute-0-1", "eth0", "mac=0B:11:22:33:44:55"], "is invalid: it is a multicast address"),
        (
            ["compute-0-1", "ff:ff:ff:ff:ff:ff"],
            "is invalid: it is the broadcast address, that of all stations",
        ),
        (["compute-0-1", "eth0", "name=0x1f"], '"0x1f" is not valid: the resolver takes it for an address'),
        (["compute-0-1", "a:b:c:d:e:zz"], "The mac address a:b:c:d:e:zz is invalid"),
        (["compute-0-1", "0A:1b:2c:3d:4e:5F", f"mac={MAC}"], "differs; give one of them"),
        (["compute-0-1", "eth0", "ip=10.1.0"], "The ip address 10.1.0 is invalid"),
        (["compute-0-1", "eth0", "ip=10.1.0.10"], "The ip address 10.1.0.10 is in use by host compute-0-0"),
        (
            ["compute-0-1", "eth0", "ip=10.2.0.1", "subnet=private"],
            'not in the network "private", which is 10.1.0.0/16',
        ),
        (["compute-0-1", "eth0", "subnet=nowhere"], 'unknown network "nowhere"'),
        (["compute-0-1", "eth0", "vlan=4095"], 'vlan "4095" must be an integer from 0 to 4094'),
        (["compute-0-1", "eth0", "name=a.b"], "must not be a fully qualified domain name"),
        (["compute-0-1", "eth0", "name=a b"], 'interface name "a b" is not valid'),
        (["compute-0-1", "eth0", "module=e1000; reboot"], 'module "e1000; reboot" is not valid'),
        (["compute-0-1", "eth/0"], 'interface "eth/0" is not valid'),
        (["compute-0-1"], 'must supply one host, besides iface "compute-0-1"'),
        ([], "must supply iface"),
        (["compute", "eth1"], "must supply only one host, not 2"),
    ):
        assert message in two.refused("add host interface", *arguments), arguments


def test_set_host_interface_refuses(two: Site) -> None:
    two.done("add host interface compute-0-1 eth0")
    two.done("add host interface compute-0-0 eth1")
    for arguments, message in (
        (["ip", "compute-0-0", "eth9", "10.1.0.11"], 'host compute-0-0 has no interface "eth9"'),
        (["ip", "compute-0-1", "eth0", "10.1.0.10"], "is in use by host compute-0-0"),
        (["ip", "compute-0-0", "eth0", "10.2.0.1"], "not in the network"),
        (["ip", "compute-0-0", "eth0", "ten"], "The ip address ten is invalid"),
        (["ip", "compute", "eth0", "10.1.0.11"], "must supply only one host"),
        (["ip", "compute-0-0", "eth0"], 'must supply one host, besides iface "compute-0-0" and ip "eth0"'),
        (["ip"], "must supply iface"),
        (["mac", "compute-0-1", "eth0", MAC.upper()], "is in use by host compute-0-0"),
        (["mac", "compute-0-0", "eth0", "nonsense"], "The mac address nonsense is invalid"),
        (["iface", "compute-0-0", MAC, "eth1"], 'interface "eth1" exists'),
        (["iface", "compute-0-0", "eth0", "eth/1"], 'interface "eth/1" is not valid'),
        (["iface", "compute-0-1", "eth0", "NULL"], "neither device nor MAC address"),
        (["name", "compute-0-0", "eth0", "a.b"], "fully qualified domain name"),
        (["subnet", "compute", "eth0", "nowhere"], 'unknown network "nowhere"'),
        (["subnet", "compute", "eth0", "public"], 'The ip address 10.1.0.10 is not in the network "public"'),
        (["subnet", "compute", "eth1", "private"], 'host compute-0-1 has no interface "eth1"'),
        (["vlan", "compute", "eth0", "4095"], 'vlan "4095" must be an integer'),
        (["module", "compute", "eth0", "$(reboot)"], 'module "$(reboot)" is not valid'),
        (["channel", "compute", "eth0", "bond 0"], 'channel "bond 0" is not valid'),
        (["options", "compute", "eth0", "a\nb"], "not a printable character"),
        (["options", "compute", "eth0", "x" * 129], "too long: 129 characters, at most 128"),
        (["options", "compute", "a:b:c:d:e:zz", "x"], "The mac address a:b:c:d:e:zz is invalid"),
    ):
        assert message in two.refused("set host interface", *arguments), arguments


def test_set_host_interface_many_hosts(two: Site) -> None:
    two.done("add host interface compute-0-1 eth0")
    two.done("set host interface subnet compute eth0 private")
    two.done("set host interface vlan compute eth0 12")
    two.done("set host interface module compute eth0 e1000")
    two.done("set host interface channel compute iface=eth0 channel=bond0")
    two.done("set host interface options compute eth0", 'options=dhcp mode="4"')
    columns = "output-col=host,subnet,name,vlan,module,channel,options"
    assert two.done("list host interface compute", columns) == (
        "HOST         SUBNET  MODULE NAME        VLAN OPTIONS       CHANNEL\n"
        'compute-0-0: private e1000  compute-0-0 12   dhcp mode="4" bond0  \n'
        'compute-0-1: private e1000  compute-0-1 12   dhcp mode="4" bond0  \n'
    )
    for word in ("vlan", "module", "channel", "options"):
        two.done("set host interface", word, "compute", "eth0", "NULL")
    assert two.database.rows("SELECT DISTINCT VlanID, Module, Channel, Options FROM networks") == [
        (None,) * 4
    ]


def test_a_network_gives_a_name_only_where_there_was_none(two: Site) -> None:
    two.done("set host interface name compute-0-0 eth0 storage")
    two.done("set host interface subnet compute-0-0 eth0 NULL")
    two.done("set host interface subnet compute-0-0 eth0 private")
    assert two.database.rows("SELECT Name FROM networks") == [("storage",)]
    two.done("set host interface name compute-0-0 eth0 NULL")
    assert two.database.rows("SELECT Name FROM networks") == [("compute-0-0",)]


def test_an_interface_has_no_name_of_another_host(two: Site) -> None:
    """Its address would be that of the other host in /etc/hosts and in DNS; names of its own host are allowed."""
    two.done("add host alias compute-0-1 other")
    for name, what in (("Compute-0-1", "the name of"), ("OTHER", "an alias of")):
        for command in (
            f"set host interface name compute-0-0 eth0 {name}",
            f"add host interface compute-0-0 eth5 ip=10.1.0.99 subnet=private name={name}",
        ):
            expected = (
                f'interface name "{name}" is {what} the host compute-0-1, which would get the address of '
            )
            assert expected in two.refused(command)
    assert two.database.rows("SELECT Name FROM networks") == [("compute-0-0",)]
    two.done("set host interface name compute-0-0 eth0 storage")
    refused = 'alias "STORAGE" is the name of an interface of the host compute-0-0'
    assert refused in two.refused("add host alias compute-0-1 STORAGE")
    taken = "it is the name of an interface of compute-0-0"
    assert taken in two.refused("add host Storage membership=compute rack=7 rank=7")
    assert taken in two.refused("set host name compute-0-1 storage")
    two.done("add host alias compute-0-0 storage")
    two.done("add host interface compute-0-0 eth5 name=storage")
    two.done("add host interface compute-0-0 eth6 name=COMPUTE-0-0")
    two.done("remove host alias compute-0-0 storage")
    two.done("set host attr compute-0-1 storage yes")
    two.done("set host name compute-0-0 storage")


@pytest.mark.slow
def test_two_clusters_do_not_get_one_vlan(vm_site: Site) -> None:
    """Each would be on the other's network at its next start."""
    for number in (1, 2):
        cluster = f"203.0.113.{8 + number} 1 fe-name=vc{number} cluster-naming=yes vlan={100 + number}"
        vm_site.done("add cluster", *cluster.split())
    before = vm_site.contents()
    for line in (
        "set host interface vlan vc2 eth0 101",
        "set host interface vlan vc1 vc2 eth0 300",
        "add host interface vc2 eth2 subnet=private vlan=101",
    ):
        assert (
            "belongs to the virtual cluster vc1, and vc2 is the frontend of another cluster"
            in vm_site.refused(line)
        )
        assert vm_site.contents() == before
    changed = vm_site.rocks("set host interface vlan vm-vc2-0 eth0 101")  # a compute may change its cluster
    assert (changed.status, changed.err) == (
        0,
        "vm-vc2-0 leaves the cluster vc2 and joins the cluster vc1: rocks remove cluster vc1 removes it, too\n",
    )
    vm_site.done("set host interface vlan vc2 eth0 103")
    assert "is in use" in vm_site.refused("add cluster 203.0.113.20 0 vlan=103")
    assert "joins the cluster vc2" in vm_site.rocks("set host interface vlan vm-vc2-0 eth0 103").err
    vm_site.done("set host interface vlan vc1 vm-vc1-0 eth0 102")  # nobody else is on it any more
    assert ("vc1", 102) in vm_site.rows("SELECT cluster_name, vlanid FROM clusters")
    assert "belongs to the virtual cluster vc1" in vm_site.refused("set host interface vlan vc2 eth0 102")


def test_a_machine_gets_nothing_that_one_without_a_record_may_have(vm_site: Site) -> None:
    """That was removed while its host was silent: the database has its VLAN and address as free."""
    vm_site.done("add cluster 203.0.113.9 1 fe-name=vc1 cluster-naming=yes vlan=101")
    leases.take_leases(vm_site.database, {"gone": ("vmc-0-0", ())})
    vm_site.database.commit()
    for line in (
        "set host interface vlan vm-vc1-0 eth0 102",
        "set host interface ip vm-vc1-0 eth0 10.1.3.3",
        "add host interface vm-vc1-0 eth1 subnet=public ip=203.0.113.10",
    ):
        refusal = vm_site.refused(line)
        assert "gone on vmc-0-0 may be running and not in the database" in refusal, line
        assert "Stop it first: rocks stop host vm gone" in refusal, line
    vm_site.done("set host interface ip vm-vc1-0 eth0 NULL")
    vm_site.done("add host interface vmc-0-0 eth7 ip=192.0.2.9 vlan=102")
    vm_site.done("set host interface ip vmc-0-0 eth7 192.0.2.10")
    leases.release_leases(vm_site.database, ["gone"])
    vm_site.database.commit()
    assert vm_site.rocks("set host interface vlan vm-vc1-0 eth0 102").status == 0
    vm_site.done("set host interface ip vm-vc1-0 eth0 10.1.3.3")


def test_a_frontend_does_not_leave_its_computes(vm_site: Site) -> None:
    """They would be of no cluster, which no listing of the site's problems shows."""
    vm_site.done("add cluster 203.0.113.9 2 fe-name=vc1 cluster-naming=yes vlan=101")
    for line in (
        "set host interface vlan vc1 eth0 77",
        "set host interface vlan vc1 vm-vc1-1 eth0 0",
        "set host interface subnet vc1 eth0 NULL",
        "remove host interface vc1 eth0",
        "remove host interface vc1 vm-vc1-0 eth%",
        "set host membership vc1 Compute",
        "set host membership vc1 vm-vc1-0 'Hosted VM'",
    ):
        refusal = vm_site.refused(line)
        assert "vc1 is the frontend of a virtual cluster, and vm-vc1-" in refusal, line
        assert (
            "on its VLAN 101 would be of no cluster" in refusal and "rocks remove cluster vc1" in refusal
        ), line
    assert vm_site.rocks("remove host interface vc1 vm-vc1-0 vm-vc1-1 eth0").status == 0
    assert vm_site.rows("SELECT 1 FROM clusters") == []
    vm_site.done("set host membership vc1 Compute")


def test_a_compute_that_changes_its_cluster_is_named(vm_site: Site) -> None:
    vm_site.done("add cluster 203.0.113.9 2 fe-name=vc1 cluster-naming=yes vlan=101")
    leases.take_leases(vm_site.database, {"vm-vc1-1": ("vmc-0-0", ())})
    leases.set_state(vm_site.database, ["vm-vc1-1"], "running")
    vm_site.database.commit()
    leaves, joins = (
        "leaves the cluster vc1, and is of no cluster now",
        "joins the cluster vc1: rocks remove cluster vc1",
    )
    runs = "; it runs, and its network is as before until"
    for line, changes in (
        ("set host interface vlan vm-vc1-0 eth0 77", f"vm-vc1-0 {leaves}"),
        ("add host interface vm-vc1-0 eth5 vlan=101", f"vm-vc1-0 {joins} removes it, too"),
        ("set host interface vlan vm-vc1-1 eth0 77", f"vm-vc1-1 {leaves}{runs} its next start"),
        (
            "set host interface vlan vm-vc1-1 eth0 101",
            f"vm-vc1-1 {joins} removes it, too{runs} its next start",
        ),
        ("remove host interface vm-vc1-1 eth0", f"vm-vc1-1 {leaves}{runs} rocks sync host vm vm-vc1-1"),
        ("set host interface vlan vc1 vm-vc1-0 eth0 78", ""),
    ):
        ended = vm_site.rocks(line)
        assert (ended.status, ended.err) == (0, f"{changes}\n" if changes else ""), line


def test_a_machine_becomes_the_frontend_of_its_own_cluster_only(vm_site: Site) -> None:
    """Else the owner of one would switch the machines of the other; whichever of both conditions comes last."""
    vm_site.done("add cluster 203.0.113.9 1 fe-name=vc1 cluster-naming=yes vlan=101")
    vm_site.done("set host interface subnet vm-vc1-0 eth0 private")
    refusal = "belongs to the virtual cluster vc1, and vm-vc1-0 is the frontend of another cluster"
    assert refusal in vm_site.refused("set host membership vm-vc1-0 Frontend")
    vm_site.done("set host interface subnet vm-vc1-0 eth0 NULL")
    vm_site.done("set host membership vm-vc1-0 Frontend")
    assert refusal in vm_site.refused("set host interface subnet vm-vc1-0 eth0 private")


def test_a_host_that_becomes_a_virtual_frontend_on_a_vlan_of_others_is_named(vm_site: Site) -> None:
    """As `rocks load` of a dump with two such clusters, which is loaded all the same."""
    vm_site.done("add cluster 203.0.113.9 0 fe-name=vc1 vlan=101")
    vm_site.done("add host fe2 membership=Frontend cpus=1 rack=7 rank=0")
    vm_site.done("add host interface fe2 eth0 subnet=private vlan=101")
    ended = vm_site.rocks("set host vm fe2 physnode=vmc-0-1")
    assert ended.status == 0
    assert "VLAN 101 belongs to the virtual cluster vc1, and fe2 is the frontend of another" in ended.err
    assert vm_site.done("set host vm fe2 physnode=vmc-0-0") == ""


def test_a_new_frontend_has_its_vlan_for_itself(vm_site: Site) -> None:
    vm_site.done("add host vm vmc-0-0 vmc-0-1 membership=Compute vlan=99")
    names = ("compute-0-0-0", "compute-0-1-0")
    assert "VLAN 99 belongs to" in vm_site.refused("set host membership", *names, "Frontend")
    vm_site.done("set host membership", names[0], "Frontend")
    assert "VLAN 99 belongs to" in vm_site.refused("set host membership", names[1], "Frontend")
    assert vm_site.rows("SELECT VlanID FROM cluster_vlans") == [(99,)]


def test_frontends_of_several_clusters_are_set_by_one_command(vm_site: Site) -> None:
    for number in (1, 2):
        vm_site.done(f"add cluster 203.0.113.{8 + number} 0 fe-name=vc{number} vlan={100 + number}")
    before = vm_site.contents()
    vm_site.done("set host membership vc1 vc2 Frontend")
    vm_site.done("set host interface subnet vc1 vc2 eth0 private")
    assert vm_site.contents() == before


def test_the_same_value_again_is_no_error(two: Site) -> None:
    before = two.contents()
    two.done("set host interface ip compute-0-0 eth0 10.1.0.10")
    two.done("set host interface mac compute-0-0 eth0", MAC)
    two.done("set host interface iface compute-0-0", MAC, "eth0")
    assert two.contents() == before


def test_remove_host_interface(two: Site) -> None:
    two.done("add host interface compute-0-0 eth1")
    two.done("add host interface compute-0-1 eth1")
    assert 'no interface "eth7" on any' in two.refused("remove host interface compute eth7")
    two.done("remove host interface compute eth1")
    assert two.database.rows("SELECT Device FROM networks") == [("eth0",)]
    two.database.rollback()
    two.done("remove host interface compute-0-0", MAC)
    two.done("add host interface compute-0-0 eth1")
    two.done("add host interface compute-0-0 eth2")
    two.done("remove host interface compute-0-0 eth%")
    assert two.done("list host interface") == ""
    two.done("add host interface compute-0-0 bond_1")
    two.done("add host interface compute-0-0 bond-1")
    two.done("remove host interface compute-0-0 bond_1")
    assert two.database.rows("SELECT Device FROM networks") == [("bond-1",)]


def test_an_interface_of_a_host_that_others_use_is_named_with_what_restores_it(vm_site: Site) -> None:
    vm_site.done("add cluster 203.0.113.9 1 fe-name=vc1 cluster-naming=yes vlan=101 container-hosts=vmc-0-0")
    vm_site.done("set host interface options vmc-0-0 eth0", "options=dhcp mode=4")
    start = "is used by vm-vc1-0, which may not be connected at their next start; to restore it: "
    for line, use, restore in (
        ("vmc-0-0 vlan101", start, "add host interface vmc-0-0 vlan101 subnet=private vlan=101"),
        (
            "vmc-0-0 52:54:00:00:00:03",
            start,
            "add host interface vmc-0-0 eth0 ip=10.1.0.2 mac=52:54:00:00:00:03 subnet=private, then rocks set host "
            "interface options vmc-0-0 eth0 'dhcp mode=4'",
        ),
        (
            "head eth0",
            "is used by the hosts of the site, and by vc1, which may not be connected at their next start; "
            "to restore it: ",
            "add host interface head eth0 ip=10.1.0.1 mac=52:54:00:00:00:01 subnet=private",
        ),
    ):
        before = vm_site.done("list host interface")
        removed = vm_site.rocks("remove host interface", *line.split())
        host, iface = restore.split(", ")[0].split()[3:5]
        assert (removed.status, removed.err) == (0, f"{iface} of {host} {use}rocks {restore}\n"), line
        for command in restore.split(", then rocks "):
            vm_site.done(command)
        assert sorted(vm_site.done("list host interface").splitlines()) == sorted(before.splitlines())
    vm_site.done("remove host interface vmc-0-1 eth0")


def test_an_interface_that_no_longer_serves_its_users_is_named_with_what_restores_it(vm_site: Site) -> None:
    vm_site.done("add cluster 203.0.113.9 1 fe-name=vc1 cluster-naming=yes vlan=101 container-hosts=vmc-0-0")
    vm_site.done("add network guests 192.0.2.0 255.255.255.0 dnszone=guests.example")
    vm_site.done("set host interface ip vmc-0-0 eth0 NULL")
    before = vm_site.done("list host interface")
    mac = "52:54:00:00:00:03"
    for change, iface, users, restore in (
        ("vlan vmc-0-0 vlan101 102", "vlan101 of vmc-0-0", "vm-vc1-0", "vlan vmc-0-0 vlan101 101"),
        ("vlan vmc-0-0 vlan101 0", "vlan101 of vmc-0-0", "vm-vc1-0", "vlan vmc-0-0 vlan101 101"),
        ("vlan head eth1 9", "eth1 of head", "vc1", "vlan head eth1 0"),
        ("vlan vmc-0-0 eth0 9", "", "", "vlan vmc-0-0 eth0 0"),  # VLAN 101 is on the same wire as before
        ("subnet vmc-0-0 vlan101 guests", "vlan101 of vmc-0-0", "vm-vc1-0", "subnet vmc-0-0 vlan101 private"),
        (f"subnet vmc-0-0 {mac} guests", "eth0 of vmc-0-0", "vm-vc1-0", "subnet vmc-0-0 eth0 private"),
        (
            "subnet head eth0 NULL",
            "eth0 of head",
            "the hosts of the site, and by vc1",
            "subnet head eth0 private",
        ),
        (f"iface vmc-0-0 {mac} NULL", "eth0 of vmc-0-0", "vm-vc1-0", f"iface vmc-0-0 {mac} eth0"),
        (f"iface vmc-0-0 {mac} eth7", "", "", f"iface vmc-0-0 {mac} eth0"),
    ):
        changed = vm_site.rocks(f"set host interface {change}")
        at_start = "which may not be connected at their next start"
        line = f"{iface} is used by {users}, {at_start}; to restore it: rocks set host interface {restore}\n"
        assert (changed.status, changed.err) == (0, line if users else ""), change
        restored = vm_site.rocks(f"set host interface {restore}")
        assert (restored.status, restored.err) == (0, ""), restore
        assert vm_site.done("list host interface") == before


def test_a_second_adapter_on_a_network_serves_nobody_until_the_first_ends(vm_site: Site) -> None:
    vm_site.done("add cluster 203.0.113.9 1 fe-name=vc1 cluster-naming=yes vlan=101 container-hosts=vmc-0-0")
    vm_site.done("add host vm vmc-0-0 compute name=web")
    for host in ("vmc-0-0", "head"):
        vm_site.done(f"add host interface {host} eth9 mac=52:54:00:00:09:{len(host):02} subnet=private")
        for vlan in (9, 0):
            assert vm_site.done(f"set host interface vlan {host} eth9 {vlan}") == ""
    changed = vm_site.rocks("set host interface subnet vmc-0-0 eth0 NULL")
    assert changed.err == (
        "eth0 of vmc-0-0 is used by vm-vc1-0, web, which use eth9 instead from their next start; to restore it: "
        "rocks set host interface subnet vmc-0-0 eth0 private\n"
    )
    vm_site.done("set host interface subnet vmc-0-0 eth0 private")
    removed = vm_site.rocks("remove host interface vmc-0-0 eth0")
    assert "vm-vc1-0, web, which use eth9 instead from their next start; to" in removed.err
    removed = vm_site.rocks("remove host interface vmc-0-0 eth9")
    assert "vm-vc1-0, web, which may not be connected at their next start; to" in removed.err


def test_dump_host_interface(two: Site) -> None:
    two.patch.setenv("ROCKS_LAUNCHER", "rocks")
    two.done("add host interface compute-0-1", INFINIBAND, "ip=203.0.113.9", "subnet=public", "vlan=9")
    two.done("set host interface options compute-0-0 eth0", "options=mode=4 <&'\"$(x)`%")
    two.done("set host interface name compute-0-1", INFINIBAND, "c1")
    dumped = two.done("dump host interface")
    assert dumped.splitlines()[:5] == [
        "rocks add host interface compute-0-0 eth0",
        "rocks set host interface ip compute-0-0 eth0 10.1.0.10",
        "rocks set host interface name compute-0-0 eth0 compute-0-0",
        f"rocks set host interface mac compute-0-0 eth0 {MAC}",
        "rocks set host interface subnet compute-0-0 eth0 private",
    ]


@pytest.mark.parametrize("first", ["ipmi", "eth0"])
def test_the_address_of_a_host_is_never_that_of_its_bmc(vm_site: Site, first: str) -> None:
    """Whatever was added first: SSH, names, Slurm and DHCP would have taken the BMC for the host."""
    vm_site.done("set attr slurm_server 10.1.0.1")
    vm_site.done("add host compute-0-0")
    added = {
        "ipmi": ("ip=10.1.200.5", "subnet=private", "mac=52:54:00:00:02:05"),
        "ib0": ("ip=10.1.100.5", "subnet=private", "name=compute-0-0-ib"),
        "eth0": ("ip=10.1.0.5", "subnet=private", "mac=52:54:00:00:00:05"),
    }
    for device in sorted(added, key=lambda one: one != first):
        vm_site.done("add host interface compute-0-0", device, *added[device])
    assert host_addresses(vm_site.database, ["compute-0-0"])[0].address == "10.1.0.5"
    assert "NodeName=compute-0-0 NodeAddr=10.1.0.5 " in vm_site.done("report slurm")
    lines = [line.split() for line in vm_site.done("report host").splitlines() if "compute-0-0" in line]
    assert lines == [
        ["10.1.0.5", "compute-0-0.local", "compute-0-0"],
        ["10.1.100.5", "compute-0-0-ib.local", "compute-0-0-ib"],
        ["10.1.200.5", "compute-0-0-ipmi.local", "compute-0-0-ipmi"],
    ]
    assert "10.1.200.5" not in vm_site.done("report shosts")
    vm_site.done("set host interface name compute-0-0 eth0 other")
    assert host_addresses(vm_site.database, ["compute-0-0"])[0].address == "compute-0-0", (
        "the resolver decides"
    )
    asked = vm_site.rocks("report host")
    assert "no address has the name of host compute-0-0" in asked.err
