"""`rocks move host vm live=yes`: a machine moves to another host while it runs, on real hosts with a real QEMU."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from rocks.fleet.wire.live_moves import moving_path
from rocks.machine.host import files
from tests.system.vms.live_moves import (
    DRAIN,
    MOVE,
    NEW,
    OLD,
    SECONDS,
    VM,
    Counter,
    agents,
    interrupted_after_the_switch,
    moments,
    running,
    sessions,
)
from tests.system.vms.site import IMAGES, ThreeMachines
from tests.waiting import wait_until


@pytest.fixture
def counter(site: ThreeMachines) -> Iterator[Counter]:
    yield Counter(site)
    site.revive()


def test_a_running_machine_moves(site: ThreeMachines) -> None:
    """It is on the new host with its disk, its lease and the fence of the old one; the old host has nothing of it."""
    site.add_vm(VM, OLD)
    assert "by its lease it is off; a machine that is off moves without live=yes" in site.refused(MOVE)
    site.done(f"start host vm {VM}")
    assert f"{NEW}: would receive {VM} from {OLD}" in site.rocks(f"{MOVE} dry-run=yes").text
    site.done(f"set host attr {VM} vm_ipv6 2001:db8::9")
    token, _, _ = site.lease(VM)
    ((uuid,),) = site.sql("SELECT UUID FROM vm_nodes")
    incomplete = site.machines[NEW].outside(moving_path(f"{IMAGES}/{VM}.vda"))
    incomplete.touch()  # of an interrupted move of the stopped machine
    os.setxattr(incomplete, files.ATTRIBUTE, uuid.encode())
    assert (
        f"{VM} runs on {NEW} now\nthe old copy of {VM} on {OLD} is removed\n"
        in site.rocks(MOVE, SECONDS).text
    )
    assert site.running(VM) == [NEW] and site.place(VM) == NEW
    assert VM not in site.domains(OLD)
    for options in ((), ("--inactive",)):  # its packet filter is that of the record
        assert 'ipv6="2001:db8::9"' in site.virsh(NEW, "dumpxml", *options, VM).text
    new_token, state, host = site.lease(VM)
    assert new_token > token and (state, host) == ("running", NEW)
    assert site.sql("SELECT * FROM vm_disk_copies") == [] and site.sql("SELECT * FROM vm_fences") == []
    assert site.sql("SELECT Host, Path FROM vm_lease_disks") == [[NEW, f"{IMAGES}/{VM}.vda"]]
    assert not site.machines[OLD].outside(f"{IMAGES}/{VM}.vda").exists() and not incomplete.exists()
    assert f"{VM} is on {NEW} already" in site.refused(MOVE)
    site.done(f"pause host vm {VM}")
    site.done(f"resume host vm {VM}")
    site.done(f"stop host vm {VM}")
    site.done(f"start host vm {VM}")
    assert site.running(VM) == [NEW]


def test_a_guest_that_counts_loses_nothing_whatever_is_killed(counter: Counter) -> None:
    """The command is killed by kill -9 at each moment; the same command then ends the move, and the guest counts on."""
    site, here, target = counter.site, OLD, NEW
    assert f"{VM} runs on {NEW} now" in site.rocks(MOVE, SECONDS).text
    here, target = NEW, OLD
    counter.counts_on()
    report = []
    for moment in moments(site, target):
        move = f"move host vm {VM} {target} live=yes"
        counter.keep_log(target)
        command = site.begin(move)
        reached = moments(site, target)[moment]
        wait_until(lambda reached=reached: reached(), seconds=SECONDS)
        command.kill()
        assert len(running(site)) <= 1
        refused = site.rocks(f"stop host vm {VM} dry-run=yes").error_text
        state = site.lease(VM)[1]
        assert (f"{VM} was moving from" in refused) == (state == "moving") or "changing" in refused, refused
        ended = site.rocks(move, SECONDS)
        report.append((moment, state, ended.exit_status, (ended.text + ended.error_text).strip()))
        assert ended.exit_status == 0 or f"{VM} is on {target} already" in ended.error_text, report
        assert site.lease(VM)[1:] == ("running", target) and site.place(VM) == target
        counter.counts_on()
        assert running(site) == [target]
        assert not site.machines[here].outside(f"{IMAGES}/{VM}.vda").exists()
        here, target = target, here


def test_an_end_that_dies_or_is_cut_off_leaves_the_machine_where_it_was_or_there(counter: Counter) -> None:
    """Killed agents, a broken connection, a full disk, a target that refuses, two moves at once."""
    site = counter.site
    target, report = NEW, []
    for fault in ("the old agent", "the new agent", "both connections", "the new agent early"):
        counter.keep_log(target)
        here = OLD if target == NEW else NEW
        move = f"move host vm {VM} {target} live=yes"
        moment = "QEMU waits for the memory" if fault == "the new agent early" else "the disk arrives"
        command = site.begin(move)
        wait_until(lambda target=target, moment=moment: moments(site, target)[moment](), seconds=SECONDS)
        victims = {
            "the old agent": lambda here=here, target=target: agents(site, here, "leave"),
            "the new agent": lambda here=here, target=target: agents(site, target, "arrive"),
            "both connections": lambda here=here, target=target: [
                *sessions(site, here),
                *sessions(site, target),
            ],
            "the new agent early": lambda here=here, target=target: agents(site, target, "arrive"),
        }[fault]()
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        status, error = command.end(SECONDS)
        report.append((fault, len(victims), status, error.strip()))
        site.revive()
        if site.lease(VM)[1] == "moving" or site.place(VM) == here:
            assert "Traceback" not in error and status == 1, report
            again = site.rocks(move, SECONDS)
            report.append((fault, again.exit_status, (again.text + again.error_text).strip()))
            assert again.exit_status == 0, report
        assert site.lease(VM)[1:] == ("running", target) and running(site) == [target], report
        counter.counts_on(report)
        target = here


def test_a_target_that_cannot_take_it_leaves_it_running(counter: Counter) -> None:
    """What is short is reported, the machine runs on, and nothing of it stays on the target."""
    site = counter.site

    def stays(text: str) -> None:
        refused = site.rocks(MOVE, SECONDS)
        assert refused.exit_status == 1 and text in refused.error_text, refused.error_text
        assert running(site) == [OLD] and VM not in site.domains(NEW)
        assert site.lease(VM)[1:] == ("running", OLD) and site.place(VM) == OLD
        assert site.sql("SELECT Host FROM vm_lease_disks") == [[OLD]]

    site.done(f"set host attr {NEW} vm_memory_reserve 100000000")
    stays("of memory, and vmh2 has 0 MB left")
    site.done(f"remove host attr {NEW} vm_memory_reserve")
    site.sql("UPDATE networks SET Device = 'nowhere0' WHERE Device = 'rtprvb0'")
    stays("nowhere0")
    assert not site.machines[NEW].outside(f"{IMAGES}/{VM}.vda").exists()
    site.sql("UPDATE networks SET Device = 'rtprvb0' WHERE Device = 'nowhere0'")
    site.vanish(NEW)
    stays(f"{VM} is not moved: ")
    site.revive()
    site.machines[NEW].outside(f"{IMAGES}/{VM}.vda").write_bytes(b"somebody's")
    stays("that is no copy of a move")
    site.machines[NEW].outside(f"{IMAGES}/{VM}.vda").unlink()
    site.put_on_nas(VM, "head")
    stays("is on a NAS from its next start on; stop it")
    site.sql("DELETE FROM img_nas_server")
    site.done(f"set host attr {VM} kvm_cpu_pinning none")
    first, second = site.begin(MOVE), site.begin(MOVE)
    results = [one.end(SECONDS) for one in (first, second)]
    assert sorted(status for status, _ in results) == [0, 1], results
    assert "another command is changing" in results[0][1] + results[1][1]
    assert running(site) == [NEW]
    counter.counts_on()


def test_what_has_arrived_stays_though_it_ended_before_it_was_recorded(site: ThreeMachines) -> None:
    """The command is killed after the switch, and the guest ends: its disk on the new host is the only current one."""
    site.started(VM, OLD)
    interrupted_after_the_switch(site)
    site.virsh(NEW, "destroy", VM)
    disk = site.machines[NEW].outside(f"{IMAGES}/{VM}.vda")
    number = disk.stat().st_ino
    site.done(f"set host attr {NEW} vm_image_directory /elsewhere")  # the next move would go there
    site.done(f"set host attr {NEW} kvm false")  # and no further machine
    ended = site.rocks(MOVE, SECONDS)
    assert ended.exit_status == 0, ended.error_text
    site.done(f"remove host attr {NEW} vm_image_directory")
    site.done(f"set host attr {NEW} kvm true")
    assert site.sql("SELECT Host, Path FROM vm_lease_disks") == [[NEW, f"{IMAGES}/{VM}.vda"]]
    assert f"{VM} was moved to {NEW}, and is off there by now: rocks start host vm {VM}" in ended.text
    assert site.place(VM) == NEW and site.lease(VM)[2] == NEW and disk.stat().st_ino == number
    site.done(f"start host vm {VM}")
    assert site.running(VM) == [NEW] and disk.stat().st_ino == number
    assert "is removed" in site.done(f"move host vm {VM} {NEW}")
    assert not site.machines[OLD].outside(f"{IMAGES}/{VM}.vda").exists()


def test_a_full_disk_or_a_silent_network_leaves_it_running(counter: Counter) -> None:
    """The file system of the target is full while the disk arrives; then its connection is silent, not closed."""
    site, machine = counter.site, counter.site.machines[NEW]
    machine.run_checked(["/usr/bin/mount", "-t", "tmpfs", "-o", "size=4g,mode=0711", "tmpfs", IMAGES], 30)
    try:
        command = site.begin(MOVE)
        wait_until(lambda: VM in site.domains(NEW), seconds=SECONDS)
        machine.run_checked(["/usr/bin/mount", "-o", "remount,size=8m", IMAGES], 30)
        status, error = command.end(SECONDS)
        assert status == 1 and f"; it runs on {OLD}" in error, error
    finally:
        machine.run_checked(["/usr/bin/umount", "-l", IMAGES], 30)
    counter.counts_on()
    assert running(site) == [OLD] and VM not in site.domains(NEW)
    assert site.lease(VM)[1:] == ("running", OLD)
    command = site.begin(MOVE)
    wait_until(moments(site, NEW)["the copy begins"], seconds=SECONDS)
    stopped = [one for one in sessions(site, NEW) if one != machine.daemon("sshd").process_id]
    for one in stopped:
        os.kill(one, signal.SIGSTOP)
    status, error = command.end(SECONDS)
    for one in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGCONT)
    assert status == 1 and "Traceback" not in error, error
    assert running(site) == [OLD]
    assert f"{VM} runs on {NEW} now" in site.rocks(MOVE, SECONDS).text
    counter.counts_on()


def test_a_move_whose_target_is_off_for_certain_is_given_up_by_force(site: ThreeMachines) -> None:
    """Other commands are refused until then; the target gets a fence, and destroys what it has when it returns."""
    site.started(VM, OLD)
    command = site.begin(MOVE)
    wait_until(moments(site, NEW)["the copy begins"], seconds=SECONDS)
    command.kill()
    if site.lease(VM)[1] != "moving":
        pytest.skip("the move was faster than the kill")
    assert "moving" in site.done(f"list host vm {VM} status=yes")
    for line in (
        f"start host vm {VM}",
        f"stop host vm {VM}",
        f"move host vm {VM} {NEW}",
        f"remove host {VM}",
    ):
        assert f"{VM} was moving from {OLD} to {NEW}" in site.refused(line)
    assert f"{VM} was moving from {OLD} to {NEW}" in site.refused(f"stop host vm {VM} force=yes reason=gone")
    for line in (MOVE, DRAIN):
        tried = site.rocks(f"{line} dry-run=yes", SECONDS)
        assert tried.exit_status == 0, tried.error_text
        assert f"{NEW}: would end the migration of {VM} to this host\n" in tried.text
        assert f"{NEW}: would receive {VM}, while it runs\n" in tried.text
    assert site.lease(VM)[1] == "moving"
    site.vanish(NEW)
    tried = site.rocks(f"stop host vm {VM} force=yes reason=gone dry-run=yes", SECONDS)
    assert tried.exit_status == 0 and "since it left" not in tried.text + tried.error_text, tried.error_text
    assert site.lease(VM)[1] == "moving"
    ended = site.rocks(f"stop host vm {VM} force=yes reason=gone", SECONDS)
    assert ended.exit_status == 0, ended.error_text
    assert site.lease(VM)[1] == "released" and running(site) == []
    assert site.sql("SELECT Host, Name FROM vm_fences") == [[NEW, VM]]
    site.revive()
    site.done("list host vm status=yes")
    wait_until(lambda: VM not in site.domains(NEW), seconds=SECONDS)
    site.done(f"start host vm {VM}")
    assert running(site) == [OLD]
