"""`remove cluster`; no physical host answers."""

from tests.system.commands.conftest import Site
from tests.system.commands.vms.test_cluster_additions import ADD, IP, machines, use_vlans
from tests.system.commands.vms.vm_records import interfaces


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


def test_other_clusters_are_left_alone(clusters: Site) -> None:
    before = clusters.done("list host vm showdisks=yes")
    carriers = interfaces(clusters, "vmc-0-0")
    clusters.done(*ADD, "203.0.113.10", "5", "fe-name=blue")
    clusters.done(*ADD, "203.0.113.11", "1", "fe-name=red")
    assert clusters.rocks("remove cluster blue red").status == 0
    assert clusters.done("list host vm showdisks=yes") == before
    assert interfaces(clusters, "vmc-0-0") == carriers


def test_machines_added_to_a_cluster_go_with_it(clusters: Site) -> None:
    clusters.done("add host vm vmc-0-0 'hosted vm' vlan=2 name=late")
    assert "late" in clusters.done("list cluster fe-a")
    assert clusters.rocks("remove cluster fe-a").status == 0
    assert machines(clusters) == []


def test_a_machine_of_another_cluster_on_the_vlan_is_named_and_stays(vm_site: Site) -> None:
    """A wrong VLAN id must not let the removal of one cluster take a machine of another."""
    vm_site.done(*ADD, IP, "2", "fe-name=vc1", "cluster-naming=yes", "vlan=101")
    vm_site.done(*ADD, "203.0.113.10", "1", "fe-name=blue", "cluster-naming=yes", "vlan=102")
    note = "of the cluster vc1 is now also on VLAN 102 of the cluster blue"
    added = vm_site.rocks("add host interface vm-vc1-0 eth1 vlan=102")
    assert (added.status, f"vm-vc1-0 {note}" in added.err) == (0, True)
    assert vm_site.rocks("add host interface vm-vc1-1 eth1 vlan=101").err == ""
    changed = vm_site.rocks("set host interface vlan vm-vc1-1 eth1 102")
    assert (changed.status, f"vm-vc1-1 {note}" in changed.err) == (0, True)
    listed = vm_site.done("list cluster blue")
    assert "vm-vc1-0" in listed and "vm-vc1-1" in listed, "a cluster is all that is on its VLAN"
    for line in ("stop cluster blue", "reinstall cluster blue", "remove cluster blue"):
        ended = vm_site.rocks(line)
        for name in ("vm-vc1-0", "vm-vc1-1"):
            of_it = [found for found in ended.err.splitlines() if name in found]
            assert of_it == [
                f"{name} is left as it is: it is on VLAN 102 of the cluster blue, but a machine of the cluster vc1; "
                f"rocks list host interface {name} shows its VLANs"
            ], line
    assert [row[0] for row in machines(vm_site)] == ["vc1", "vm-vc1-0", "vm-vc1-1"]
    assert vm_site.rocks("remove cluster vc1").status == 0
    assert machines(vm_site) == []


def test_a_frontend_is_converted_without_a_machine_of_another_cluster_on_its_vlan(vm_site: Site) -> None:
    vm_site.done(*ADD, IP, "1", "fe-name=vc1", "cluster-naming=yes", "vlan=101")
    vm_site.done(*ADD, "203.0.113.10", "1", "fe-name=blue", "cluster-naming=yes", "vlan=102")
    vm_site.rocks("add host interface vm-vc1-0 eth1 vlan=102")
    assert "of a virtual cluster with 1 compute," in vm_site.refused("remove host vm blue")
    assert vm_site.rocks("remove host vm blue vm-blue-0").status == 0
    assert [row[0] for row in machines(vm_site)] == ["vc1", "vm-vc1-0"]


def test_clusters_that_share_a_machine_are_removed_together(vm_site: Site) -> None:
    vm_site.done(*ADD, IP, "1", "fe-name=vc1", "cluster-naming=yes", "vlan=101")
    vm_site.done(*ADD, "203.0.113.10", "0", "fe-name=blue", "vlan=102")
    vm_site.rocks("add host interface vm-vc1-0 eth1 vlan=102")
    ended = vm_site.rocks("remove cluster blue vc1")
    assert (ended.status, "is left" in ended.err) == (0, False)
    assert machines(vm_site) == []
