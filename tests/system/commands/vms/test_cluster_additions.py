"""Virtual clusters: added in one transaction, listed, removed; no physical host answers."""

import shlex
from typing import Any

import pytest

from tests.system.commands.conftest import Site
from tests.system.commands.vms.vm_records import interfaces

ADD = ("add", "cluster")
IP = "203.0.113.9"


def machines(site: Site) -> list[tuple[Any, ...]]:
    """(name, membership, CPUs, memory, disk size, slice, container, run action, install action, boot) of all."""
    return site.rows(
        "SELECT n.Name, m.Name, n.CPUs, v.Mem, d.Size, v.Slice, p.Name, n.RunAction, n.InstallAction, b.Action"
        " FROM vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN memberships m ON m.ID = n.Membership"
        " JOIN vm_disks d ON d.Vm_Node = v.ID JOIN nodes p ON p.ID = v.PhysNode JOIN boot b ON b.Node = n.ID"
        " ORDER BY n.ID"
    )


def use_vlans(site: Site, *vlans: int) -> None:
    """Let the container vmc-0-1 carry VLANs of another application."""
    for vlan in vlans:
        site.done("add host interface vmc-0-1", f"vlan{vlan}", f"vlan={vlan}", "subnet=private")


@pytest.mark.parametrize(
    ("place", "advice", "is_added"),
    [
        ("rocks.cluster.add.claim_vlan", "nothing was changed", False),
        ("rocks.trust.audit.append_entry", "rocks list cluster shows whether the cluster was added", False),
        ("rocks.database.connection.Database._do_after_commit", "the cluster was added", True),
        ("rocks.commands.add.cluster.Command.takeOutput", "the cluster was added", True),
    ],
)
def test_an_interrupt_says_whether_the_cluster_was_added(
    vm_site: Site, place: str, advice: str, is_added: bool
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with vm_site.patch.context() as patch:
        patch.setattr(place, interrupted)
        ended = vm_site.rocks(*ADD, IP, "1")
    assert ended.status == 130
    begin = "interrupted; operations that a host has begun continue there; "
    assert ended.err.startswith(f"{begin}{advice}") and ended.err.count("\n") == 1
    assert bool(machines(vm_site)) == is_added


def test_an_interrupted_help_has_added_no_cluster(vm_site: Site) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    vm_site.patch.setattr("rocks.commands.add.cluster.Command.takeOutput", interrupted)
    ended = vm_site.rocks(*ADD, "help")
    assert ended.status == 130 and "added" not in ended.err


def test_the_specifications_example(vm_site: Site) -> None:
    use_vlans(vm_site, 2, 3)
    assert vm_site.done(*ADD, IP, "3") == (
        "Getting Free VLAN: 4 <-- Done.\n"
        "Creating Virtual Frontend on Physical Host head\n"
        "\tcreated frontend VM named: frontend-0-0-0\n"
        "<-- Done.\n"
        "Creating 3 Virtual Cluster nodes\n"
        "\tcreated compute VM named: hosted-vm-0-0-0\n"
        "\tcreated compute VM named: hosted-vm-0-1-0\n"
        "\tcreated compute VM named: hosted-vm-0-0-1\n"
        "<-- Done.\n"
    )
    assert machines(vm_site) == [
        ("frontend-0-0-0", "Frontend", 1, 2048, 36, 0, "head", "os", "install vm frontend", "install"),
        ("hosted-vm-0-0-0", "Hosted VM", 1, 1024, 36, 0, "vmc-0-0", None, "install", "install"),
        ("hosted-vm-0-1-0", "Hosted VM", 1, 1024, 36, 0, "vmc-0-1", None, "install", "install"),
        ("hosted-vm-0-0-1", "Hosted VM", 1, 1024, 36, 1, "vmc-0-0", None, "install", "install"),
    ]
    assert interfaces(vm_site, "frontend-0-0-0") == [
        ("eth0", "76:77:6e:80:00:00", "10.1.255.254", "frontend-0-0-0", "private", 4),
        ("eth1", "76:77:6e:80:00:01", IP, "frontend-0-0-0", "public", 0),
    ]
    assert interfaces(vm_site, "hosted-vm-0-1-0") == [
        ("eth0", "76:77:6e:80:00:03", None, "hosted-vm-0-1-0", None, 4)
    ]
    for host in ("head", "vmc-0-0", "vmc-0-1"):
        assert interfaces(vm_site, host)[-1] == ("vlan4", None, None, None, "private", 4)
    routes = "SELECT n.Name, r.Network, r.Netmask, r.Gateway, r.Subnet FROM node_routes r JOIN nodes n ON n.ID = r.Node"
    assert vm_site.database.rows(routes) == [("frontend-0-0-0", "0.0.0.0", "0.0.0.0", "203.0.113.1", None)]


def test_the_specifications_example_with_names(vm_site: Site) -> None:
    printed = vm_site.done(*ADD, IP, "3", "fe-name=blue", "cluster-naming=yes")
    names = ["blue", "vm-blue-0", "vm-blue-1", "vm-blue-2"]
    assert [line.rpartition(": ")[2] for line in printed.splitlines() if line.startswith("\t")] == names
    assert [row[0] for row in machines(vm_site)] == names
    printed = vm_site.done(*ADD, "203.0.113.10", "1", "fe-name=green")
    assert "named: green\n" in printed and "named: vm-green-0\n" in printed
    printed = vm_site.done(*ADD, "203.0.113.11", "1", "fe-name=red", "cluster-naming=no")
    assert "named: red\n" in printed and "named: hosted-vm-0-0-3\n" in printed


def test_every_parameter(vm_site: Site) -> None:
    vm_site.done("add network optical 10.7.0.0 255.255.0.0")
    vm_site.done("add host interface vmc-0-1 eth7 subnet=optical")
    vm_site.done("add host interface vmc-0-0 eth7 subnet=optical")
    vm_site.done(
        f"add cluster ip={IP} num-computes=3 cpus-per-compute=4 mem-per-compute=512 disk-per-compute=5"
        " disk-per-frontend=50 'container-hosts=vmc-0-1  vmc-0-0' fe-container=vmc-0-1 fe-name=blue"
        " cluster-naming=y vlan=77 subnet=Optical gateway=203.0.113.254 virt-type=HVM"
    )
    assert [row[:7] for row in machines(vm_site)] == [
        ("blue", "Frontend", 1, 2048, 50, 0, "vmc-0-1"),
        ("vm-blue-0", "Hosted VM", 4, 512, 5, 0, "vmc-0-0"),
        ("vm-blue-1", "Hosted VM", 4, 512, 5, 1, "vmc-0-1"),
        ("vm-blue-2", "Hosted VM", 4, 512, 5, 1, "vmc-0-0"),
    ]
    assert interfaces(vm_site, "blue")[0][4:] == ("private", 77)
    assert interfaces(vm_site, "vmc-0-0")[-1] == ("vlan77", None, None, None, "optical", 77)
    assert "vlan77" not in [row[0] for row in interfaces(vm_site, "head")]
    assert vm_site.database.rows("SELECT Gateway FROM node_routes") == [("203.0.113.254",)]
    assert "source dev='peth7.77'" in vm_site.done("report host vm config adapted=no blue")
    lines = vm_site.done("list cluster blue").splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["vm-blue-0", "vm-blue-1", "vm-blue-2"]


def test_a_frontend_alone_needs_no_container(vm_site: Site) -> None:
    vm_site.done(*ADD, IP, "0", "container-hosts=vmc-0-0")
    assert [row[0] for row in machines(vm_site)] == ["frontend-0-0-0"]
    assert [row[0] for row in interfaces(vm_site, "vmc-0-0")] == ["eth0"]


def test_without_a_vm_container_the_frontend_takes_all(vm_site: Site) -> None:
    vm_site.done("set host membership vmc-0-0 vmc-0-1 'nas appliance'")
    vm_site.done("set host attr vmc-0-0 kvm true")
    vm_site.done(*ADD, IP, "2", "fe-container=vmc-0-0", "container-hosts=head")
    vm_site.done("remove host attr vmc-0-0 kvm")
    vm_site.done(*ADD, "203.0.113.10", "1")
    assert [(row[0], row[6]) for row in machines(vm_site)] == [
        ("frontend-0-0-0", "vmc-0-0"),
        ("hosted-vm-0-0-0", "head"),
        ("hosted-vm-0-0-1", "head"),
        ("frontend-0-0-2", "head"),
        ("hosted-vm-0-0-3", "head"),
    ]


def test_the_hosts_of_a_cluster_run_machines_and_have_room(vm_site: Site) -> None:
    """The physical frontend gets no machine unless it runs some; full hosts get none as long as another has room."""
    vm_site.done("remove host attr head kvm")
    vm_site.done("set host cpus vmc-0-0 3")
    vm_site.done("set host cpus vmc-0-1 8")
    vm_site.done(*ADD, IP, "3", "fe-name=blue", "cpus-per-compute=2")
    assert [row[6] for row in machines(vm_site)] == ["vmc-0-0", "vmc-0-0", "vmc-0-1", "vmc-0-1"]
    vm_site.done("set host attr vmc-0-0 vmc-0-1 kvm false")
    assert "the site has no VM container" in vm_site.refused(*ADD, "203.0.113.10", "0")


def test_a_host_that_is_no_vm_container_gets_no_machine(vm_site: Site) -> None:
    vm_site.done("set host membership vmc-0-1 'nas appliance'")
    vm_site.done("remove host attr head kvm")
    for host, line in (
        ("vmc-0-1", (*ADD, IP, "0", "fe-container=vmc-0-1")),
        ("vmc-0-1", (*ADD, IP, "2", "fe-container=vmc-0-0", "container-hosts=vmc-0-0 vmc-0-1")),
        ("vmc-0-1", (*ADD, IP, "0", "fe-container=vmc-0-0", "container-hosts=vmc-0-1")),
        ("vmc-0-1", (*ADD, IP, "1", "container-hosts=vmc-0-0 vmc-0-1")),
        ("vmc-0-1", ("add", "host", "vm", "vmc-0-0", "vmc-0-1", "membership=compute")),
        ("head", (*ADD, IP, "0", "fe-container=head")),
    ):
        message = vm_site.refused(*line)
        assert message.startswith(f"{host} is not a VM container, so no virtual machine could start there")
        assert message.endswith(f"rocks set host attr {host} kvm true")


def test_a_dump_keeps_a_machine_on_a_host_that_is_no_vm_container_any_more(vm_site: Site) -> None:
    vm_site.done("add host vm vmc-0-0 membership=compute name=web")
    vm_site.done("set host attr vmc-0-0 kvm false")
    vm_site.done("set host vm web physnode=vmc-0-0 mem=64")
    line = shlex.split(vm_site.done("dump host vm web"))[1:]
    assert vm_site.rocks("remove host vm web").status == 0
    vm_site.done(*line)
    assert shlex.split(vm_site.done("dump host vm web"))[1:] == line


def test_the_gateway_is_the_new_frontends(vm_site: Site) -> None:
    vm_site.done("set host attr vmc-0-1 Kickstart_PublicGateway 203.0.113.7")
    vm_site.done("set appliance attr frontend kickstart_publicgateway 203.0.113.8")
    vm_site.done(*ADD, IP, "0", "fe-container=vmc-0-1")
    assert vm_site.database.rows("SELECT Gateway FROM node_routes") == [("203.0.113.8",)]


def test_warnings_for_the_operator_are_printed(vm_site: Site) -> None:
    vm_site.done("remove attr Kickstart_PublicGateway")
    vm_site.change("DELETE FROM networks WHERE Device = 'eth0' AND MAC = '52:54:00:00:00:04'")
    ended = vm_site.rocks(*ADD, IP, "2")
    assert ended.status == 0
    assert ended.err.splitlines() == [
        "Warning: vmc-0-1 has no interface on network private, so the cluster's VLAN cannot leave it: "
        "rocks add host interface vmc-0-1 IFACE subnet=private",
        "Warning: the frontend has no default route: give gateway=, or set the attribute Kickstart_PublicGateway",
    ]


def test_vlans_are_taken_from_the_lowest_and_freed(vm_site: Site) -> None:
    use_vlans(vm_site, 3)
    for number, vlan in enumerate((2, 4, 5)):
        assert f"VLAN: {vlan} " in vm_site.done(*ADD, f"203.0.113.{10 + number}", "0", f"fe-name=vc{number}")
    assert vm_site.rocks("remove cluster vc1").status == 0
    assert "VLAN: 4 " in vm_site.done(*ADD, "203.0.113.11", "0", "fe-name=vc1")
    assert "VLAN: 1 " in vm_site.done(*ADD, "203.0.113.20", "0", "vlan=1")


def test_a_host_whose_vlans_are_its_own_takes_a_whole_cluster_or_nothing(vm_site: Site) -> None:
    vm_site.done("set host attr vmc-0-0 vlan_transport local")
    message = vm_site.refused(*ADD, IP, "1", "container-hosts=vmc-0-0")
    assert "the cluster would be spread over head, vmc-0-0, but VLANs of vmc-0-0 are local" in message
    vm_site.done(*ADD, IP, "2", "container-hosts=vmc-0-0", "fe-container=vmc-0-0")
    vm_site.done(*ADD, "203.0.113.10", "0", "container-hosts=vmc-0-0")
    vm_site.done(*ADD, "203.0.113.11", "1", "container-hosts=vmc-0-0 vmc-0-1", "fe-container=vmc-0-0")


def test_add_cluster_refuses(vm_site: Site) -> None:
    vm_site.done(*ADD, "203.0.113.3", "0", "fe-name=old")
    vm_site.done("add host vm-new-7 membership=compute rack=0 rank=0")
    vm_site.done("add host interface head vlan5")
    vm_site.done("add host vm vmc-0-0 'hosted vm' vlan=6")
    for arguments, message in [
        ((), "must supply an IP address for the frontend"),
        (("num-computes=2",), "must supply an IP address for the frontend"),
        ((IP,), "must supply the number of compute nodes"),
        ((f"ip={IP}",), "must supply the number of compute nodes"),
        ((IP, "two"), 'num-computes must be an integer from 0 to 4000, not "two"'),
        ((IP, "4001"), "num-computes must be an integer"),
        (("203.0.113.256", "2"), "The ip address 203.0.113.256 is invalid"),
        (("192.0.2.1", "2"), 'The ip address 192.0.2.1 is not in the network "public"'),
        (("203.0.113.2", "2"), "The ip address 203.0.113.2 is in use"),
        (("203.0.113.3", "2"), "The ip address 203.0.113.3 is in use"),
        ((IP, "2", "cluster-naming=yes"), "you must select a fe-name when using cluster-naming"),
        ((IP, "2", "fe-name=OLD"), "nodename (OLD) is already in the database as old; "),
        ((IP, "2", "fe-name=frontend"), "can not be equal to an appliance name"),
        ((IP, "2", "fe-name=a b"), "is not valid"),
        ((IP, "2", f"fe-name={'a' * 63}", "cluster-naming=yes"), "1 to 63 characters"),
        ((IP, "9", "fe-name=new", "cluster-naming=yes"), "nodename (vm-new-7) is already in the database"),
        ((IP, "2", "vlan=2"), "Vlan ID (2) is in use"),
        ((IP, "2", "vlan=5"), "Vlan ID (5) is in use"),
        ((IP, "2", "vlan=6"), "Vlan ID (6) is in use"),
        ((IP, "2", "vlan=0"), "Vlan ID (0) must be an integer from 1 to 4094"),
        ((IP, "2", "vlan=4095"), "Vlan ID (4095) must be an integer"),
        ((IP, "2", "subnet=absent"), 'unknown network "absent"'),
        ((IP, "2", "subnet=pirvate"), 'unknown network "pirvate"; did you mean private? rocks list network'),
        ((IP, "2", "gateway=here"), "The ip address here is invalid"),
        ((IP, "2", f"gateway={IP}"), f"The ip address {IP} is the gateway of the frontend"),
        ((IP, "2", "virt-type=para"), "KVM support only 'hvm' virtualization"),
        ((IP, "2", "container-hosts=no%"), '"no%" matches no host; see rocks list host'),
        ((IP, "2", "container-hosts=old"), "host old is a virtual machine and cannot run others"),
        ((IP, "2", "fe-container=nobody"), 'cannot resolve host "nobody"'),
        ((IP, "2", "fe-container=vmc%"), "must supply only one host, not 2"),
        ((IP, "2", "fe-container=old"), "host old is a virtual machine and cannot run others"),
    ]:
        assert message in vm_site.refused(*ADD, *arguments), arguments


LACKING = [
    (
        "DELETE p FROM partitions p JOIN nodes n ON n.ID = p.Node WHERE n.Name = 'vmc-0-1'",
        "could not find a partition on host (vmc-0-1)",
    ),
    ("DELETE FROM subnets WHERE name = 'public'", 'unknown network "public"'),
    ("UPDATE subnets SET netmask = '255.0.255.0' WHERE name = 'private'", 'the network "private"'),
    (
        "UPDATE attributes SET Value = 'here' WHERE Attr = 'Kickstart_PublicGateway'",
        "Kickstart_PublicGateway is not valid",
    ),
    ("DELETE FROM memberships WHERE Name = 'Hosted VM'", 'the membership "Hosted VM" is missing'),
]


@pytest.mark.parametrize(("change", "message"), LACKING)
def test_add_cluster_reports_missing_site_data(vm_site: Site, change: str, message: str) -> None:
    vm_site.change(change)
    assert message in vm_site.refused(*ADD, IP, "10")


def test_no_vlan_is_left(vm_site: Site) -> None:
    head = vm_site.database.rows("SELECT ID FROM nodes WHERE Name = 'head'")[0][0]
    rows = ", ".join(f"({head}, 'vlan{vlan}', {vlan})" for vlan in range(2, 4095))
    vm_site.change(f"INSERT INTO networks (Node, Device, VlanID) VALUES {rows}")
    assert "could not find a free Vlan ID" in vm_site.refused(*ADD, IP, "1")
