"""Virtual machines: added, changed, listed, dumped, removed; no physical host answers."""

from collections.abc import Sequence
from typing import Any

import pytest

from rocks.core.errors import ToolError
from rocks.database.connection import Database
from tests.system.commands.conftest import Site
from tests.system.commands.vms.vm_records import ADD, FIRST_MAC, disks, interfaces, machine


def test_the_specifications_example_of_add_host_vm(vm_site: Site) -> None:
    printed = vm_site.done("add host vm vmc-0-1 Compute")
    assert printed == "added VM compute-0-1-0 on physical node vmc-0-1\n"
    assert machine(vm_site, "compute-0-1-0") == (
        *("Compute", 1, 0, 1, "os", "install", "install"),
        *("vmc-0-1", 2048, 0, "hvm", ""),
    )
    assert interfaces(vm_site, "compute-0-1-0") == [
        ("eth0", FIRST_MAC, "10.1.255.254", "compute-0-1-0", "private", None)
    ]
    path = "file:/state/partition1/kvm/disks/compute-0-1-0.vda,vda,virtio"
    assert disks(vm_site, "compute-0-1-0") == [(path, 36)]
    assert "compute-0-1-0: os" in vm_site.done("list host attr compute-0-1-0")
    assert "VM compute-0-1-1 on" in vm_site.done("add host vm vmc-0-1 Compute")
    assert machine(vm_site, "compute-0-1-1")[9] == 1
    assert interfaces(vm_site, "compute-0-1-1")[0][1:3] == ("76:77:6e:80:00:01", "10.1.255.253")


def test_every_parameter_of_add_host_vm(vm_site: Site) -> None:
    vm_site.done(
        "add host vm vmc-0-0 membership=COMPUTE name=web subnet=Public mem=4096 cpus=4 slice=7 disksize=100"
        " mac=00:16:3E:00:00:0A num-macs=4 vlan=0,none,7 virt-type=HVM sync-config=no",
        "ip='203.0.113.9'",
        "disk=qcow2:/a b/it's <it>:x,sda,scsi",
    )
    assert machine(vm_site, "web") == (
        *("Compute", 4, 0, 0, "os", "install", "install"),
        *("vmc-0-0", 4096, 7, "hvm", ""),
    )
    assert interfaces(vm_site, "web") == [
        ("eth0", "00:16:3E:00:00:0A", "203.0.113.9", "web", "public", 0),
        ("eth1", FIRST_MAC, None, "web", None, None),
        ("eth2", "76:77:6e:80:00:01", None, "web", None, 7),
        ("eth3", "76:77:6e:80:00:02", None, "web", None, None),
    ]
    assert disks(vm_site, "web") == [("qcow2:/a b/it's <it>:x,sda,scsi", 100)]


def test_one_machine_on_each_of_several_hosts(vm_site: Site) -> None:
    assert vm_site.done("add host vm vm-container head compute cpus=2") == (
        "added VM compute-0-0-0 on physical node head\n"
        "added VM compute-0-0-1 on physical node vmc-0-0\n"
        "added VM compute-0-1-0 on physical node vmc-0-1\n"
    )
    assert [interfaces(vm_site, name)[0][2] for name in ("compute-0-0-0", "compute-0-0-1")] == [
        "10.1.255.254",
        "10.1.255.253",
    ]


def test_no_machine_gets_the_address_of_a_router(vm_site: Site) -> None:
    """Its filter would permit the address to a tenant, who could take the traffic of the site."""
    vm_site.done("set attr Kickstart_PrivateGateway 10.1.255.254")
    vm_site.done("add host vm vmc-0-1 compute")
    vm_site.done("add host vm vmc-0-1 compute ip=10.1.255.254")
    assert [interfaces(vm_site, f"compute-0-1-{number}")[0][2] for number in (0, 1)] == [
        "10.1.255.253",
        "10.1.255.254",
    ]


def test_a_hosted_vm_has_neither_network_nor_address(vm_site: Site) -> None:
    vm_site.done("add host vm vmc-0-0 'hosted vm' vlan=4")
    assert machine(vm_site, "hosted-vm-0-0-0")[0] == "Hosted VM"
    assert interfaces(vm_site, "hosted-vm-0-0-0") == [("eth0", FIRST_MAC, None, "hosted-vm-0-0-0", None, 4)]


def test_the_site_may_name_the_folder_of_images(vm_site: Site) -> None:
    vm_site.change("DELETE FROM partitions")
    message = "could not find a partition on host (vmc-0-0) to hold the VM's disk image"
    assert message in vm_site.refused("add host vm vmc-0-0 compute")
    vm_site.done("set attr vm_image_directory /images/")
    vm_site.done("set host attr vmc-0-1 vm_image_directory '/its own'")
    vm_site.done("add host vm vmc-0-0 vmc-0-1 compute")
    assert disks(vm_site, "compute-0-0-0") == [("file:/images/compute-0-0-0.vda,vda,virtio", 36)]
    assert disks(vm_site, "compute-0-1-0") == [("file:/its own/compute-0-1-0.vda,vda,virtio", 36)]
    vm_site.set_as_before("vm_image_directory", "images")
    assert "vm_image_directory of vmc-0-0 is not usable" in vm_site.refused("add host vm vmc-0-0 compute")
    vm_site.done("add host vm vmc-0-0 compute disk=phy:/dev/vg/a,vda,virtio")


def test_freed_slices_are_used_again_and_freed_macs_are_not(vm_site: Site) -> None:
    for _ in range(3):
        vm_site.done("add host vm vmc-0-0 compute")
    vm_site.rocks("remove host compute-0-0-1 compute-0-0-2")
    vm_site.done("add host vm vmc-0-0 compute")
    assert machine(vm_site, "compute-0-0-1")[9] == 1
    assert interfaces(vm_site, "compute-0-0-1")[0][1] == "76:77:6e:80:00:01"
    vm_site.rocks("remove host compute-0-0-0")
    vm_site.done("add host vm vmc-0-0 compute")
    assert interfaces(vm_site, "compute-0-0-0")[0][1] == "76:77:6e:80:00:02"


def test_the_host_of_a_new_machine_carries_the_vlans_of_its_cluster(vm_site: Site) -> None:
    """Else the machine starts without its network, as if the site had no such VLAN."""
    vm_site.done("add cluster 203.0.113.9 0 fe-name=vc1 vlan=99 fe-container=vmc-0-0")
    vm_site.done('add host vm vmc-0-1 "Hosted VM" vlan=99,98 num-macs=2 name=vm-vc1-0')
    ((carrier, network),) = vm_site.database.rows(
        "SELECT i.Device, s.name FROM networks i JOIN nodes n ON n.ID = i.Node JOIN subnets s ON s.ID = i.Subnet"
        " WHERE n.Name = 'vmc-0-1' AND i.VlanID IS NOT NULL"
    )
    assert (carrier, network) == ("vlan99", "private"), "no host carries VLAN 98"


def test_a_frontend_does_not_get_the_vlan_of_another_cluster(vm_site: Site) -> None:
    """Whether that cluster is one of `add cluster`, or a frontend that was added as this one."""
    vm_site.done("add cluster 203.0.113.9 0 fe-name=vc1 vlan=99 fe-container=vmc-0-0")
    vm_site.done("add host vm vmc-0-0 membership=Frontend name=vc2 vlan=98,0 num-macs=2")
    before = vm_site.contents()
    for owner, vlan in (("vc1", "99"), ("vc2", "98"), ("vc2", "97,98 num-macs=2")):
        assert (
            f"belongs to the virtual cluster {owner}, and vc3 is the frontend of another cluster"
            in vm_site.refused(f"add host vm vmc-0-1 membership=Frontend name=vc3 vlan={vlan}")
        )
        assert vm_site.contents() == before
    assert "is in use" in vm_site.refused("add cluster 203.0.113.10 0 vlan=98")
    vm_site.done("add host vm vmc-0-1 membership=Frontend name=vc3 vlan=97")


ADD_HOST_VM_REFUSES = [
    ((), "must supply a membership"),
    (("compute",), "must supply at least one host"),
    (("vmc-0-0",), '"vmc-0-0" was taken for the membership'),
    (("nothing%", "compute"), '"nothing%" matches no host'),
    (("vmc-0-0", "membership=cook"), "Membership cook is not valid. rocks list membership"),
    (("vmc-0-0", "membership=Comptue"), "Membership Comptue is not valid. did you mean Compute? rocks list"),
    (("old", "compute"), "host old is a virtual machine and cannot run others"),
    (
        ("vmc-0-0", "vmc-0-1", "compute", "name=x"),
        "can't supply the 'name' parameter with more than one host",
    ),
    (("vmc-0-0", "vmc-0-1", "compute", "ip=10.1.0.9"), "can't supply the 'ip' parameter with more"),
    (("vmc-0-0", "vmc-0-1", "compute", "slice=1"), "can't supply the 'slice' parameter with more"),
    (("vmc-0-0", "vmc-0-1", "compute", f"mac={FIRST_MAC}"), "can't supply the 'mac' parameter with more"),
    (("vmc-0-0", "compute", "name=OLD"), "nodename (OLD) is already in the database as old; "),
    (("vmc-0-0", "compute", "name=front"), "nodename (front) is already in the database"),
    (("vmc-0-0", "compute", "name=OTHER"), "nodename (OTHER) is already in the database as other; "),
    (("vmc-0-0", "compute", "name=login"), "can not be equal to an appliance name"),
    (("vmc-0-0", "compute", "slice=0"), "slice 0 of vmc-0-0 is in use"),
    (("vmc-0-1", "compute", "slice=5"), "nodename (compute-0-1-5) is already in the database"),
    (("vmc-0-0", "compute", "slice=-1"), 'slice "-1" must be an integer from 0'),
    (("vmc-0-0", "compute", "ip=10.2.0.1"), 'The ip address 10.2.0.1 is not in the network "private"'),
    (("vmc-0-0", "compute", "ip=10.1.0.1"), "The ip address 10.1.0.1 is in use"),
    (("vmc-0-0", "hosted vm", "ip=10.1.0.9"), "has no address of the site; give no ip="),
    (("vmc-0-0", "hosted vm", "subnet=private"), "has no address of the site; give no subnet="),
    (("vmc-0-0", "compute", "subnet=absent"), 'unknown network "absent"'),
    (("vmc-0-0", "compute", "subnet=privat"), 'unknown network "privat"; did you mean private? rocks list'),
    (("vmc-0-0", "compute", "mac=52:54:00:00:00:03"), "The mac address 52:54:00:00:00:03 is in use"),
    (("vmc-0-0", "compute", "num-macs=two"), "the num_macs parameter must be an integer"),
    (("vmc-0-0", "compute", "num-macs=0"), 'num-macs "0" must be an integer from 1'),
    (("vmc-0-0", "compute", "num-macs=27"), "must be an integer from 1 to 26"),
    (("vmc-0-0", "compute", "disk=file:/a,vda"), "Invalid disk specification"),
    (("vmc-0-0", "compute", "vlan=x"), 'vlan "x" must be an integer from 0 to 4094, or none'),
    (("vmc-0-0", "compute", "vlan=1,2"), 'vlan "1,2" names 2 VLANs for 1 interfaces; add num-macs=2'),
    (("vmc-0-0", "compute", "virt-type=para"), "KVM supports only hvm virtualization"),
]


def test_add_host_vm_refuses(vm_site: Site) -> None:
    vm_site.done(*ADD, "vmc-0-0", "compute", "name=old")
    vm_site.done("add host alias head front")
    vm_site.done("add host interface vmc-0-1 eth7 name=other")
    vm_site.done("add host compute-0-1-5 membership=compute rack=0 rank=9")
    for arguments, message in ADD_HOST_VM_REFUSES:
        assert message in vm_site.refused(*ADD, *arguments), arguments


@pytest.mark.slow
def test_for_a_physical_host_only_hosts_that_run_machines_are_proposed(vm_site: Site) -> None:
    vm_site.done(*ADD, "vmc-0-0", "Hosted VM", "name=guest")
    vm_site.done("add host vmc-1-7 membership=compute rack=1 rank=7")
    for typed, meant in (
        ("ghost", "see rocks list host"),
        ("vmc-0-7", "did you mean vmc-0-1 or vmc-0-0? rocks list host shows all"),
    ):
        for command in (
            f"set host vm guest physnode={typed}",
            f"add host vm {typed} compute",
            f"move host vm guest {typed}",
            f"drain host vmc-0-0 to={typed} live=yes",
            f"add cluster 203.0.113.9 1 fe-container={typed}",
            f"add cluster 203.0.113.9 1 container-hosts={typed}",
        ):
            assert vm_site.refused(command).endswith(f"other selector; {meant}"), command
    assert "; did you mean vm-container? " in vm_site.refused("add host vm vm-contaner compute")
    assert "vm-container?" not in vm_site.refused("set host vm guest physnode=vm-contaner")
    assert "did you mean hosted-vm? " in vm_site.refused("start host vm hostedvms")


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("vm_mac_base_addr", None, "no VM MAC base address is defined"),
        ("vm_mac_base_addr_mask", None, "no VM MAC base address mask is defined"),
        ("vm_mac_base_addr_mask", "ff:ff:ff:ff:ff:ff", "has only 1 of 2 addresses left"),
    ],
)
def test_the_pool_of_macs_may_have_faults(
    vm_site: Site, attribute: str, value: str | None, message: str
) -> None:
    if value is None:
        vm_site.done("remove attr", attribute)
    else:
        vm_site.set_as_before(attribute, value)
    assert message in vm_site.refused(*ADD, "vmc-0-0", "vmc-0-1", "compute")
    assert message.partition(" of ")[0] in vm_site.refused("add cluster 203.0.113.9 1")
    if value is None or "left" not in message:
        assert message in vm_site.refused("report vm nextmac")


def test_the_pool_of_addresses_may_be_empty(vm_site: Site) -> None:
    vm_site.done("add network tiny 10.9.0.0 255.255.255.252")
    vm_site.done(*ADD, "vmc-0-0", "vmc-0-1", "compute", "subnet=tiny")
    assert "has only 0 of 1 free addresses left" in vm_site.refused(*ADD, "head", "compute", "subnet=tiny")


@pytest.mark.parametrize(
    "command", [(*ADD, "vmc-0-0", "vmc-0-1", "compute"), ("add", "cluster", "203.0.113.9", "2")]
)
def test_a_failure_at_any_statement_leaves_nothing(vm_site: Site, command: tuple[str, ...]) -> None:
    vm_site.done(*ADD, "head", "compute")
    before = vm_site.contents()
    really_run = Database._run
    count = 0

    def run(database: Database, sql: str, values: Sequence[Any] = ()) -> Any:
        nonlocal count
        count += 1
        result = really_run(database, sql, values)
        if count == failing:
            raise ToolError("the cluster database refused a statement: by way of trial")
        return result

    for failing in range(1, 30):
        count = 0
        with vm_site.patch.context() as patch:
            patch.setattr(Database, "_run", run)
            ended = vm_site.rocks(*command)
        if ended.status == 0:
            break
        assert (ended.status, ended.out) == (1, "")
        assert vm_site.contents() == before, f"after statement {failing}"
    assert ended.status == 0
    assert failing > 10
