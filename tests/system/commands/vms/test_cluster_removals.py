"""`remove cluster`; no physical host answers (specification §5.7)."""

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
