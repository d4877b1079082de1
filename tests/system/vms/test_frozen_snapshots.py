"""Snapshots of a guest with a guest agent, by real libvirt and QEMU: frozen at that moment, and never left frozen.

The agent is played by a program of the guest, which writes to its disk when it freezes and when it thaws.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.guest import image
from rocks.core.process import run, start_with_pipes
from rocks.fleet.wire.consoles import console_log
from rocks.fleet.wire.envelope import read_reply, write_request
from rocks.fleet.wire.requests import FreezeGuest, Operation, PerformRequest, ThawGuest
from tests.system.vms.site import CHECKOUT, IMAGES, ThreeMachines
from tests.waiting import wait_until

VM, HOST = "g", "vmh1"
SECONDS = 300.0
SECTOR = 1_800_000
"""Of the disk, behind the guest's system: there the agent writes what it did last."""

DYING_AGENT = """\
#!/usr/bin/python3 -I
import os, signal, sys

sys.path.insert(0, "/opt/rocks/lib/rocks-agent.pyz")
from rocks.agent.main import main
from rocks.machine.host.libvirt.domains import Domains

Domains.begin_backup = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(main(sys.argv[1:]))
"""
"""An agent of the host that is killed between the freeze and the thaw."""


class Guest:
    """The guest, whose agent is connected."""

    def __init__(self, site: ThreeMachines) -> None:
        self.site = site
        site.add_vm(VM, HOST, "cpus=1")
        site.done(f"set host vm {VM} mem=192")
        site.done(f"set host boot {VM} action=os")
        kernel, images = (CHECKOUT / ".state/guest" / name for name in ("kernel", "images"))
        parameters = f"rocks_role=agent rocks_note={SECTOR}"
        image.make_disk(image.ensure_base_image(kernel, images), self.file(), VM, 1000**3, parameters)
        site.done(f"set host image {HOST} {IMAGES}/{VM}.vda vm={VM}")
        site.done(f"start host vm {VM}")
        ((self.uuid,),) = site.sql("SELECT UUID FROM vm_nodes")
        self.wait(lambda: "state='connected'" in site.virsh(HOST, "dumpxml", VM).text)
        self.wait(lambda: f"guest ready: name={VM}" in self.printed())

    def file(self, snapshot: str = "") -> Path:
        """Its disk, or a copy of that."""
        end = f".snapshot.{snapshot}.1-of-1" if snapshot else ""
        return self.site.machines[HOST].outside(f"{IMAGES}/{VM}.vda{end}")

    def note(self, snapshot: str = "") -> bytes:
        """What its agent did last, as the disk or the copy has it."""
        with self.file(snapshot).open("rb") as disk:
            disk.seek(SECTOR * 512)
            return disk.read(8).strip(b" \0")

    def printed(self) -> str:
        return self.site.machines[HOST].outside(console_log(self.uuid)).read_text(errors="replace")

    def type(self, line: str, answer: str) -> None:
        """Type a line at the guest's shell, and wait for what it prints."""
        terminal = self.site.virsh(HOST, "ttyconsole", VM).text.strip()
        typist = start_with_pipes(self.site.machines[HOST].command(["/bin/sh", "-c", f"cat >{terminal}"]))
        typist.stdin.write(f"{line}\n".encode())
        typist.stdin.flush()
        self.wait(lambda: answer in self.printed())
        typist.stdin.close()
        typist.wait(60)

    def consistent(self) -> dict[str, str]:
        """Snapshot → the column of the list."""
        line = f"list host vm snapshot {VM} output-header=no output-col=snapshot,consistent"
        return {row.split()[-2]: row.split()[-1] for row in self.site.done(line).splitlines()}

    def token(self) -> int:
        ((found,),) = self.site.sql(f"SELECT Token FROM vm_leases WHERE Name = '{VM}'")
        return int(found)

    def perform(self, operation: Operation) -> str:
        """The error of an operation of the host's agent, empty for none."""
        request = PerformRequest((operation,))
        command = self.site.machines[HOST].command(["/opt/rocks/libexec/rocks-agent"])
        answer = run(command, deadline_seconds=SECONDS, standard_input=write_request(request))
        error = read_reply(answer.output, request).outcomes[0].error
        return "" if error is None else error.message

    def wait(self, condition: Callable[[], object]) -> None:
        with contextlib.suppress(AssertionError):
            wait_until(condition, seconds=SECONDS)
        assert condition(), self.printed()[-2000:]


@pytest.fixture
def guest(site: ThreeMachines) -> Iterator[Guest]:
    if not (CHECKOUT / ".state/guest/kernel/complete").exists():
        pytest.skip("the guest's kernel is not there; run `make setup`")
    yield Guest(site)
    folder = site.machines[HOST].outside("/opt/rocks/libexec")
    if (folder / "real-agent").exists():
        (folder / "real-agent").replace(folder / "rocks-agent")


def test_the_copy_is_of_a_frozen_moment_and_the_guest_goes_on(guest: Guest) -> None:
    """Also when the agent of the host is killed between freeze and thaw, and when the guest's agent hangs."""
    site = guest.site
    ended = site.rocks(f"add host vm snapshot {VM} monday", SECONDS)
    assert (ended.exit_status, ended.error_text) == (
        0,
        f"the file systems of {VM} were frozen at that moment",
    )
    assert (guest.note("monday"), guest.note()) == (b"frozen", b"thawed")
    assert guest.consistent() == {"monday": "yes"}

    folder = site.machines[HOST].outside("/opt/rocks/libexec")
    (folder / "rocks-agent").rename(folder / "real-agent")
    (folder / "rocks-agent").write_text(DYING_AGENT)
    (folder / "rocks-agent").chmod(0o755)
    before = guest.printed().count("init: agent: thawed")
    assert site.rocks(f"add host vm snapshot {VM} killed", SECONDS).exit_status == 1
    guest.wait(lambda: guest.printed().count("init: agent: thawed") == before + 1)
    assert guest.note() == b"thawed"
    (folder / "real-agent").replace(folder / "rocks-agent")
    assert guest.consistent() == {"monday": "yes"}
    assert site.rocks(f"add host vm snapshot {VM} killed", SECONDS).exit_status == 0
    assert guest.consistent() == {"killed": "yes", "monday": "yes"}

    # a freeze that lasts from one request of the frontend to the next, and is over only once
    assert guest.perform(FreezeGuest(VM, guest.token())) == ""
    guest.wait(lambda: guest.note() == b"frozen")
    assert guest.perform(ThawGuest(VM, guest.token())) == ""
    guest.wait(lambda: guest.note() == b"thawed")
    assert "were thawed before" in guest.perform(ThawGuest(VM, guest.token()))

    guest.type("touch /hang; echo is=hanging", "is=hanging")
    before = guest.printed().count("init: agent: thawed")
    ended = site.rocks(f"add host vm snapshot {VM} hung", SECONDS)
    assert ended.exit_status == 0, ended.error_text
    assert (
        f"the file systems of {VM} were not frozen, so the copy is as after a power cut" in ended.error_text
    )
    assert "this host goes on thawing them" in ended.error_text
    assert guest.consistent()["hung"] == "no"
    guest.type("rm /hang; echo is=answering", "is=answering")
    guest.wait(lambda: guest.printed().count("init: agent: thawed") == before + 1)
    assert guest.note() == b"thawed", "it froze later than it was waited for"

    site.done(f"stop host vm {VM}")
    site.done(f"add host vm snapshot {VM} cold")
    assert guest.consistent()["cold"] == "off"
