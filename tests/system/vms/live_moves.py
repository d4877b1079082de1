"""A machine that moves while it runs: what it counts, and the moments of a move."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import libvirt  # noqa: TID251 - past the system

from lab.processes import command_name
from rocks.fleet.wire.requests import console_log
from tests.system.vms.guest import Guest
from tests.system.vms.site import HOSTS, IMAGES, ThreeMachines
from tests.waiting import wait_until

OLD, NEW = HOSTS
VM = "g"
MOVE = f"move host vm {VM} {NEW} live=yes"
DRAIN = f"drain host {OLD} to={NEW} live=yes"
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


def is_there_once(site: ThreeMachines) -> None:
    """The machine runs on the new host, and nothing of it is left on the old one."""
    assert running(site) == [NEW] and site.lease(VM)[1:] == ("running", NEW) and site.place(VM) == NEW
    assert VM not in site.domains(OLD) and not site.machines[OLD].outside(f"{IMAGES}/{VM}.vda").exists()
    assert site.sql("SELECT * FROM vm_disk_copies") == [] and site.sql("SELECT * FROM vm_fences") == []


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
