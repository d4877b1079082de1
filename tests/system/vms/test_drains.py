"""`rocks drain host` and `rocks evacuate host`: what a host has is stopped, moved, or started elsewhere; real hosts."""

from collections.abc import Iterator

import pytest

from tests.system.vms.site import HOSTS, IMAGES, ThreeMachines

OLD, NEW = HOSTS
LOCAL, ON_NAS = "vm-drain-0", "vm-drain-1"


@pytest.fixture
def drained(site: ThreeMachines) -> Iterator[ThreeMachines]:
    """Two machines on the first host: one runs."""
    for name in (LOCAL, ON_NAS):
        site.add_vm(name, OLD)
    site.done(f"start host vm {LOCAL}")
    yield site
    site.rocks(f"remove host sec_attr {OLD} vm_fence_command")


@pytest.mark.slow
def test_machines_leave_while_they_run_and_the_others_by_a_stop(site: ThreeMachines) -> None:
    """libvirt cannot copy a qcow2 image to an empty raw file: the hosts refuse it, and its machine is stopped."""
    site.add_vm("live", OLD)
    site.add_vm("cold", OLD, f"disk=qcow2:{IMAGES}/cold.vda,vda,virtio")
    site.add_vm("off", OLD)
    site.done("start host vm live cold")
    drain = f"drain host {OLD} to={NEW} action=poweroff live=yes"
    tried = site.done(f"{drain} dry-run=yes")
    assert f"{NEW}: would receive live from {OLD}, while it runs" in tried
    assert site.running("live") == site.running("cold") == [OLD]
    ended = site.rocks(drain, 300)
    assert ended.exit_status == 0, ended.error_text
    assert "cold is stopped for its move: cold was not moved: " in ended.error_text
    assert "live is stopped" not in ended.text + ended.error_text
    for line in (f"live runs on {NEW} now", "cold is stopped", f"cold is on {NEW} now", "cold runs again"):
        assert f"{line}\n" in ended.text
    assert site.running("live") == site.running("cold") == [NEW] and site.running("off") == []
    assert [site.place(name) for name in ("live", "cold", "off")] == [NEW] * 3
    assert site.domains(OLD) == []


def disk(site: ThreeMachines, name: str) -> str:
    return site.sql(
        "SELECT d.Name FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node"
        f" WHERE n.Name = '{name}'"
    )[0][0]


def test_what_a_failed_host_had_starts_elsewhere_once(drained: ThreeMachines, from_nas: None) -> None:
    """Only after the host was fenced, and only what it does not have alone."""
    site = drained
    site.done(f"start host vm {ON_NAS}")
    site.put_on_nas(ON_NAS, NEW)
    fence = site.machines["head"].outside("/opt/rocks/fence")
    fence.touch(mode=0o600)
    fence.write_text("/bin/false\n")
    site.vanish(OLD)
    site.done(f"set host sec_attr {OLD} vm_fence_command file=/opt/rocks/fence")
    text = site.refused(f"evacuate host {OLD} reason=broken to={NEW}")
    assert f"{OLD} could not be fenced" in text
    assert f"{LOCAL} cannot start elsewhere: its disk file:" in text
    assert (site.running(ON_NAS), site.place(ON_NAS)) == ([OLD], OLD)
    site.virsh(OLD, "destroy", ON_NAS)  # what a fence does
    site.virsh(OLD, "destroy", LOCAL)
    fence.write_text("/bin/true\n")
    site.done(f"set host sec_attr {OLD} vm_fence_command file=/opt/rocks/fence")
    # as when an evacuation is killed after it has taken the machine
    site.rocks(f"stop host vm {ON_NAS} force=yes reason=broken", 120)
    assert site.lease(ON_NAS)[1:] == ("released", "NULL")
    ended = site.rocks(f"evacuate host {OLD} reason=broken to={NEW}", 120)
    assert ended.exit_status == 3, ended.error_text
    assert f"{ON_NAS} runs on {NEW} now" in ended.text
    assert (site.running(ON_NAS), site.place(ON_NAS)) == ([NEW], NEW)
    assert site.lease(ON_NAS)[1:] == ("running", NEW) and site.lease(LOCAL)[1:] == ("running", OLD)
    again = site.rocks(f"evacuate host {OLD} reason=broken to={NEW}", 120)
    assert again.exit_status == 1 and ON_NAS not in again.error_text + again.text
    site.revive()
    site.done(f"stop host vm {LOCAL}")
    assert site.running(ON_NAS) == [NEW]
