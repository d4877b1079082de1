"""A start that cannot be: one clear line with both figures, exit status 1, and nothing changed."""

from __future__ import annotations

import pytest

from tests.system.vms.site import ThreeMachines


def _start_error(site: ThreeMachines, vm: str) -> str:
    before = site.sql(f"SELECT State, Host FROM vm_leases WHERE Name = '{vm}'")
    error = site.refused(f"start host vm {vm}")
    assert "\n" not in error, "one line"
    assert site.running(vm) == []
    assert site.sql(f"SELECT State, Host FROM vm_leases WHERE Name = '{vm}'") in (
        before,
        [["released", "NULL"]],
    )
    return error


def test_more_than_the_host_has(site: ThreeMachines) -> None:
    vm = site.add_vm("huge", "vmh1")
    site.done(f"set host vm {vm} mem=60000000")
    error = _start_error(site, vm)
    assert "60000000 MB" in error
    assert "MB left of" in error
    site.done(f"set host vm {vm} mem=64")
    site.done(f"set host cpus {vm} 4000")
    error = _start_error(site, vm)
    assert "4000 CPUs" in error
    assert "vmh1 has " in error
    site.done(f"set host cpus {vm} 1")
    site.done(f"set host vm {vm} disksize=1000000")
    error = _start_error(site, vm)
    assert "1000000.0 GB is larger than its file system of" in error
    site.done(f"set host vm {vm} disksize=1")
    site.done(f"start host vm {vm}")


def test_two_machines_that_do_not_fit_together(site: ThreeMachines) -> None:
    total_mb = int(
        site.machines["vmh1"]
        .run_checked(["/usr/bin/awk", "/MemTotal/ {print int($2 / 1024)}", "/proc/meminfo"], 10)
        .text
    )
    names = [site.add_vm(f"half{number}", "vmh1") for number in range(2)]
    for name in names:
        site.done(f"set host vm {name} mem={int(total_mb * 0.6)}")
    error = site.refused(f"start host vm {' '.join(names)}", exit_status=3)
    assert "half1 is not started" in error
    assert [site.running(name) for name in names] == [["vmh1"], []]


def test_little_space_on_the_file_system(site: ThreeMachines) -> None:
    vm = site.add_vm("tight", "vmh1", "disk=file:/opt/rocks/small/tight.vda,vda,virtio")
    machine = site.machines["vmh1"]
    small = machine.outside("/opt/rocks") / "small"
    small.mkdir()
    machine.run_checked(["/usr/bin/mount", "-t", "tmpfs", "-o", "size=900m", "none", "/opt/rocks/small"], 10)
    try:
        assert "larger than its file system of 0.9 GB" in _start_error(site, vm)
        machine.run_checked(["/usr/bin/mount", "-o", "remount,size=1900m", "/opt/rocks/small"], 10)
        machine.run_checked(["/usr/bin/fallocate", "-l", "1G", "/opt/rocks/small/filler"], 10)
        error = _start_error(site, vm)
        assert "GB free; the minimum is 1.1 GB" in error
    finally:
        machine.run_checked(["/usr/bin/umount", "/opt/rocks/small"], 10)
        small.rmdir()


def test_a_container_that_is_down(site: ThreeMachines) -> None:
    vm = site.add_vm("waiting", "vmh2")
    site.vanish("vmh2")
    error = _start_error(site, vm)
    assert "cannot reach host vmh2" in error
    assert "Connection refused" in error


def test_a_host_that_is_no_container(site: ThreeMachines) -> None:
    vm = site.add_vm("misplaced", "vmh1")
    site.done("set host attr vmh1 kvm false")
    try:
        assert "vmh1 is not a VM container" in _start_error(site, vm)
    finally:
        site.done("remove host attr vmh1 kvm")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("start host vm nobody", 'cannot resolve host "nobody"'),
        ("start host vm vmh1", "host vmh1 is not a virtual host"),
        ("start host vm", "must supply at least one host"),
        ("stop host vm plain action=explode", 'invalid action "explode"'),
        ("stop host vm plain timeout=-1", "must be an integer"),
        ("stop host vm plain force=maybe", "must be yes or no"),
        ("stop host vm plain force=yes", "must be given together; state as the reason why the host is off"),
        ("pause host vm plain", "is not running on this host"),
        ("resume host vm plain", "plain"),
        ("open host console plain", "plain"),
        ("open host console plain type=holodeck", "type must be one of serial, vnc"),
        ("set host vm plain physnode=plain", "is a virtual machine and cannot run others"),
        ("set host vm plain mem=0", '"mem" parameter must be an integer'),
        ("set host vm plain disk=nonsense", "Invalid disk specification"),
    ],
)
def test_invalid_arguments(site: ThreeMachines, line: str, message: str) -> None:
    site.add_vm("plain", "vmh1")
    before = site.sql("SELECT * FROM vm_nodes") + site.sql("SELECT * FROM vm_disks")
    assert message in site.refused(line)
    assert site.sql("SELECT * FROM vm_nodes") + site.sql("SELECT * FROM vm_disks") == before


def test_a_disk_that_another_machine_has(site: ThreeMachines) -> None:
    first = site.add_vm("lender", "vmh1")
    second = site.add_vm("borrower", "vmh1", "disk=file:/var/lib/rocks-images/lender.vda,vda,virtio")
    site.done(f"start host vm {first}")
    assert "is in use by lender" in _start_error(site, second)


def test_host_local_vlans_cannot_connect_a_cluster_over_several_hosts(site: ThreeMachines) -> None:
    site.done(
        "add cluster 203.0.113.9 2 fe-name=wide cluster-naming=yes fe-container=head container-hosts='vmh1 vmh2'"
        " disk-per-compute=1 mem-per-compute=64"
    )
    assert "8021q" in _start_error(site, "vm-wide-0")
    site.done("set host attr vmh1 vlan_transport local")
    try:
        error = _start_error(site, "vm-wide-0")
        assert "head, vmh2" in error
        assert "place the whole cluster on one host" in error
        assert "would be spread over" in site.refused(
            "add cluster 203.0.113.10 2 fe-name=more cluster-naming=yes fe-container=head container-hosts='vmh1'"
        )
    finally:
        site.done("remove host attr vmh1 vlan_transport")
        site.done("remove cluster wide")


def test_invalid_xml_is_rejected_before_the_host_is_asked(site: ThreeMachines) -> None:
    vm = site.add_vm("odd", "vmh1")
    site.done(f"set host attr {vm} kvm_device_0 '<broken'")
    assert "not well-formed XML" in _start_error(site, vm)
    site.done(f"set host attr {vm} kvm_device_0 '<nonsense/>'")
    error = _start_error(site, vm)
    assert "libvirt" in error, "well-formed, but no device: libvirt's schema says so"
