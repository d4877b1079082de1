"""`set host vm`: sizes, disks, host, kind, CD; no physical host answers."""

from rocks.leases import lease as leases
from tests.system.commands.conftest import Site
from tests.system.commands.vms.vm_records import SET, disks, interfaces, machine


def test_set_host_vm_changes_only_the_given_values(samples: Site) -> None:
    before = machine(samples, "web-a")
    samples.done("set host vm web-a mem=4096")
    samples.done("set host vm web-a slice=9 virt-type=PARA")
    assert machine(samples, "web-a") == (*before[:8], 4096, 9, "para", "")
    samples.done("set host vm web-a virt-type=None")
    assert machine(samples, "web-a")[10] == "para"
    assert len(disks(samples, "web-a")) == 1


def test_no_interface_gets_a_multicast_address(samples: Site) -> None:
    """As `rocks add host vm` refuses it: libvirt would start no machine with it."""
    for command in ("set host interface mac web-a eth0", "add host interface web-a eth7"):
        assert "it is a multicast address" in samples.refused(f"{command} mac=01:1b:2c:3d:4e:5f")
        assert "it is all zeros" in samples.refused(f"{command} mac=00:00:00:00:00:00")


def test_a_maximum_is_at_least_what_each_machine_has(samples: Site) -> None:
    samples.done("set host vm web-a cpus=4 mem=2048 maxcpus=4 maxmem=2048")
    samples.done("set host vm fe-a mem=4096")
    message = samples.refused("set host vm web-a fe-a maxmem=3000")
    assert message.startswith("maxmem=3000 is no maximum for fe-a: mem is 4096; give maxmem=4096 or more")
    assert "kvm_max_memory 2048" in " ".join(samples.done("list host attr web-a").split())
    samples.refused("set host vm web-a maxcpus=3")
    assert "at most 255 CPUs" in samples.refused("set host cpus web-a 256")
    assert "from 1 to 255" in samples.refused("set host vm web-a cpus=256")
    samples.done("set host vm web-a cpus=2 maxcpus=3")


def test_more_than_the_maximum_is_a_warning_wherever_it_is_stated(samples: Site) -> None:
    """The machine starts with it, from then on; its maximum means nothing."""
    samples.done("set host vm web-a mem=1024 maxmem=2048")
    warning = (
        "Warning: maxmem=2048 is no maximum for web-a, and has no effect: mem is 8192; rocks set host vm web-a "
        "maxmem=8192, or more\n"
    )
    for command in ("set host vm web-a mem=8192", "set host attr web-a kvm_max_memory 2048"):
        ended = samples.rocks(command)
        assert (ended.status, ended.err) == (0, warning), command
    samples.done("set host vm web-a maxmem=8192")
    added = samples.rocks("set appliance attr compute kvm_max_memory 512")
    assert (added.status, added.err) == (0, "")
    added = samples.rocks("add host vm vmc-0-0 compute name=late mem=1024")
    assert added.status == 0 and "maxmem=512 is no maximum for late" in added.err
    samples.done("add host vm vmc-0-0 compute name=less mem=512")


def test_more_cpus_than_the_host_has_by_its_record_are_a_warning(vm_site: Site) -> None:
    """A record of one CPU is what hosts have unless somebody gives their number."""
    vm_site.done("set host cpus vmc-0-0 1")
    vm_site.done("add host vm vmc-0-0 compute name=one cpus=8")
    vm_site.done("set host cpus vmc-0-0 4")
    warning = (
        "Warning: {} has {} CPUs, and its host vmc-0-0 has 4 by its record (rocks list host vmc-0-0), so it does not "
        "start there; choose another host, or rocks set host vm {} cpus=4\n"
    )
    added = vm_site.rocks("add host vm vmc-0-0 compute name=two cpus=5")
    assert (added.status, added.err) == (0, warning.format("two", 5, "two"))
    changed = vm_site.rocks("set host vm one two cpus=6")
    both = warning.format("one", 6, "one").replace("\n", "; likewise two\n")
    assert (changed.status, changed.err) == (0, both)
    assert vm_site.rocks("set host vm one two cpus=4").err == ""
    assert vm_site.rocks("set host vm one mem=512").err == ""


def test_sizes_go_by_index_and_zero_leaves_one(samples: Site) -> None:
    samples.done("set host vm web-a 'disk=file:/a,vda,virtio file:/b,vda,virtio file:/c,vdb,virtio'")
    assert disks(samples, "web-a") == [
        ("file:/a,vda,virtio", 36),
        ("file:/b,vda,virtio", 36),
        ("file:/c,vdb,virtio", 36),
    ]
    samples.done("set host vm web-a 'disksize=10 0 30'")
    assert [size for _, size in disks(samples, "web-a")] == [10, 36, 30]
    samples.done("set host vm web-a 'disksize=0 20'")
    assert [size for _, size in disks(samples, "web-a")] == [10, 20, 30]
    samples.done("set host vm web-a 'disk=file:/d,vda,virtio file:/e,vdb,virtio' disksize=5")
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
    samples.done("set host vm vm-fe-a-0 physnode=vmc-0-1")
    assert machine(samples, "vm-fe-a-0")[7] == "vmc-0-1"
    assert interfaces(samples, "vmc-0-1")[-1] == ("vlan2", None, None, None, "private", 2)
    samples.done("set host vm vm-fe-a-0 physnode=vmc-0-1")
    samples.done("set host vm web-a physnode=head")
    assert [row[0] for row in interfaces(samples, "head")] == ["eth0", "eth1", "vlan2"]


def test_a_host_becomes_a_virtual_machine(samples: Site) -> None:
    samples.done("add host compute-5-5")
    for parameter in ("mem=512", "mem=", "slice=1", "disk=file:/a,vda,virtio"):
        samples.refused("set host vm compute-5-5", parameter)
    assert samples.refused("set host vm compute-5-5 mem=512") == (
        "host compute-5-5 is not a virtual machine; it becomes one only when physnode= names its physical host"
    )
    samples.done("set host vm compute-5-5 virt-type=hvm")
    assert machine(samples, "compute-5-5")[7:] == (None, 1024, 0, "hvm", "")
    samples.done("set host vm compute-5-5 physnode=localhost disk=file:/a,vda,virtio mem=512")
    assert machine(samples, "compute-5-5")[7:] == ("head", 512, 0, "hvm", "")


def test_a_machine_that_was_removed_finds_its_vlan_again(samples: Site) -> None:
    assert samples.rocks("remove host vm vm-fe-a-0").status == 0
    samples.done("set host vm vm-fe-a-0 physnode=vmc-0-1")
    assert interfaces(samples, "vmc-0-1")[-1] == ("vlan2", None, None, None, "private", 2)


SET_HOST_VM_REFUSES = [
    ((), "must supply at least one virtual machine"),
    (("web-a", "fe-a", "slice=7"), "must supply only one host"),
    (("%a", "disk=file:/a,vda,virtio"), "must supply only one host"),
    (
        ("web-a", "cpus=4", "maxcpus=3"),
        "maxcpus=3 is no maximum for web-a: cpus is 4; give maxcpus=4 or more",
    ),
    (("web-a", "mem=2048", "maxmem=1024"), "maxmem=1024 is no maximum for web-a: mem is 2048"),
    (("fe-a", "mem=1"), '"mem" parameter must be an integer from 32'),
    (("web-a", "slice=0"), "slice 0 of vmc-0-0 is in use by vm-fe-a-0; give another"),
    (("web-a", "slice=-1"), 'slice "-1" must be an integer'),
    (("web-a", "virt-type=lxc"), 'virt-type "lxc" must be one of para, hvm'),
    (("web-a", "physnode=nobody"), 'cannot resolve host "nobody"'),
    (("web-a", "physnode=vm%"), "must supply only one host"),
    (("web-a", "physnode=plain"), "plain is not a VM container, so no virtual machine could start there"),
    (("web-a", "physnode=fe-a"), "host fe-a is a virtual machine and cannot run others"),
    (("vmc-0-1", "physnode=vmc-0-1"), "host vmc-0-1 cannot be its own physical host"),
    (
        ("vmc-0-0", "mem=64"),
        "host vmc-0-0 is the physical host of web-a, vm-fe-a-0, so it cannot be a virtual machine",
    ),
    (("web-a", "disk="), 'disk "" is not a disk'),
    (("web-a", "disk=file:/a,vda"), "Invalid disk specification"),
    (("web-a", "disk=file:/a,vda,virtio file:/a,vdb,virtio"), 'the disk "/a" is given twice'),
    (("web-a", "disksize=1 2"), "disksize names 2 sizes, but web-a has 1 disks"),
    (("web-a", "disk=file:/a,vda,virtio", "disksize=1 2"), "disksize names 2 sizes, but web-a has 1 disks"),
    (("web-a", "disksize=big"), 'disksize "big" must be an integer'),
]


def test_set_host_vm_refuses(samples: Site) -> None:
    samples.done("add host plain membership=compute rack=7 rank=7")
    for arguments, message in SET_HOST_VM_REFUSES:
        assert message in samples.refused(*SET, *arguments), arguments


def test_the_cd(samples: Site) -> None:
    for path in ("/x.iso", "/a b/it's <it>,x.iso", "/dev/sr0"):
        ended = samples.rocks(*SET, "cdrom", "web-a", f"cdrom={path}")
        assert (ended.status, ended.err.startswith("Warning: web-a will not start: ")) == (
            0,
            path != "/dev/sr0",
        )
        assert machine(samples, "web-a")[11] == path
    samples.done(*SET, "cdrom", "web-a", "None")
    assert machine(samples, "web-a")[11] == ""


def test_set_host_vm_cdrom_refuses(samples: Site) -> None:
    for arguments, message in [
        ((), "must supply one host"),
        (("web-a",), 'must supply one host, besides cdrom "web-a"'),
        (("cdrom=/x.iso",), "must supply one host"),
        (("web-a", "cdrom="), 'must supply one host, besides cdrom "web-a"'),
        (("%a", "cdrom=/x.iso"), "must supply only one host, not 2"),
        (("web-a", "x.iso"), "You must use an absolute path for the ISO"),
        (("web-a", "/a/../b"), "You must use an absolute path for the ISO"),
        (("web-a", "/"), "You must use an absolute path for the ISO"),
        (("web-a", "/a\nb"), "\\n is not a printable character"),
        (("web-a", "/" + "a" * 512), "too long"),
        (("head", "/x.iso"), "host head is not a virtual host"),
    ]:
        assert message in samples.refused(*SET, "cdrom", *arguments), arguments


def test_a_machine_that_leaves_the_host_of_its_clusters_local_vlan_is_named(vm_site: Site) -> None:
    """One after the other may move, as Nucleus moves them; a start refuses what `add cluster` refuses."""
    vm_site.done("set host attr vmc-0-0 vlan_transport local")
    vm_site.done(
        "add cluster 203.0.113.9 1 fe-name=vc1 cluster-naming=yes fe-container=vmc-0-0 container-hosts=vmc-0-0"
    )
    moved = vm_site.rocks("set host vm vm-vc1-0 physnode=vmc-0-1")
    assert moved.status == 0
    assert moved.err == (
        "vm-vc1-0 cannot reach the machines of VLAN 2 on vmc-0-0: VLANs of vmc-0-0 are local (it has "
        "vlan_transport=local); place the whole cluster on one host: rocks set host vm vm-vc1-0 physnode=vmc-0-0, or "
        "the others on vmc-0-1\n"
    )
    assert vm_site.done("set host vm vc1 physnode=vmc-0-1") == ""
    assert vm_site.done("set host vm vc1 vm-vc1-0 physnode=vmc-0-0") == ""


def test_what_is_so_for_many_machines_is_one_line(vm_site: Site) -> None:
    """All have images on their host, are held there, and leave their frontend's local VLAN."""
    vm_site.done("set host attr vmc-0-0 vlan_transport local")
    vm_site.done(
        "add cluster 203.0.113.9 8 fe-name=vc1 cluster-naming=yes fe-container=vmc-0-0 container-hosts=vmc-0-0"
    )
    names = [f"vm-vc1-{number}" for number in range(8)]
    leases.take_leases(vm_site.database, dict.fromkeys(names, ("vmc-0-0", ())))
    vm_site.database.commit()
    lines = vm_site.rocks("set host vm", *names, "physnode=vmc-0-1").err.splitlines()
    for beginning in (
        "the images of vm-vc1-0 that exist stay on vmc-0-0",
        "vm-vc1-0 cannot reach the machines of VLAN 2 on vmc-0-0",
        "Warning: vm-vc1-0 may be running on vmc-0-0",
    ):
        (line,) = [line for line in lines if line.startswith(beginning)]
        assert line.endswith("; likewise vm-vc1-1, vm-vc1-2, vm-vc1-3, vm-vc1-4, vm-vc1-5 and 2 more")
    assert 'if vmc-0-0 is certainly off: rocks stop host vm vm-vc1-0 force=yes reason="…";' in lines[-1]
    assert len(lines) == 3
