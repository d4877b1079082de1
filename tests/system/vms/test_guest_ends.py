"""A guest that ends by itself, on real libvirt: the hook leaves a note on the host."""

from __future__ import annotations

from tests.system.vms.site import ThreeMachines, wait_until


def test_the_end_of_a_guest_is_noted_with_its_lease(site: ThreeMachines) -> None:
    """What the frontend does with the note: tests/system/machines/test_recovery.py."""
    folder = site.machines["vmh1"].outside("/var/lib/rocks/ended")
    folder.mkdir(exist_ok=True)
    vm = site.started("one", "vmh1")
    assert list(folder.iterdir()) == []
    site.virsh("vmh1", "destroy", vm)
    wait_until((folder / vm).exists)
    assert (folder / vm).read_text() == str(site.lease(vm)[0])
    (folder / vm).unlink()
    folder.rmdir()
