"""Copies of a virtual cluster: forty at once, in one transaction; no physical host answers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.system.commands.conftest import Site

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEpmvZ7QZ9bJc1bS7yXg0mB1hQdCkV2y3d5mYJ0Xh8aB it's me"
CLONE = ("clone", "cluster", "vc1", "203.0.113.20")


@pytest.fixture
def original(vm_site: Site, tmp_path: Path) -> Site:
    """A site with the cluster vc1, made from an image: a frontend with 2 CPUs, and three computes."""
    disk, keys = tmp_path / "disk", tmp_path / "keys"
    with disk.open("wb") as file:
        file.truncate(3_000_000_000)
        file.write(b"boot")
    keys.write_text(f"{KEY}\n")
    vm_site.done("set attr image_library", str(tmp_path / "library"))
    vm_site.done("set attr vm_vlan_pool 2-60")
    vm_site.done("add image debian", f"file={disk}")
    line = ("add", "cluster", "203.0.113.9", "3", "fe-name=vc1", "cluster-naming=yes", "mem-per-compute=512")
    vm_site.done(*line, "disk-per-compute=5", "disk-per-frontend=4", "image=debian", f"key={keys}")
    vm_site.done("set host vm vc1 mem=1500 cpus=2")
    vm_site.done("set host attr vm-vc1-1 kvm_cpu_pinning pin_all")
    return vm_site


def rows(site: Site, *line: str) -> list[dict[str, Any]]:
    """The rows that a listing command prints."""
    return [row for one in json.loads(site.done(*line, "json=yes")) for row in one[line[1]]]


def machines(site: Site, prefix: str) -> list[tuple[Any, ...]]:
    """(name, CPUs, memory, disk size, container, boot action) of machines whose names begin so."""
    return site.rows(
        "SELECT n.Name, n.CPUs, v.Mem, d.Size, p.Name, b.Action FROM vm_nodes v JOIN nodes n ON n.ID = v.Node"
        " JOIN vm_disks d ON d.Vm_Node = v.ID JOIN nodes p ON p.ID = v.PhysNode JOIN boot b ON b.Node = n.ID"
        " WHERE n.Name LIKE %s ORDER BY n.ID",
        [f"{prefix}%"],
    )


def counts(site: Site) -> list[tuple[Any, ...]]:
    """How many machines, interfaces, attributes and disks there are."""
    site.database.rollback()
    tables = ("vm_nodes", "networks", "attributes", "vm_disks", "node_routes")
    return site.database.rows("SELECT " + ", ".join(f"(SELECT COUNT(*) FROM {table})" for table in tables))


def test_a_count_of_one_searches_an_address_as_any_count_does(original: Site) -> None:
    for name, address in (("a", "203.0.113.20"), ("b", "203.0.113.21")):
        printed = original.done(*CLONE, "count=1", f"name={name}", "output-header=no")
        assert printed.split()[:2] == [f"{name}-1:", address]


@pytest.mark.slow
def test_forty_clones_have_what_the_original_has_and_nothing_in_common(original: Site) -> None:
    printed = original.done(*CLONE, "count=40", "name=class", "output-header=no").splitlines()
    assert [line.split() for line in (printed[0], printed[39])] == [
        ["class-1:", "203.0.113.20", "3", "3", "added"],
        ["class-40:", "203.0.113.59", "42", "3", "added"],
    ]
    assert machines(original, "class-7") == [("class-7", 2, 1500, 4, "head", "os")]
    original_hosts = [row[4] for row in machines(original, "vm-vc1-")]
    assert machines(original, "vm-class-7-") == [
        (f"vm-class-7-{number}", 1, 512, 5, host, "os") for number, host in enumerate(original_hosts)
    ]
    unique = (
        "SELECT COUNT(*), COUNT(DISTINCT i.MAC), COUNT(DISTINCT i.IP)"
        " FROM networks i JOIN vm_nodes v ON v.Node = i.Node"
    )
    assert original.database.rows(unique) == [(41 * 5, 41 * 5, 41 * 2)]
    disks = "SELECT COUNT(*), COUNT(DISTINCT CONCAT(Prefix, '/', Name)) FROM vm_disks"
    assert original.database.rows(disks) == [(164, 164)]
    (found,) = json.loads(original.done("list host attr vm-class-7-1 json=yes"))
    own = {row["attr"]: row["value"] for row in found["attr"] if row["source"] == "H"}
    assert own["kvm_cpu_pinning"] == "pin_all" and own["vm_image"] == "debian"
    assert own["vm_authorized_keys"] == KEY and own["vm_cluster_address"]


def test_a_repeated_command_adds_only_what_is_missing(original: Site) -> None:
    original.done(*CLONE, "count=2")
    before = counts(original)
    again = original.done(*CLONE, "count=2", "output-header=no")
    assert [line.split()[-1] for line in again.splitlines()] == ["exists", "exists"]
    assert counts(original) == before
    grown = original.done(*CLONE, "count=3", "output-header=no").splitlines()
    assert [(line.split()[0], line.split()[1], line.split()[-1]) for line in grown] == [
        ("vc1-1:", "203.0.113.20", "exists"),
        ("vc1-2:", "203.0.113.21", "exists"),
        ("vc1-3:", "203.0.113.22", "added"),
    ]
    assert original.rocks(*CLONE, "count=3", "key=/absent").err == "", "they have keys"
    in_turn = ("name=turn", "container-hosts=vmc-0-0 vmc-0-1")
    original.done("clone cluster vc1 203.0.113.80 203.0.113.90", *in_turn)
    assert [row[4] for row in machines(original, "turn-")] == ["vmc-0-0", "vmc-0-0"]
    assert [row[4] for row in machines(original, "vm-turn-2-")] == ["vmc-0-1", "vmc-0-0", "vmc-0-1"]


def test_clones_do_not_get_the_address_of_a_router_or_name_server(original: Site) -> None:
    original.done("set attr Kickstart_PublicGateway 203.0.113.20")
    original.done("set attr Kickstart_PublicDNSServers 203.0.113.21,203.0.113.23")
    printed = original.done(*CLONE, "count=2", "output-header=no").splitlines()
    assert [line.split()[1] for line in printed] == ["203.0.113.22", "203.0.113.24"]


def test_a_repeated_command_says_that_its_key_is_not_used(original: Site, tmp_path: Path) -> None:
    command = (
        'nobody can log in: rocks set host attr {} vm_authorized_keys "$(cat {})", before the first start\n'
    )
    original.done("remove host attr vc1 vm-vc1-0 vm-vc1-1 vm-vc1-2 vm_authorized_keys")
    first = original.rocks(*CLONE, "count=2")
    assert (first.status, first.err) == (0, f"Warning: {command.format('vc1-1 vc1-2', 'FILE.pub')}")
    keys = tmp_path / "keys"
    again = original.rocks(*CLONE, "count=3", f"key={keys}")
    not_used = (
        f"Warning: the clusters that exist did not get the key, so {command.format('vc1-1 vc1-2', keys)}"
    )
    assert (again.status, again.err) == (0, not_used)
    original.done("set host attr vc1-1 vc1-2 vm_authorized_keys", keys.read_text().strip())
    assert original.rocks(*CLONE, "count=3").err == ""


def test_what_cannot_be_added_adds_nothing(original: Site) -> None:
    before = counts(original)
    for line, message in [
        (("vc1",), "must supply the frontend of a cluster, and an IP address"),
        (("vmc-0-0", "203.0.113.20"), "host vmc-0-0 is not a virtual frontend"),
        (("vc1", "203.0.113.300"), "The ip address 203.0.113.300 is invalid"),
        (("vc1", "203.0.113.20", "203.0.113.20"), "an address is given twice"),
        (("vc1", "203.0.113.20", "203.0.113.21", "count=3"), "count=3 needs one address"),
        (("vc1", "203.0.113.20", "count=0"), "count"),
        (("vc1", "203.0.113.20", "count=59"), "vc1-59, clone 59 of 59: .*nothing was added"),
        (("vc1", "203.0.113.250", "count=9"), "has only 5 of 9 free addresses left from 203.0.113.250 on"),
        (("vc1", "203.0.113.20", "203.0.113.9"), "vc1-2, clone 2 of 2: The ip address 203.0.113.9 is in use"),
        (("vc1", "203.0.113.20", "image=absent"), "there is no image absent"),
        (("vc1", "203.0.113.20", "name=../x"), "x-1, clone 1 of 1: .*nothing was added"),
    ]:
        refusal = original.refused("clone cluster", *line)
        assert re.search(message, refusal), refusal
        assert counts(original) == before


def test_originals_that_a_clone_would_not_be_like(original: Site) -> None:
    original.done("set host vm vm-vc1-1 mem=600")
    assert "vm-vc1-1 is not like vm-vc1-0 (memory 600 MB instead of 512);" in original.refused(*CLONE)
    original.done("set host vm vm-vc1-1 cpus=3")
    assert "(3 CPUs instead of 1, memory 600 MB instead of 512);" in original.refused(*CLONE)
    original.done("set host vm vm-vc1-1 mem=512 cpus=1")
    original.done("remove host attr vc1 vm_image")
    assert "rocks add image NAME vm=vc1" in original.refused(*CLONE)
    original.done(*CLONE, "image=debian", "compute-image=none")
    assert [row[5] for row in machines(original, "vm-vc1-1-")] == ["install"] * 3


def test_a_machine_of_another_cluster_on_the_vlan_is_named_and_not_cloned(original: Site) -> None:
    line = ("add", "cluster", "203.0.113.10", "1", "fe-name=blue", "cluster-naming=yes", "disk-per-compute=6")
    original.done(*line)
    ((vlan,),) = original.database.rows("SELECT DISTINCT vlanid FROM clusters WHERE cluster_name = 'vc1'")
    original.rocks(f"add host interface vm-blue-0 eth1 vlan={vlan}")
    assert "vm-blue-0" in original.done("list cluster vc1")
    ended = original.rocks(*CLONE)
    assert (ended.status, "vm-blue-0 is not cloned: it is on VLAN" in ended.err) == (0, True)
    assert len(machines(original, "vm-vc1-1-")) == 3


def test_the_disk_of_an_original_on_a_nas_is_not_cloned_silently(original: Site) -> None:
    original.done("add host nas-0-0 'membership=NAS Appliance' rack=0 rank=9")
    original.done("set host vm nas vm-vc1-2 nas=nas-0-0 zpool=tank")
    assert "the disk of vc1 is on its host and others of its cluster are on a NAS" in original.refused(*CLONE)
    original.done(*CLONE, "image=debian")
