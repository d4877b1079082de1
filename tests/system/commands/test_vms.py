"""Virtual machines: added, changed, listed, dumped, removed; no physical host answers (specification §5)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rocks.actions import vm_locks
from rocks.commands._shared import vm_removal
from rocks.database.connection import Database
from rocks.errors import RocksError, ToolError
from tests.command_trees import tree

from .conftest import Site
from .test_attributes import read_by_shell

__all__ = ["tree"]

FIRST_MAC = "76:77:6e:80:00:00"


def interfaces(site: Site, host: str) -> list[tuple[Any, ...]]:
    """(device, MAC, IP, name, network, VLAN) of a host's interfaces."""
    site.database.rollback()
    return site.database.rows(
        "SELECT i.Device, i.MAC, i.IP, i.Name, s.name, i.VlanID FROM networks i JOIN nodes n ON n.ID = i.Node"
        " LEFT JOIN subnets s ON s.ID = i.Subnet WHERE n.Name = %s ORDER BY i.ID",
        [host],
    )


def machine(site: Site, name: str) -> tuple[Any, ...]:
    """(membership, CPUs, rack, rank, run action, install action, boot, container, memory, slice, kind, cdrom)."""
    site.database.rollback()
    (row,) = site.database.rows(
        "SELECT m.Name, n.CPUs, n.Rack, n.Rank, n.RunAction, n.InstallAction, b.Action, p.Name, v.Mem, v.Slice,"
        " v.Virt_Type, v.cdrom_path FROM vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN memberships m"
        " ON m.ID = n.Membership LEFT JOIN nodes p ON p.ID = v.PhysNode LEFT JOIN boot b ON b.Node = n.ID"
        " WHERE n.Name = %s",
        [name],
    )
    return row


def disks(site: Site, name: str) -> list[tuple[str, int]]:
    """(specification, size in GB) of a machine's disks, as listed."""
    (found,) = json.loads(site.done("list", "host", "vm", name, "showdisks=yes", "json=yes"))
    return [(row["disk"], row["disksize"]) for row in found["vm"] if row["disk"]]


# add host vm


def test_the_specifications_example_of_add_host_vm(vm_site: Site) -> None:
    printed = vm_site.done("add", "host", "vm", "vmc-0-1", "Compute")
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
    assert "compute-0-1-0: os" in vm_site.done("list", "host", "attr", "compute-0-1-0")
    assert "VM compute-0-1-1 on" in vm_site.done("add", "host", "vm", "vmc-0-1", "Compute")
    assert machine(vm_site, "compute-0-1-1")[9] == 1
    assert interfaces(vm_site, "compute-0-1-1")[0][1:3] == ("76:77:6e:80:00:01", "10.1.255.253")


def test_every_parameter_of_add_host_vm(vm_site: Site) -> None:
    vm_site.done(
        *(
            "add",
            "host",
            "vm",
            "vmc-0-0",
            "membership=COMPUTE",
            "name=web",
            "ip='203.0.113.9'",
            "subnet=Public",
        ),
        *(
            "mem=4096",
            "cpus=4",
            "slice=7",
            "mac=00:16:3E:00:00:0A",
            "num-macs=4",
            "vlan=0,none,7",
            "disksize=100",
        ),
        *("disk=qcow2:/a b/it's <it>:x,sda,scsi", "virt-type=HVM", "sync-config=no"),
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
    assert vm_site.done("add", "host", "vm", "vm-container", "head", "compute", "cpus=2") == (
        "added VM compute-0-0-0 on physical node head\n"
        "added VM compute-0-0-1 on physical node vmc-0-0\n"
        "added VM compute-0-1-0 on physical node vmc-0-1\n"
    )
    assert [interfaces(vm_site, name)[0][2] for name in ("compute-0-0-0", "compute-0-0-1")] == [
        "10.1.255.254",
        "10.1.255.253",
    ]


def test_a_hosted_vm_has_neither_network_nor_address(vm_site: Site) -> None:
    vm_site.done("add", "host", "vm", "vmc-0-0", "hosted vm", "vlan=4")
    assert machine(vm_site, "hosted-vm-0-0-0")[0] == "Hosted VM"
    assert interfaces(vm_site, "hosted-vm-0-0-0") == [("eth0", FIRST_MAC, None, "hosted-vm-0-0-0", None, 4)]


def test_the_site_may_name_the_folder_of_images(vm_site: Site) -> None:
    vm_site.change("DELETE FROM partitions")
    message = "could not find a partition on host (vmc-0-0) to hold the VM's disk image"
    assert message in vm_site.refused("add", "host", "vm", "vmc-0-0", "compute")
    vm_site.done("set", "attr", "vm_image_directory", "/images/")
    vm_site.done("set", "host", "attr", "vmc-0-1", "vm_image_directory", "/its own")
    vm_site.done("add", "host", "vm", "vmc-0-0", "vmc-0-1", "compute")
    assert disks(vm_site, "compute-0-0-0") == [("file:/images/compute-0-0-0.vda,vda,virtio", 36)]
    assert disks(vm_site, "compute-0-1-0") == [("file:/its own/compute-0-1-0.vda,vda,virtio", 36)]
    vm_site.set_as_before("vm_image_directory", "images")
    assert "vm_image_directory of vmc-0-0 is not usable" in vm_site.refused(
        "add", "host", "vm", "vmc-0-0", "compute"
    )
    vm_site.done("add", "host", "vm", "vmc-0-0", "compute", "disk=phy:/dev/vg/a,vda,virtio")


def test_freed_slices_are_used_again_and_freed_macs_are_not(vm_site: Site) -> None:
    for _ in range(3):
        vm_site.done("add", "host", "vm", "vmc-0-0", "compute")
    vm_site.rocks("remove", "host", "compute-0-0-1", "compute-0-0-2")
    vm_site.done("add", "host", "vm", "vmc-0-0", "compute")
    assert machine(vm_site, "compute-0-0-1")[9] == 1
    assert interfaces(vm_site, "compute-0-0-1")[0][1] == "76:77:6e:80:00:01"
    vm_site.rocks("remove", "host", "compute-0-0-0")
    vm_site.done("add", "host", "vm", "vmc-0-0", "compute")
    assert interfaces(vm_site, "compute-0-0-0")[0][1] == "76:77:6e:80:00:02"


ADD = ("add", "host", "vm")


ADD_HOST_VM_REFUSES = [
    ((), "must supply a membership"),
    (("compute",), "must supply at least one host"),
    (("nothing%", "compute"), '"nothing%" matches no host'),
    (("vmc-0-0", "membership=cook"), "Membership cook is not valid. rocks list membership"),
    (("vmc-0-0", "nobody", "compute"), 'cannot resolve host "nobody"'),
    (("old", "compute"), "host old is a virtual machine and cannot run others"),
    (
        ("vmc-0-0", "vmc-0-1", "compute", "name=x"),
        "can't supply the 'name' parameter with more than one host",
    ),
    (("vmc-0-0", "vmc-0-1", "compute", "ip=10.1.0.9"), "can't supply the 'ip' parameter with more"),
    (("vmc-0-0", "vmc-0-1", "compute", "slice=1"), "can't supply the 'slice' parameter with more"),
    (("vmc-0-0", "vmc-0-1", "compute", f"mac={FIRST_MAC}"), "can't supply the 'mac' parameter with more"),
    (("vmc-0-0", "compute", "name=head"), "nodename (head) is already in the databaase"),
    (("vmc-0-0", "compute", "name=OLD"), "nodename (OLD) is already in the databaase"),
    (("vmc-0-0", "compute", "name=front"), "nodename (front) is already in the databaase"),
    (("vmc-0-0", "compute", "name=login"), "can not be equal to an appliance name"),
    (("vmc-0-0", "compute", "name=a.b"), "can not contains any dot"),
    (("vmc-0-0", "compute", "slice=0"), "slice 0 of vmc-0-0 is in use"),
    (("vmc-0-1", "compute", "slice=5"), "nodename (compute-0-1-5) is already in the databaase"),
    (("vmc-0-0", "compute", "slice=-1"), 'slice "-1" must be an integer from 0'),
    (("vmc-0-0", "compute", "slice=one"), 'slice "one" must be an integer'),
    (("vmc-0-0", "compute", "ip=10.1.0.256"), "The ip address 10.1.0.256 is invalid"),
    (("vmc-0-0", "compute", "ip=10.2.0.1"), 'The ip address 10.2.0.1 is not in the network "private"'),
    (("vmc-0-0", "compute", "ip=10.1.0.1"), "The ip address 10.1.0.1 is in use"),
    (("vmc-0-0", "compute", "ip=10.1.255.255"), "is the broadcast address"),
    (("vmc-0-0", "hosted vm", "ip=10.1.0.9"), "has no address of the site; give no ip="),
    (("vmc-0-0", "hosted vm", "subnet=private"), "has no address of the site; give no subnet="),
    (("vmc-0-0", "compute", "subnet=absent"), 'unknown network "absent"'),
    (("vmc-0-0", "compute", "mac=zz"), "The mac address zz is invalid"),
    (("vmc-0-0", "compute", "mac=52:54:00:00:00:03"), "The mac address 52:54:00:00:00:03 is in use"),
    (("vmc-0-0", "compute", "mac=00:01:02:03:04:05:06:07"), "has six octets"),
    (("vmc-0-0", "compute", "num-macs=two"), "the num_macs parameter must be an integer"),
    (("vmc-0-0", "compute", "num-macs=-1"), "the num_macs parameter must be an integer"),
    (("vmc-0-0", "compute", "num-macs=0"), 'num-macs "0" must be an integer from 1'),
    (("vmc-0-0", "compute", "num-macs=27"), "must be an integer from 1 to 26"),
    (("vmc-0-0", "compute", "mem=1"), 'mem "1" must be an integer from 32'),
    (("vmc-0-0", "compute", "mem=-1"), 'mem "-1" must be an integer'),
    (("vmc-0-0", "compute", "mem=2GB"), 'mem "2GB" must be an integer'),
    (("vmc-0-0", "compute", "mem="), 'mem "" must be an integer'),
    (("vmc-0-0", "compute", "mem=99999999999999999999"), "must be an integer"),
    (("vmc-0-0", "compute", "cpus=0"), 'cpus "0" must be an integer from 1'),
    (("vmc-0-0", "compute", "cpus=1.5"), 'cpus "1.5" must be an integer'),
    (("vmc-0-0", "compute", "disksize=0"), 'disksize "0" must be an integer from 1'),
    (("vmc-0-0", "compute", "disksize=x"), 'disksize "x" must be an integer'),
    (("vmc-0-0", "compute", "disk=file:/a,vda"), "Invalid disk specification"),
    (("vmc-0-0", "compute", "disk=file:/a,vda,usb"), "the bus must be one of"),
    (("vmc-0-0", "compute", "vlan=x"), 'vlan "x" must be an integer from 0 to 4094, or none'),
    (("vmc-0-0", "compute", "vlan=4095"), 'vlan "4095" must be an integer'),
    (("vmc-0-0", "compute", "vlan=-1"), 'vlan "-1" must be an integer'),
    (("vmc-0-0", "compute", "vlan=1,2"), 'vlan "1,2" names 2 VLANs for 1 interfaces; add num-macs=2'),
    (("vmc-0-0", "compute", "virt-type=para"), "KVM supports only hvm virtualization"),
    (("vmc-0-0", "vmc-0-1", "compute", "virt-type=lxc"), "KVM supports only hvm virtualization"),
    (("vmc-0-0", "compute", "sync-config=perhaps"), '"sync-config" must be yes or no'),
]


def test_add_host_vm_refuses(vm_site: Site) -> None:
    vm_site.done(*ADD, "vmc-0-0", "compute", "name=old")
    vm_site.done("add", "host", "alias", "head", "front")
    vm_site.done("add", "host", "compute-0-1-5", "membership=compute", "rack=0", "rank=9")
    for arguments, message in ADD_HOST_VM_REFUSES:
        assert message in vm_site.refused(*ADD, *arguments), arguments


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("vm_mac_base_addr", None, "no VM MAC base address is defined"),
        ("vm_mac_base_addr_mask", None, "no VM MAC base address mask is defined"),
        ("vm_mac_base_addr", "here", 'vm_mac_base_addr "here" is not a MAC address'),
        ("vm_mac_base_addr_mask", "ff:00:ff:00:00:00", "is not a mask"),
        ("vm_mac_base_addr_mask", "ff:ff:ff:ff:ff:ff", "has only 1 of 2 addresses left"),
    ],
)
def test_the_pool_of_macs_may_have_faults(
    vm_site: Site, attribute: str, value: str | None, message: str
) -> None:
    if value is None:
        vm_site.done("remove", "attr", attribute)
    else:
        vm_site.set_as_before(attribute, value)
    assert message in vm_site.refused(*ADD, "vmc-0-0", "vmc-0-1", "compute")
    if value is None or "left" not in message:
        assert message in vm_site.refused("report", "vm", "nextmac")


def test_the_pool_of_addresses_may_be_empty(vm_site: Site) -> None:
    vm_site.done("add", "network", "tiny", "10.9.0.0", "255.255.255.252")
    vm_site.done(*ADD, "vmc-0-0", "vmc-0-1", "compute", "subnet=tiny")
    assert "has only 0 of 1 free addresses left" in vm_site.refused(*ADD, "head", "compute", "subnet=tiny")


@pytest.mark.parametrize(
    "command", [(*ADD, "vmc-0-0", "vmc-0-1", "compute"), ("add", "cluster", "203.0.113.9", "2")]
)
def test_a_failure_at_any_statement_leaves_nothing(
    vm_site: Site, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
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
        with monkeypatch.context() as patch:
            patch.setattr(Database, "_run", run)
            ended = vm_site.rocks(*command)
        if ended.status == 0:
            break
        assert (ended.status, ended.out) == (1, "")
        assert vm_site.contents() == before, f"after statement {failing}"
    assert ended.status == 0
    assert failing > 10


def test_as_many_statements_for_many_machines_as_for_one(vm_site: Site) -> None:
    rows = [f"('node-{n}', 2, 9, {n})" for n in range(64)]
    vm_site.change(f"INSERT INTO nodes (Name, Membership, Rack, Rank) VALUES {', '.join(rows)}")
    vm_site.done("set", "attr", "vm_image_directory", "/images")
    vm_site.done("set", "appliance", "attr", "compute", "kvm", "true")
    hosts = [f"node-{n}" for n in range(64)]
    machines = [f"compute-9-{n}-0" for n in range(64)]
    for arguments in (
        (*ADD, "HOSTS", "compute"),
        ("list", "host", "vm", "HOSTS"),
        ("list", "host", "vm", "HOSTS", "showdisks=yes"),
        ("report", "host", "vm", "config", "adapted=no", "HOSTS"),
        ("report", "host", "vm", "virt_type", "HOSTS"),
        ("dump", "host", "vm", "HOSTS"),
        ("remove", "host", "vm", "HOSTS"),
    ):
        names = hosts if arguments[0] == "add" else machines

        def line(hosts: list[str], arguments: tuple[str, ...] = arguments) -> list[str]:
            return [part for word in arguments for part in (hosts if word == "HOSTS" else [word])]

        one, many = vm_site.rocks(*line(names[:1])), vm_site.rocks(*line(names[1:]))
        assert (one.status, many.status) == (0, 0), arguments
        assert many.statements == one.statements, arguments
        assert one.statements <= 32, arguments


# list host vm


@pytest.fixture
def samples(vm_site: Site) -> Site:
    """The machines of the specification's sample outputs (§5.10)."""
    vm_site.done(*ADD, "vmc-0-0", "compute", "name=web-a", "num-macs=2")
    vm_site.done(
        *(
            "add",
            "cluster",
            "203.0.113.9",
            "1",
            "fe-name=fe-a",
            "cluster-naming=yes",
            "container-hosts=vmc-0-0",
        )
    )
    vm_site.change("UPDATE vm_nodes SET Slice = 0")
    return vm_site


def test_the_sample_of_one_machine(samples: Site) -> None:
    assert samples.done("list", "host", "vm", "web-a") == (
        "SLICE MEM  CPUS MAC               HOST    VIRT-TYPE\n"
        "0     2048 1    76:77:6e:80:00:00 vmc-0-0 hvm      \n"
        "----- ---- ---- 76:77:6e:80:00:01 ------- ---------\n"
    )


def test_the_sample_of_two_machines_with_disks(samples: Site) -> None:
    assert samples.done("list", "host", "vm", "fe-a", "vm-fe-a-0", "showdisks=1") == (
        "VM-HOST    SLICE MEM  CPUS MAC               HOST    VIRT-TYPE"
        " DISK                                                      DISKSIZE CDROM\n"
        "fe-a:      0     2048 1    76:77:6e:80:00:02 head    hvm      "
        " file:/state/partition1/kvm/disks/fe-a.vda,vda,virtio      36       -----\n"
        "fe-a:      ----- ---- ---- 76:77:6e:80:00:03 ------- ---------"
        " --------------------------------------------------------- -------- -----\n"
        "vm-fe-a-0: 0     1024 1    76:77:6e:80:00:04 vmc-0-0 hvm      "
        " file:/state/partition1/kvm/disks/vm-fe-a-0.vda,vda,virtio 36       -----\n"
    )


def test_the_sample_of_json(samples: Site) -> None:
    (found,) = json.loads(samples.done("list", "host", "vm", "web-a", "json=yes"))
    assert list(found) == ["vm-host", "vm"]
    assert found["vm-host"] == "web-a"
    assert found["vm"][0] == {
        "slice": 0,
        "mem": 2048,
        "cpus": 1,
        "mac": "76:77:6e:80:00:00",
        "host": "vmc-0-0",
        "virt-type": "hvm",
    }
    assert found["vm"][1]["mac"] == "76:77:6e:80:00:01"


def test_all_machines_and_only_machines_are_listed(samples: Site) -> None:
    listed = [found["vm-host"] for found in json.loads(samples.done("list", "host", "vm", "json=yes"))]
    assert listed == ["web-a", "fe-a", "vm-fe-a-0"]
    assert samples.done("list", "host", "vm", "head", "vmc-0-0") == ""
    assert samples.done("list", "host", "vm", "head", "json=yes") == "[]\n"
    assert samples.done("list", "host", "vm", "nothing%") == ""
    assert samples.done("list", "host", "vm", "nothing%", "showdisks=yes", "status=yes") == ""
    assert "web-a" not in samples.done("list", "host", "vm", "frontend")
    assert 'cannot resolve host "nobody"' in samples.refused("list", "host", "vm", "nobody")


def test_further_disks_stand_beside_further_interfaces(samples: Site) -> None:
    samples.done(
        "set",
        "host",
        "vm",
        "web-a",
        "disk=file:/a,vda,virtio phy:/dev/b,vdb,virtio file:/c,hda,ide",
        "disksize=1 2 3",
    )
    samples.done("set", "host", "vm", "cdrom", "web-a", "/x y.iso")
    assert samples.done(
        "list", "host", "vm", "web-a", "showdisks=y", "output-col=mac,disk,disksize,cdrom"
    ) == (
        "MAC               DISK                  DISKSIZE CDROM   \n"
        "76:77:6e:80:00:00 file:/a,vda,virtio    1        /x y.iso\n"
        "76:77:6e:80:00:01 phy:/dev/b,vdb,virtio 2        --------\n"
        "----------------- file:/c,hda,ide       3        --------\n"
    )


def test_interfaces_come_in_the_databases_order(samples: Site) -> None:
    samples.done(*ADD, "vmc-0-0", "compute", "name=many", "num-macs=12")
    (found,) = json.loads(samples.done("list", "host", "vm", "many", "json=yes"))
    macs = [row["mac"] for row in found["vm"]]
    assert macs == sorted(macs) and len(macs) == 12


def test_absent_values_of_a_machine(samples: Site) -> None:
    samples.change("UPDATE vm_nodes SET PhysNode = NULL, Virt_Type = NULL")
    samples.change("DELETE FROM networks WHERE MAC LIKE '76:%'")
    samples.change("DELETE FROM vm_disks")
    assert samples.done("list", "host", "vm", "web-a", "showdisks=yes", "status=yes") == (
        "SLICE MEM  CPUS MAC HOST VIRT-TYPE STATUS        DISK DISKSIZE CDROM\n"
        "0     2048 1    --- None para      nostate-error ---- -------- -----\n"
    )


def test_hosts_that_do_not_answer_are_no_long_wait(samples: Site) -> None:
    began = time.monotonic()
    listed = samples.rocks("list", "host", "vm", "status=yes", "output-col=host,status")
    assert (listed.status, listed.out) == (
        0,
        "HOST    STATUS       \n"
        "vmc-0-0 nostate-error\n"
        "------- -------------\n"
        "head    nostate-error\n"
        "------- -------------\n"
        "vmc-0-0 nostate-error\n",
    )
    head, other = listed.err.splitlines()
    assert head.startswith(
        "Warning: the states of machines on head are unknown: host head, this machine, has no "
    )
    assert other.startswith("Warning: the states of machines on vmc-0-0 are unknown: ")
    assert time.monotonic() - began < 60


def test_a_thousand_machines_in_one_list(vm_site: Site) -> None:
    vm_site.done("add", "cluster", "203.0.113.9", "1000", "fe-name=big", "cluster-naming=yes")
    names = [f"vm-big-{number}" for number in range(1000)]
    lines = vm_site.done("list", "host", "vm", *names, "showdisks=yes").splitlines()
    assert len(lines) == 1001
    assert len(json.loads(vm_site.done("list", "host", "vm", "json=yes"))) == 1001
    assert len(vm_site.done("list", "cluster", "big").splitlines()) == 1002
    assert vm_site.done("dump", "host", "vm", *names).count("set host vm") == 1000
    assert vm_site.done("report", "host", "vm", "config", "adapted=no", *names).count("</domain>") == 1000
    assert len(vm_site.done("report", "host", "vm", "virt_type", *names).splitlines()) == 1000


# set host vm


def test_set_host_vm_changes_only_the_given_values(samples: Site) -> None:
    before = machine(samples, "web-a")
    samples.done("set", "host", "vm", "web-a", "mem=4096")
    samples.done("set", "host", "vm", "web-a", "slice=9", "virt-type=PARA")
    assert machine(samples, "web-a") == (*before[:8], 4096, 9, "para", "")
    samples.done("set", "host", "vm", "web-a", "virt-type=None")
    assert machine(samples, "web-a")[10] == "para"
    assert len(disks(samples, "web-a")) == 1


def test_a_maximum_is_at_least_what_each_machine_has(samples: Site) -> None:
    samples.done("set", "host", "vm", "web-a", "cpus=4", "mem=2048", "maxcpus=4", "maxmem=2048")
    samples.done("set", "host", "vm", "fe-a", "mem=4096")
    message = samples.refused("set", "host", "vm", "web-a", "fe-a", "maxmem=3000")
    assert message.startswith("maxmem=3000 is no maximum for fe-a: mem is 4096; give maxmem=4096 or more")
    assert "kvm_max_memory 2048" in " ".join(samples.done("list", "host", "attr", "web-a").split())
    samples.refused("set", "host", "vm", "web-a", "maxcpus=3")
    samples.done("set", "host", "vm", "web-a", "cpus=2", "maxcpus=3")
    samples.done("set", "host", "vm", "web-a", "mem=8192")  # more than the maximum: from its next start


def test_more_cpus_than_the_host_has_by_its_record_are_a_warning(vm_site: Site) -> None:
    """A record of one CPU is what hosts have unless somebody gives their number."""
    vm_site.done("set", "host", "cpus", "vmc-0-0", "1")
    vm_site.done("add", "host", "vm", "vmc-0-0", "compute", "name=one", "cpus=8")
    vm_site.done("set", "host", "cpus", "vmc-0-0", "4")
    warning = (
        "Warning: {} has {} CPUs, and its host vmc-0-0 has 4 by its record (rocks list host vmc-0-0), so it does not "
        "start there; choose another host, or rocks set host vm {} cpus=4\n"
    )
    added = vm_site.rocks("add", "host", "vm", "vmc-0-0", "compute", "name=two", "cpus=5")
    assert (added.status, added.err) == (0, warning.format("two", 5, "two"))
    changed = vm_site.rocks("set", "host", "vm", "one", "two", "cpus=6")
    assert (changed.status, changed.err) == (
        0,
        warning.format("one", 6, "one") + warning.format("two", 6, "two"),
    )
    assert vm_site.rocks("set", "host", "vm", "one", "two", "cpus=4").err == ""
    assert vm_site.rocks("set", "host", "vm", "one", "mem=512").err == ""


def test_sizes_go_by_index_and_zero_leaves_one(samples: Site) -> None:
    samples.done(
        "set", "host", "vm", "web-a", "disk=file:/a,vda,virtio file:/b,vda,virtio file:/c,vdb,virtio"
    )
    assert disks(samples, "web-a") == [
        ("file:/a,vda,virtio", 36),
        ("file:/b,vda,virtio", 36),
        ("file:/c,vdb,virtio", 36),
    ]
    samples.done("set", "host", "vm", "web-a", "disksize=10 0 30")
    assert [size for _, size in disks(samples, "web-a")] == [10, 36, 30]
    samples.done("set", "host", "vm", "web-a", "disksize=0 20")
    assert [size for _, size in disks(samples, "web-a")] == [10, 20, 30]
    samples.done("set", "host", "vm", "web-a", "disk=file:/d,vda,virtio file:/e,vdb,virtio", "disksize=5")
    assert disks(samples, "web-a") == [("file:/d,vda,virtio", 5), ("file:/e,vdb,virtio", 30)]


def test_disks_given_anew_keep_their_recorded_sizes(samples: Site) -> None:
    """By the path, else by the device of a disk that is replaced; a new one has the default size."""
    given = ("set", "host", "vm", "web-a")
    samples.done(*given, "disk=file:/a,vda,virtio file:/b,vdb,virtio", "disksize=4 7")
    samples.done(*given, "disk=file:/a,vda,virtio file:/b,vdb,virtio")
    assert [size for _, size in disks(samples, "web-a")] == [4, 7]
    samples.done(*given, "disk=file:/b,vda,virtio file:/a,vdb,virtio file:/c,vdc,virtio")
    assert [size for _, size in disks(samples, "web-a")] == [7, 4, 36]
    samples.done(*given, "disk=file:/d,vda,virtio file:/b,vdb,virtio", "disksize=0 9")
    assert [size for _, size in disks(samples, "web-a")] == [36, 9]
    samples.done(*given, "disk=qcow2:/e,vdb,virtio phy:/dev/b,vda,virtio", "disksize=0 0")
    assert [size for _, size in disks(samples, "web-a")] == [9, 36]


def test_a_new_container_carries_the_machines_vlans(samples: Site) -> None:
    samples.done("set", "host", "vm", "vm-fe-a-0", "physnode=vmc-0-1")
    assert machine(samples, "vm-fe-a-0")[7] == "vmc-0-1"
    assert interfaces(samples, "vmc-0-1")[-1] == ("vlan2", None, None, None, "private", 2)
    samples.done("set", "host", "vm", "vm-fe-a-0", "physnode=vmc-0-1")
    samples.done("set", "host", "vm", "web-a", "physnode=head")
    assert [row[0] for row in interfaces(samples, "head")] == ["eth0", "eth1", "vlan2"]


def test_a_host_becomes_a_virtual_machine(samples: Site) -> None:
    samples.done("add", "host", "compute-5-5")
    for parameter in ("mem=512", "mem=", "slice=1", "disk=file:/a,vda,virtio"):
        samples.refused("set", "host", "vm", "compute-5-5", parameter)
    assert samples.refused("set", "host", "vm", "compute-5-5", "mem=512") == (
        "host compute-5-5 is not a virtual machine; it becomes one only when physnode= names its physical host"
    )
    samples.done("set", "host", "vm", "compute-5-5", "virt-type=hvm")
    assert machine(samples, "compute-5-5")[7:] == (None, 1024, 0, "hvm", "")
    samples.done(
        "set", "host", "vm", "compute-5-5", "physnode=localhost", "disk=file:/a,vda,virtio", "mem=512"
    )
    assert machine(samples, "compute-5-5")[7:] == ("head", 512, 0, "hvm", "")


def test_a_machine_that_was_removed_finds_its_vlan_again(samples: Site) -> None:
    assert samples.rocks("remove", "host", "vm", "vm-fe-a-0").status == 0
    samples.done("set", "host", "vm", "vm-fe-a-0", "physnode=vmc-0-1")
    assert interfaces(samples, "vmc-0-1")[-1] == ("vlan2", None, None, None, "private", 2)


SET = ("set", "host", "vm")


SET_HOST_VM_REFUSES = [
    ((), "must supply only one host"),
    (("web-a", "fe-a", "slice=7"), "must supply only one host"),
    (("%a", "disk=file:/a,vda,virtio"), "must supply only one host"),
    (("web-a", "cpus=0"), 'cpus "0" must be an integer'),
    (("web-a", "maxcpus=256"), 'maxcpus "256" must be an integer'),
    (("web-a", "maxmem=1"), 'maxmem "1" must be an integer'),
    (
        ("web-a", "cpus=4", "maxcpus=3"),
        "maxcpus=3 is no maximum for web-a: cpus is 4; give maxcpus=4 or more",
    ),
    (("web-a", "mem=2048", "maxmem=1024"), "maxmem=1024 is no maximum for web-a: mem is 2048"),
    (("nobody", "mem=64"), 'cannot resolve host "nobody"'),
    (("web-a", "mem=0"), '"mem" parameter must be an integer'),
    (("web-a", "mem=-5"), '"mem" parameter must be an integer'),
    (("web-a", "mem=many"), '"mem" parameter must be an integer'),
    (("web-a", "mem="), '"mem" parameter must be an integer'),
    (("fe-a", "mem=1"), '"mem" parameter must be an integer from 32'),
    (("web-a", "slice=0"), "slice 0 of vmc-0-0 is in use by vm-fe-a-0; give another"),
    (("web-a", "slice=-1"), 'slice "-1" must be an integer'),
    (("web-a", "virt-type=lxc"), 'virt-type "lxc" must be one of para, hvm'),
    (("web-a", "physnode=nobody"), 'cannot resolve host "nobody"'),
    (("web-a", "physnode=vm%"), "must supply only one host"),
    (("web-a", "physnode=plain"), "plain is not a VM container, so no virtual machine could start there"),
    (("web-a", "physnode=fe-a"), "host fe-a is a virtual machine and cannot run others"),
    (("web-a", "physnode=web-a"), "host web-a is a virtual machine and cannot run others"),
    (("vmc-0-1", "physnode=vmc-0-1"), "host vmc-0-1 cannot be its own physical host"),
    (
        ("vmc-0-0", "mem=64"),
        "host vmc-0-0 is the physical host of web-a, vm-fe-a-0, so it cannot be a virtual machine",
    ),
    (("web-a", "disk="), 'disk "" is not a disk'),
    (("web-a", "disk=file:/a,vda"), "Invalid disk specification"),
    (("web-a", "disk=file:/a,vda,virtio x"), "Invalid disk specification"),
    (("web-a", "disk=file:/a,vda,virtio file:/a,vdb,virtio"), 'the disk "/a" is given twice'),
    (("web-a", "disksize=1 2"), "disksize names 2 sizes, but web-a has 1 disks"),
    (
        ("web-a", "disk=file:/a,vda,virtio", "disksize=1 2"),
        "disksize names 2 sizes, but web-a has 1 disks",
    ),
    (("web-a", "disksize=-1"), 'disksize "-1" must be an integer'),
    (("web-a", "disksize=big"), 'disksize "big" must be an integer'),
    (("web-a", "mem=64", "disksize=big"), 'disksize "big" must be an integer'),
]


def test_set_host_vm_refuses(samples: Site) -> None:
    samples.done("add", "host", "plain", "membership=compute", "rack=7", "rank=7")
    for arguments, message in SET_HOST_VM_REFUSES:
        assert message in samples.refused(*SET, *arguments), arguments


def test_the_cd(samples: Site) -> None:
    for path in ("/x.iso", "/a b/it's <it>,x.iso", "/dev/sr0"):
        samples.done(*SET, "cdrom", "web-a", f"cdrom={path}")
        assert machine(samples, "web-a")[11] == path
    samples.done(*SET, "cdrom", "web-a", "None")
    assert machine(samples, "web-a")[11] == ""


SET_HOST_VM_CDROM_REFUSES = [
    ((), "must supply only one host"),
    (("web-a",), "must supply only one host"),
    (("web-a", "fe-a", "/x.iso"), "takes {host} {cdrom}, but 3 arguments are given"),
    (("cdrom=/x.iso",), "must supply only one host"),
    (("web-a", "cdrom="), "must supply only one host"),
    (("web-a", "x.iso"), "You must use an absolute path for the ISO"),
    (("web-a", "/a/../b"), "You must use an absolute path for the ISO"),
    (("web-a", "/"), "You must use an absolute path for the ISO"),
    (("web-a", "/a\nb"), "\\n is not a printable character"),
    (("web-a", "/" + "a" * 512), "too long"),
    (("head", "/x.iso"), "host head is not a virtual host"),
    (("nobody", "/x.iso"), 'cannot resolve host "nobody"'),
]


def test_set_host_vm_cdrom_refuses(samples: Site) -> None:
    for arguments, message in SET_HOST_VM_CDROM_REFUSES:
        assert message in samples.refused(*SET, "cdrom", *arguments), arguments


# dump host vm, remove host vm


def test_dump_host_vm_is_the_line_of_the_specification(samples: Site) -> None:
    samples.done(*SET, "cdrom", "fe-a", "/x y.iso")
    printed = samples.done("dump", "host", "vm", "web-a", "fe-a")
    assert re.sub(r" uuid=[0-9a-f-]{36}$", "", printed, flags=re.MULTILINE) == (
        "/opt/rocks/bin/rocks set host vm fe-a physnode=localhost"
        " disk=file:/state/partition1/kvm/disks/fe-a.vda,vda,virtio disksize=36 mem=2048 slice=0 virt-type=hvm\n"
        "/opt/rocks/bin/rocks set host vm cdrom fe-a cdrom=/x\\ y.iso\n"
        "/opt/rocks/bin/rocks set host vm web-a physnode=vmc-0-0"
        " disk=file:/state/partition1/kvm/disks/web-a.vda,vda,virtio disksize=36 mem=2048 slice=0 virt-type=hvm\n"
    )
    assert samples.done("dump", "host", "vm", "head") == samples.done("dump", "host", "vm", "nothing%") == ""


def test_the_dump_restores_removed_rows(samples: Site) -> None:
    samples.done("add", "host", "cdrom", "membership=compute", "rack=1", "rank=1")
    samples.done("set host vm", "cdrom", "physnode=vmc-0-1", "mem=77")
    samples.done(
        *(
            *SET,
            "web-a",
            'disk=file:/a b/it\'s "<x>";$(reboot)&,vda,virtio phy:/dev/disk/by-path/ip-1:3260,vda,scsi',
        ),
        "disksize=7 8",
    )
    samples.done(*SET, "cdrom", "web-a", '/it\'s "<x>";$(reboot)&\\.iso')
    samples.change("UPDATE vm_nodes SET Virt_Type = NULL, PhysNode = NULL WHERE Slice = 0 AND Mem = 1024")
    before = samples.done("list", "host", "vm", "showdisks=yes")
    lines = samples.done("dump", "host", "vm")
    names = ["web-a", "fe-a", "vm-fe-a-0", "cdrom"]
    assert samples.rocks("remove", "host", "vm", *names).status == 0
    assert samples.done("list", "host", "vm") == ""
    for arguments in read_by_shell(lines):
        samples.done(*arguments[1:])
    assert samples.done("list", "host", "vm", "showdisks=yes") == before
    assert samples.done("dump", "host", "vm") == lines


def test_a_removed_machine_is_an_ordinary_host(samples: Site) -> None:
    (line,) = samples.done("dump", "host", "vm", "web-a").splitlines()
    uuid = line.rpartition(" uuid=")[2]
    ended = samples.rocks("remove", "host", "vm", "web-a")
    assert (ended.status, ended.out) == (0, "")
    warning, image, outcome = ended.err.splitlines()
    assert warning.startswith(
        "Warning (libvirt): web-a is removed from the database, but the host does not answer"
    )
    assert image == (
        "whether disk images stay on vmc-0-0, which does not answer, is not known; when it does: "
        "rocks list host image vmc-0-0"
    )
    assert outcome == (
        "web-a: an ordinary host from now on, in no cluster; its name stays in use. To remove it, too: "
        "rocks remove host web-a; to make it a virtual machine again: rocks set host vm web-a physnode=vmc-0-0 "
        f"disk=file:/state/partition1/kvm/disks/web-a.vda,vda,virtio disksize=36 mem=2048 uuid={uuid}"
    )
    assert samples.done("list", "host", "vm", "web-a") == ""
    assert samples.database.rows("SELECT COUNT(*) FROM vm_disks WHERE Name = 'web-a.vda'") == [(0,)]
    assert len(interfaces(samples, "web-a")) == 2
    assert samples.done("list", "host", "boot", "web-a") == "ACTION \ninstall\n"
    assert "host web-a is not a virtual host" in samples.refused("remove", "host", "vm", "web-a")
    ((_, *again),) = read_by_shell(outcome.rpartition("again: rocks ")[2].join(("p rocks ", "\n")))
    samples.done(*again)
    assert samples.done("dump", "host", "vm", "web-a").strip() == line


def test_remove_host_takes_the_machine_with_it(samples: Site) -> None:
    assert samples.rocks("remove", "host", "web-a").status == 0
    assert 'cannot resolve host "web-a"' in samples.refused("list", "host", "vm", "web-a")
    assert samples.database.rows("SELECT COUNT(*) FROM vm_nodes") == [(2,)]


REMOVE_HOST_VM_REFUSES = [
    ((), "must supply at least one host"),
    (("web-a", "head"), "host head is not a virtual host"),
    (("nobody",), "cannot resolve"),
]


def test_remove_host_vm_refuses(samples: Site) -> None:
    for arguments, message in REMOVE_HOST_VM_REFUSES:
        assert message in samples.refused("remove", "host", "vm", *arguments), arguments


@pytest.mark.parametrize("command", [("remove", "host", "vm"), ("remove", "host")], ids=" ".join)
def test_hooks_of_remove_host_vm_run_before_the_machine_goes(
    samples: Site, tree: Path, command: tuple[str, ...]
) -> None:
    folder = tree / "remove" / "host" / "vm"
    folder.mkdir(parents=True)
    log = tree / "log"
    (folder / "plugin_storage.py").write_text(
        "import rocks.commands\n"
        "class Plugin(rocks.commands.Plugin):\n"
        "    def run(self, node):\n"
        "        rows = self.db.rows('SELECT COUNT(*) FROM vm_nodes')\n"
        f"        with open({str(log)!r}, 'a') as file:\n"
        "            file.write(f'{node.name} {node.vm_defs.physNode} {node.vm_defs.disks[0].path} {rows[0][0]}\\n')\n"
    )
    assert samples.rocks(*command, "web-a").status == 0
    assert log.read_text() == "web-a vmc-0-0 /state/partition1/kvm/disks/web-a.vda 3\n"


def test_a_failed_hook_prevents_the_removal(samples: Site, tree: Path) -> None:
    folder = tree / "remove" / "host" / "vm"
    folder.mkdir(parents=True)
    text = "import rocks.commands\nclass Plugin(rocks.commands.Plugin):\n    def run(self, node):\n        1 / 0\n"
    (folder / "plugin_storage.py").write_text(text)
    message = samples.refused("remove", "host", "vm", "web-a")
    assert message.startswith('the plugin "storage" of "remove host vm" has a fault (ZeroDivisionError')


def test_a_host_that_does_not_answer_starts_nothing_and_holds_no_lease(samples: Site) -> None:
    ended = samples.rocks("start", "host", "vm", "web-a")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("Error: web-a is not started: ")
    assert samples.database.rows("SELECT Name, Host, State FROM vm_leases") == [("web-a", None, "released")]


def test_a_machine_that_another_command_changes_is_left_alone(
    samples: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm_locks, "WAIT_SECONDS", 0.0)
    samples.database.lock("vm web-a", 0)
    message = "another command is changing web-a at this moment"
    assert message in samples.refused(*SET, "web-a", "mem=64")
    assert message in samples.refused(*SET, "cdrom", "web-a", "/x.iso")
    assert message in samples.refused("remove", "host", "vm", "web-a")
    samples.done(*SET, "fe-a", "mem=64")
    samples.database.unlock("vm web-a")
    samples.done(*SET, "web-a", "mem=64")


def test_a_removal_says_that_another_command_was_faster(
    samples: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lock(*_: object) -> dict[str, RocksError]:
        samples.change("DELETE FROM vm_disks WHERE Name = 'fe-a.vda'")
        samples.change("DELETE FROM vm_nodes WHERE Node = (SELECT ID FROM nodes WHERE Name = 'fe-a')")
        return {}

    monkeypatch.setattr(vm_removal, "lock_vms", lock)
    ended = samples.rocks("remove", "cluster", "fe-a")
    assert ended.status == 1
    assert (
        "another command has removed fe-a meanwhile, and this one nothing; to remove the others" in ended.err
    )
    assert samples.done("list", "host", "vm", "vm-fe-a-0")


def test_a_removal_names_the_host_that_has_the_lease(samples: Site) -> None:
    """Not the one that `physnode=` names since."""
    samples.change(
        "INSERT INTO vm_leases (Name, Token, Host, State) VALUES ('web-a', 3, 'vmc-0-0', 'running')"
    )
    samples.rocks(*SET, "web-a", "physnode=vmc-0-1")
    error = samples.rocks("remove", "host", "vm", "web-a").err
    assert "whether disk images stay on vmc-0-0, which does not answer, is not known" in error
    assert "vmc-0-1" not in error.partition("an ordinary host")[0]


def test_a_host_gets_no_machine_under_a_name_whose_lease_is_held(samples: Site) -> None:
    """A machine of that name was removed, and may be running still: `stop` would mean both."""
    samples.change(
        "INSERT INTO vm_leases (Name, Token, Host, State) VALUES ('web-a', 3, 'vmc-0-1', 'running')"
    )
    assert samples.rocks("remove", "host", "web-a").status == 0
    samples.done("add", "host", "web-a", "membership=compute", "rack=7", "rank=7")
    for parameter in ("physnode=vmc-0-0", "virt-type=hvm"):
        message = samples.refused(*SET, "web-a", parameter)
        assert message.startswith("web-a may still be running on vmc-0-1, but is not in the database")
        assert "rocks stop host vm web-a" in message
    samples.change("UPDATE vm_leases SET State = 'released', Host = NULL")
    samples.done(*SET, "web-a", "physnode=vmc-0-0")


def test_a_machine_is_sought_where_its_lease_is(samples: Site) -> None:
    samples.change(
        "INSERT INTO vm_leases (Name, Token, Host, State) VALUES ('web-a', 3, 'vmc-0-1', 'running')"
    )
    samples.change(
        "UPDATE vm_nodes v JOIN nodes n ON n.ID = v.Node SET v.PhysNode = NULL WHERE n.Name = 'web-a'"
    )
    error = samples.rocks("remove", "host", "vm", "web-a").err
    assert "its host vmc-0-1 cannot be asked (this machine has no SSH key in /nowhere/key" in error
    assert "whether disk images stay on vmc-0-1, which does not answer, is not known" in error
    assert samples.database.rows("SELECT Host, Token FROM vm_leases") == [("vmc-0-1", 3)]


def test_a_single_lease_is_listed_with_its_machine(vm_site: Site) -> None:
    vm_site.change("INSERT INTO vm_leases (Name, Token, Host, State) VALUES ('web', 7, 'vmc-0-0', 'running')")
    header, row = vm_site.done("list", "host", "vm", "lease").splitlines()
    assert (header.split()[0], row.split()[:3]) == ("VM-HOST", ["web:", "vmc-0-0", "running"])
