"""A machine runs at most once: two starters, two hosts, a host that vanished and comes back (decision 3)."""

from tests.system.vms.site import ThreeMachines
from tests.waiting import wait_until


def test_two_starts_at_the_same_moment_on_two_hosts_give_one_domain(site: ThreeMachines) -> None:
    vm = site.add_vm("wanted", "vmh1")
    first = site.begin(f"start host vm {vm}")
    # while the start has the machine to itself, it is refused
    wait_until(lambda: site.rocks(f"set host vm {vm} physnode=vmh2").exit_status == 0, seconds=120)
    second = site.begin(f"start host vm {vm}")
    ends = [first.end(), second.end()]
    assert [status for status, _ in ends].count(0) <= 1, ends
    assert len(site.running(vm)) <= 1
    assert site.running(vm) == [site.lease(vm)[2]] if site.running(vm) else site.lease(vm)[1] == "released"


def test_by_force_it_moves_and_the_old_domain_is_gone_at_the_first_contact(site: ThreeMachines) -> None:
    vm = site.started("lost", "vmh1", "disk=file:/var/lib/rocks-images/lost-disk,vda,virtio")
    site.vanish("vmh1")
    site.done(f"set host vm {vm} physnode=vmh2")
    token = site.lease(vm)[0]
    taken = site.rocks(f"stop host vm {vm} force=yes reason='unplugged by hand'")
    assert taken.exit_status == 0, taken.error_text
    assert "may run twice until vmh1 is reached again" in taken.error_text
    site.done(f"start host vm {vm}")
    assert site.lease(vm) == (token + 1, "running", "vmh2")
    assert site.running(vm) == ["vmh1", "vmh2"], "vmh1 was not off: the message warned of it"

    site.revive()
    other = site.add_vm("other", "vmh1")
    site.done(f"list host vm {other} status=yes")
    assert site.running(vm) == ["vmh2"]
    assert vm not in site.domains("vmh1")
    assert site.sql("SELECT * FROM vm_fences") == []
