"""Snapshots of a guest with a guest agent, by real libvirt and QEMU: frozen at that moment, and never left frozen.

The agent is played by a program of the guest, which writes to its disk when it freezes and when it thaws.
"""

import pytest

from rocks.core.process import run
from rocks.fleet.wire.calls import read_reply, write_request
from rocks.fleet.wire.requests import FreezeGuest, Operation, PerformRequest, ThawGuest
from tests.system.vms.agents import hurried_agent, replaced_agent
from tests.system.vms.guest import Guest
from tests.system.vms.site import ThreeMachines

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


class FrozenGuest(Guest):
    """The guest, whose agent is connected."""

    def __init__(self, site: ThreeMachines) -> None:
        super().__init__(site, VM, HOST, parameters=f"rocks_role=agent rocks_note={SECTOR}")
        self.wait(lambda: "state='connected'" in site.virsh(HOST, "dumpxml", VM).text)

    def note(self, snapshot: str = "") -> bytes:
        """What its agent did last, as the disk or the copy has it."""
        with self.disk(f".snapshot.{snapshot}.1-of-1" if snapshot else "").open("rb") as disk:
            disk.seek(SECTOR * 512)
            return disk.read(8).strip(b" \0")

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


@pytest.fixture
def guest(site: ThreeMachines) -> FrozenGuest:
    return FrozenGuest(site)


def test_the_copy_is_of_a_frozen_moment_and_the_guest_goes_on(guest: FrozenGuest) -> None:
    """Also when the agent of the host is killed between freeze and thaw, and when the guest's agent hangs."""
    site = guest.site
    ended = site.rocks(f"add host vm snapshot {VM} monday", SECONDS)
    assert (ended.exit_status, ended.error_text) == (
        0,
        f"the file systems of {VM} were frozen at that moment",
    )
    assert (guest.note("monday"), guest.note()) == (b"frozen", b"thawed")
    assert guest.consistent() == {"monday": "yes"}

    before = guest.printed().count("init: agent: thawed")
    with replaced_agent(site, HOST, DYING_AGENT):
        assert site.rocks(f"add host vm snapshot {VM} killed", SECONDS).exit_status == 1
        guest.wait(lambda: guest.printed().count("init: agent: thawed") == before + 1)
    assert guest.note() == b"thawed"
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
    with replaced_agent(site, HOST, hurried_agent("libvirt.domains", "AGENT_SECONDS")):
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
