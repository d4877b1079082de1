"""`rocks move host vm live=yes`: a machine moves to another host while it runs, on real hosts with a real QEMU."""

import contextlib
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt  # noqa: TID251 - past the system
import pytest

from lab.processes import command_name
from rocks.fleet.wire.consoles import console_log
from tests.system.vms.guest import Guest
from tests.system.vms.site import HOSTS, IMAGES, ThreeMachines
from tests.waiting import wait_until

OLD, NEW = HOSTS
VM = "g"
MOVE = f"move host vm {VM} {NEW} live=yes"
SECONDS = 300.0
COUNT = (
    "(i=0; while :; do i=$((i+1)); echo $i >/counter; m=$m.; echo count=$i memory=${#m}; usleep 50000; done) & "
    "echo begun=yes"
)


def running(site: ThreeMachines) -> list[str]:
    """The hosts on which the guest's CPUs run, by libvirt."""
    return [host for host in HOSTS if VM in site.domains(host, libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING)]


class Counter(Guest):
    """A machine whose guest counts: in memory, on its disk and on its console; no number may be missing, or twice."""

    def __init__(self, site: ThreeMachines) -> None:
        super().__init__(site, VM, OLD)
        self.before: list[str] = []
        self.type(COUNT, "count=1 ")
        wait_until(lambda: self.last() > 10, "the guest does not count", SECONDS)

    def keep_log(self, host: str) -> None:
        """Keep what the guest printed there: QEMU begins the log anew when the guest comes back."""
        self.before.append(self.printed(host))
        self.site.machines[host].outside(console_log(self.uuid)).unlink(missing_ok=True)

    def numbers(self) -> list[int]:
        """All that was counted, on both hosts."""
        pattern = re.compile(r"count=(\d+) memory=(\d+)\r?\n")
        printed = [*self.before, *(self.printed(host) for host in HOSTS)]
        found = [match for text in printed for match in pattern.findall(text)]
        assert all(count == memory for count, memory in found)
        return [int(count) for count, _ in found]

    def last(self) -> int:
        """The highest number."""
        return max(self.numbers(), default=0)

    def counts_on(self, report: object = "") -> None:
        """The guest goes on, on one host, and has lost nothing; the report belongs to the error."""
        assert len(running(self.site)) == 1
        before = self.last()
        wait_until(
            lambda: self.last() > before + 5,
            lambda: f"the guest does not count any more: {report}; {self.state()}",
            SECONDS,
        )
        numbers = sorted(self.numbers())
        assert len(numbers) == len(set(numbers)), "a number was counted twice"
        missing = sorted(set(range(1, numbers[-1])) - set(numbers))
        # the line that the guest was printing while it moved is in two logs, a part in each
        assert len(missing) <= len(self.before) + 1, f"numbers are missing: {missing}"

    def state(self) -> str:
        """What QEMU reports of the guest's processor and disk, where it runs."""
        (host,) = running(self.site)
        asked = [
            self.site.virsh(host, "qemu-monitor-command", "--hmp", VM, question).text
            for question in ("info status", "info registers", "info blockstats", "info block-jobs")
        ]
        return "\n".join(asked)


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
    token, _, _ = site.lease(VM)
    assert (
        f"{VM} runs on {NEW} now\nthe old copy of {VM} on {OLD} is removed\n"
        in site.rocks(MOVE, SECONDS).text
    )
    assert site.running(VM) == [NEW] and site.place(VM) == NEW
    assert VM not in site.domains(OLD)
    new_token, state, host = site.lease(VM)
    assert new_token > token and (state, host) == ("running", NEW)
    assert site.sql("SELECT * FROM vm_disk_copies") == [] and site.sql("SELECT * FROM vm_fences") == []
    assert site.sql("SELECT Host, Path FROM vm_lease_disks") == [[NEW, f"{IMAGES}/{VM}.vda"]]
    assert not site.machines[OLD].outside(f"{IMAGES}/{VM}.vda").exists()
    assert f"{VM} is on {NEW} already" in site.refused(MOVE)
    site.done(f"pause host vm {VM}")
    site.done(f"resume host vm {VM}")
    site.done(f"stop host vm {VM}")
    site.done(f"start host vm {VM}")
    assert site.running(VM) == [NEW]


def moments(site: ThreeMachines, target: str) -> dict[str, Callable[[], object]]:
    """What can be seen of a live migration to this host, in the order in which it happens."""
    machine = site.machines[target]
    return {
        "the lease is renewed": lambda: site.lease(VM)[1] == "moving",
        "the sockets are there": lambda: list(machine.outside("/run/libvirt").glob("rocks-live-*")),
        "the copy begins": lambda: machine.outside(f"{IMAGES}/{VM}.vda").exists(),
        "QEMU waits for the memory": lambda: VM in site.domains(target),
        "the disk arrives": lambda: (
            (path := machine.outside(f"{IMAGES}/{VM}.vda")).exists() and path.stat().st_blocks > 20000
        ),
        "it runs there": lambda: running(site) == [target],
        "it is recorded there": lambda: site.place(VM) == target,
    }


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


def agents(site: ThreeMachines, host: str, end: str) -> list[int]:
    """The process numbers of the agents of a live migration on a host, as this machine sees them."""
    found = []
    for number in site.machines[host].members_by_number().values():
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{number.process_id}/cmdline").read_bytes().split(b"\0")
            if b"live-" + end.encode() in line and b"sh" not in line[0].rpartition(b"/")[2][:4]:
                found.append(number.process_id)
    return found


def sessions(site: ThreeMachines, host: str) -> list[int]:
    """The SSH sessions on a host."""
    members = site.machines[host].members_by_number().values()
    return [one.process_id for one in members if command_name(one.process_id).startswith("sshd")]


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
    ended = site.rocks(MOVE, SECONDS)
    assert ended.exit_status == 0, ended.error_text
    site.done(f"remove host attr {NEW} vm_image_directory")
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


DRAIN = f"drain host {OLD} to={NEW} live=yes"


def is_there_once(site: ThreeMachines) -> None:
    """The machine runs on the new host, and nothing of it is left on the old one."""
    assert running(site) == [NEW] and site.lease(VM)[1:] == ("running", NEW) and site.place(VM) == NEW
    assert VM not in site.domains(OLD) and not site.machines[OLD].outside(f"{IMAGES}/{VM}.vda").exists()
    assert site.sql("SELECT * FROM vm_disk_copies") == [] and site.sql("SELECT * FROM vm_fences") == []


def test_a_drain_and_a_move_at_once(site: ThreeMachines) -> None:
    """One of them moves the machine; the other one is refused or finds it moved, and never stops it."""
    site.started(VM, OLD)
    known = ("another command is changing g at this moment", f"{VM} is on {NEW} already")
    for first, second in ((MOVE, DRAIN), (DRAIN, MOVE)):
        for moment in ("at once", "the lease is renewed", "QEMU waits for the memory"):
            commands = [site.begin(first)]
            if moment != "at once":
                wait_until(moments(site, NEW)[moment], seconds=SECONDS)
            commands.append(site.begin(second))
            results = [command.end(SECONDS) for command in commands]
            assert 0 in [status for status, _ in results], results
            for status, error in results:
                assert status == 0 or any(text in error for text in known), results
                assert "is stopped" not in error, results
            is_there_once(site)
            assert f"{VM} runs on {OLD} now" in site.rocks(f"move host vm {VM} {OLD} live=yes", SECONDS).text


def test_a_drain_that_was_killed_is_repeated(site: ThreeMachines) -> None:
    """It ends the move that it had begun."""
    site.started(VM, OLD)
    command = site.begin(DRAIN)
    wait_until(moments(site, NEW)["the copy begins"], seconds=SECONDS)
    command.kill()
    ended = site.rocks(DRAIN, SECONDS)
    assert ended.exit_status == 0, ended.error_text
    is_there_once(site)


@pytest.fixture
def on_vlan(site: ThreeMachines) -> Iterator[ThreeMachines]:
    """The machine is on a VLAN that both hosts have for themselves, and runs."""
    for host in HOSTS:
        site.done(f"set host attr {host} vlan_transport local")
    site.done(f"add host interface {OLD} vlan7 subnet=private vlan=7")
    site.started(VM, OLD, "vlan=7")
    yield site
    site.clean()
    for host in HOSTS:
        site.rocks(f"remove host interface {host} vlan7")
        site.done(f"remove host attr {host} vlan_transport")


def devices(site: ThreeMachines) -> list[str]:
    """The network devices of the hosts, which they share here."""
    return [name for _, name in site.machines["head"].in_network(socket.if_nameindex)]


def interrupted_after_the_switch(site: ThreeMachines) -> None:
    """A move whose command is killed when the guest runs on the new host alone, which it could not record."""
    command = site.begin(MOVE)
    wait_until(lambda: site.lease(VM)[1:] == ("moving", OLD), seconds=SECONDS)
    with site.connect() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT Name FROM vm_leases WHERE Name = '{VM}' FOR UPDATE")
        wait_until(lambda: running(site) == [NEW] and VM not in site.domains(OLD), seconds=SECONDS)
        command.kill()
    assert site.lease(VM)[1:] == ("moving", OLD)


def test_a_machine_is_not_moved_away_from_its_vlan(on_vlan: ThreeMachines) -> None:
    """The VLANs of the new host are its own, and another machine of this one stays on the old host."""
    site = on_vlan
    site.add_vm("mate", OLD, "vlan=7")
    refused = site.refused(MOVE)
    assert f"{VM} is not moved: VLANs of {NEW} are local" in refused
    assert f"VLAN 7 also has machines on {OLD}" in refused
    assert running(site) == [OLD] and site.lease(VM)[1:] == ("running", OLD)


def test_the_network_devices_of_what_arrives_stay(on_vlan: ThreeMachines) -> None:
    """Whatever synchronises the new host: while QEMU waits there, and after the guest has ended, unrecorded."""
    site = on_vlan
    names = {OLD: f"{site.bridges[OLD]}.7", NEW: f"{site.bridges[NEW]}.7"}
    assert names[OLD] in devices(site) and names[NEW] not in devices(site)
    command = site.begin(MOVE)
    wait_until(moments(site, NEW)["QEMU waits for the memory"], seconds=SECONDS)
    assert "removed" not in site.done(f"sync host vlan {NEW}")
    status, error = command.end(SECONDS)
    assert status == 0, error
    is_there_once(site)
    assert names[NEW] in devices(site) and names[OLD] not in devices(site)
    assert f"{VM} runs on {OLD} now" in site.rocks(f"move host vm {VM} {OLD} live=yes", SECONDS).text
    interrupted_after_the_switch(site)
    site.virsh(NEW, "destroy", VM)
    assert f"{names[NEW]} removed" not in site.done(f"sync host vlan {NEW}")
    assert names[NEW] in devices(site)
    assert "is off there by now" in site.rocks(MOVE, SECONDS).text
    site.done(f"start host vm {VM}")
    assert running(site) == [NEW]
