"""A machine runs at most once: two starters, two hosts, a host that vanished and comes back (decision 3)."""

import sys

import pytest

from rocks.core.process import run_checked
from tests.system.vms.site import CHECKOUT, ThreeMachines
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


@pytest.mark.slow
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


def test_a_machine_of_a_host_without_space_for_leases_is_stopped(site: ThreeMachines) -> None:
    """The message named force before, though the host answered."""
    vm = site.add_vm("full", "vmh1")
    host, folder = site.machines["vmh1"], "/var/lib/rocks/leases"
    mount = "mkdir -p $1 && mount -t tmpfs -o size=1m,mode=700 none /mnt && cp -a $1/. /mnt && mount --move /mnt $1"
    host.run_checked(["sh", "-ec", mount, "sh", folder], 60)
    try:
        site.done(f"start host vm {vm}")
        fill = "dd if=/dev/zero of=$1/filler bs=4k 2>/dev/null; ! echo x >$1/more"
        host.run_checked(["sh", "-c", fill, "sh", folder], 60)
        refused = site.rocks("start host vm " + site.add_vm("another", "vmh1"))
        assert "No space left on device" in refused.error_text and "host-off" not in refused.error_text
        site.done(f"stop host vm {vm}")
        assert site.running(vm) == [] and site.lease(vm)[1] == "released"
        token = int(host.run_checked(["cat", f"{folder}/{vm}"], 60).text)
        assert token == site.lease(vm)[0] + 1
    finally:
        host.run_checked(["sh", "-c", f"rm -f {folder}/filler; umount {folder}"], 60)


def test_a_lease_without_space_is_rewritten_in_place() -> None:
    """Also where the number gets longer; one that was never stored is not."""
    script = f"""
import errno, sys
sys.path.insert(0, {str(CHECKOUT / "src")!r})
from pathlib import Path
from rocks.core.errors import HostError
from rocks.leases.host.leases import Leases
folder = Path("/mnt")
leases = Leases(folder)
leases.admit("a", 8)
try:
    with (folder / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass
except OSError as error:
    assert error.errno == errno.ENOSPC
for token in (8, 9, 10, 99, 999):
    leases.end("a", token)
    print(leases.remembered("a"), (folder / "leases/a").read_bytes())
try:
    leases.end("b", 1)
except HostError as error:
    print("No space left" in str(error))
"""
    command = f'mount -t tmpfs -o size=128k none /mnt && exec {sys.executable} -c "$1"'
    ended = run_checked(["unshare", "--mount", "--", "sh", "-ec", command, "sh", script], deadline_seconds=60)
    numbers = [9, 10, 11, 100, 1000]
    assert ended.text.splitlines() == [*(f"{number} b'{number}\\n'" for number in numbers), "True"]
