"""A start that cannot be: one clear line with both figures, exit status 1, and nothing changed."""

from __future__ import annotations

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
        assert "iB free; the minimum is 1.0 GiB" in error
    finally:
        machine.run_checked(["/usr/bin/umount", "/opt/rocks/small"], 10)
        small.rmdir()


def test_libvirt_rejects_a_device_that_it_does_not_know(site: ThreeMachines) -> None:
    vm = site.add_vm("odd", "vmh1")
    site.done(f"set host attr {vm} kvm_device_0 '<nonsense/>'")
    error = _start_error(site, vm)
    assert "libvirt" in error, "well-formed, but no device: libvirt's schema says so"
