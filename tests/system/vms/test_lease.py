"""A machine runs at most once: two starters, two hosts, a host that vanished and comes back (decision 3)."""

import pytest

from tests.system.vms.site import IMAGES, ThreeMachines, wait_until


def test_two_starts_at_the_same_moment_give_one_domain(site: ThreeMachines) -> None:
    vm = site.add_vm("contested", "vmh1")
    both = [site.begin(f"start host vm {vm}") for _ in range(2)]
    ends = [one.end() for one in both]
    assert sorted(status for status, _ in ends) == [0, 1], ends
    (error,) = [text for status, text in ends if status == 1]
    assert "already running" in error or "another command is changing contested" in error
    assert site.running(vm) == ["vmh1"]
    assert site.virsh("vmh1", "list", "--name").text.split() == [vm]


def test_two_starts_at_the_same_moment_on_two_hosts_give_one_domain(site: ThreeMachines) -> None:
    vm = site.add_vm("wanted", "vmh1")
    first = site.begin(f"start host vm {vm}")
    # while the start has the machine to itself, it is refused
    wait_until(lambda: site.rocks(f"set host vm {vm} physnode=vmh2").exit_status == 0, 120)
    second = site.begin(f"start host vm {vm}")
    ends = [first.end(), second.end()]
    assert [status for status, _ in ends].count(0) <= 1, ends
    assert len(site.running(vm)) <= 1
    assert site.running(vm) == [site.lease(vm)[2]] if site.running(vm) else site.lease(vm)[1] == "released"


@pytest.fixture
def vanished(site: ThreeMachines) -> str:
    """A machine that runs on vmh1, which does not answer any more; it is to start on vmh2 from now on."""
    vm = site.started("lost", "vmh1", "disk=file:/var/lib/rocks-images/lost-disk,vda,virtio")
    site.vanish("vmh1")
    site.done(f"set host vm {vm} physnode=vmh2")
    return vm


def test_by_force_it_moves_and_the_old_domain_is_gone_at_the_first_contact(
    site: ThreeMachines, vanished: str
) -> None:
    token = site.lease(vanished)[0]
    taken = site.rocks(f"stop host vm {vanished} force=yes reason='unplugged by hand'")
    assert taken.exit_status == 0, taken.error_text
    assert "may run twice until vmh1 is reached again" in taken.error_text
    site.done(f"start host vm {vanished}")
    assert site.lease(vanished) == (token + 1, "running", "vmh2")
    assert site.running(vanished) == ["vmh1", "vmh2"], "vmh1 was not off: the message warned of it"

    site.revive()
    other = site.add_vm("other", "vmh1")
    site.done(f"list host vm {other} status=yes")
    assert site.running(vanished) == ["vmh2"]
    assert vanished not in site.domains("vmh1")
    assert site.sql("SELECT * FROM vm_fences") == []


def test_the_host_itself_refuses_a_domain_of_an_older_lease(site: ThreeMachines, vanished: str) -> None:
    xml = site.virsh("vmh1", "dumpxml", vanished).text
    site.done(f"stop host vm {vanished} force=yes reason=test")
    site.revive()
    site.add_vm("other", "vmh1")
    site.done("list host vm other status=yes")
    saved = site.machines["vmh1"].outside(IMAGES) / "old.xml"
    saved.write_text(xml)
    refusal = site.virsh("vmh1", "create", f"{IMAGES}/old.xml")
    assert refusal.exit_status != 0
    assert "has seen lease" in refusal.error_text
    assert site.running(vanished) == []
