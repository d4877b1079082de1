"""A complete real host: sshd, the installed agent, libvirt with its hook, QEMU, a bridge."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import pytest

from lab.namespace import IMAGE_FOLDER, Machine
from lab.sshd import SshServer
from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import RocksError, ToolError
from rocks.core.process import start_with_pipes
from rocks.fleet.fleet import Fleet, FleetSettings, HostAddress
from rocks.fleet.wire.calls import AGENT_PROGRAM, write_request
from rocks.fleet.wire.codec import Reply, Request
from rocks.fleet.wire.facts import ConsoleFact, ConsoleRequest, DomainState, FactsRequest, Fence
from rocks.fleet.wire.requests import (
    DiskSpec,
    LinkSpec,
    OperationOutcome,
    PauseDomain,
    PerformRequest,
    ResumeDomain,
    StartDomain,
    StopDomain,
)
from tests.contract.ssh_hosts import known_host
from tests.patience import patience
from tests.waiting import at_once

pytestmark = pytest.mark.system

NAME = "vm-real-0"
IMAGE = f"{IMAGE_FOLDER}/kvm/{NAME}.vda"
LINK = LinkSpec("rcontract0.7", "local_bridge", None, 7)

# as the frontend writes it: KVM, the host's CPU, and the emulator's path of another distribution; packet filters are
# the lab's, for the carrying machine's kernel may have none
XML = """<domain type='kvm'>
  <name>{name}</name>
  <metadata><rocks:lease xmlns:rocks="urn:rocks:lease" token="{token}">
    <rocks:network filter="off"/></rocks:lease></metadata>
  <memory>65536</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type><boot dev='hd'/></os>
  <cpu mode='host-passthrough'/>
  <devices>
    <emulator>/usr/libexec/another-qemu-kvm</emulator>
    <interface type='direct'><source dev='{device}' mode='bridge'/><model type='virtio'/></interface>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='{image}'/><target dev='vda' bus='virtio'/>
    </disk>
    <serial type='pty'/>
  </devices>
</domain>"""


class FarHost:
    """The machine behind its sshd."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def ask(self, request: Request[Reply]) -> Reply:
        ((_, answer),) = self._fleet.ask_each({"far": request})
        if isinstance(answer, RocksError):
            raise answer
        return answer

    def perform(self, *operations: object) -> list[OperationOutcome]:
        return list(self.ask(PerformRequest(operations)).outcomes)  # type: ignore[arg-type]

    def state(self) -> DomainState | None:
        return next((fact.state for fact in self.ask(FactsRequest()).domains if fact.name == NAME), None)


@pytest.fixture
def far(
    machine: Machine, libvirt_uri: str, ssh_settings: tuple[FleetSettings, SshServer]
) -> Iterator[FarHost]:
    """A complete host; the guest and its lease are removed afterwards."""
    settings, server = ssh_settings
    with Fleet([known_host(server, settings, "far")], settings) as fleet:
        made = FarHost(fleet)
        try:
            yield made
        finally:
            made.perform(StopDomain(NAME, links=(LINK,), discards_save=True))
            (machine.outside("/var/lib/rocks") / "leases" / NAME).unlink(missing_ok=True)
            (machine.outside(IMAGE_FOLDER) / "kvm" / f"{NAME}.vda").unlink(missing_ok=True)


def start(token: int) -> StartDomain:
    xml = XML.format(name=NAME, token=token, device=LINK.device, image=IMAGE)
    return StartDomain(NAME, token, xml, (DiskSpec(IMAGE, "qcow2", 1, False),), (LINK,))


@pytest.mark.slow
def test_a_guest_s_life(far: FarHost, machine: Machine) -> None:
    """Facts, start, the same again, console, pause, resume, stop; each with its documented result."""
    facts = far.ask(FactsRequest((IMAGE,), (Fence(NAME, 1),)))
    assert facts.fenced == (NAME,) and not facts.disks[0].exists
    (first,) = far.perform(start(1))
    assert (first.error, first.changed) == (None, True)
    assert first.notes and "started under emulation" in first.notes[0]
    assert far.perform(start(1)) == [OperationOutcome(NAME, False)]
    assert far.state() == "running"
    assert far.ask(ConsoleRequest(NAME)) == ConsoleFact(None, None)
    outcomes = far.perform(PauseDomain(NAME, 1), ResumeDomain(NAME, 1))
    assert [outcome.error for outcome in outcomes] == [None, None]
    (stopped,) = far.perform(StopDomain(NAME, 1, links=(LINK,)))
    assert (stopped.error, stopped.changed, stopped.notes) == (None, True, ())
    assert far.state() is None
    assert LINK.device not in machine.run(["/usr/sbin/ip", "-brief", "link"], 10).text
    assert far.ask(FactsRequest((IMAGE,))).disks[0].exists


@pytest.mark.slow
def test_two_starts_at_the_same_moment(far: FarHost, ssh_settings: tuple[FleetSettings, SshServer]) -> None:
    """By two agents: one starts the guest, the other finds it running."""
    settings, server = ssh_settings

    def begin(token: int) -> OperationOutcome:
        with Fleet([HostAddress("far", server.address, server.port)], settings) as fleet:
            (outcome,) = FarHost(fleet).perform(start(token))
            return outcome

    outcomes = at_once(begin, [2] * 3)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert sorted(outcome.changed for outcome in outcomes) == [False, False, True]


def _started_again(far: FarHost, token: int) -> OperationOutcome:
    """As the frontend does after a start that was interrupted."""
    (outcome,) = far.perform(replace(start(token), continues=True))
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.02, 0.08, 0.2, 0.35])
def test_an_agent_killed_in_the_middle_of_a_start(far: FarHost, machine: Machine, seconds: float) -> None:
    """From any point, the next start completes it, and the next stop leaves nothing."""
    process = start_with_pipes(machine.command([AGENT_PROGRAM, "--serve"]))
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(write_request(PerformRequest((start(2),))))
    process.stdin.flush()
    wait_seconds(seconds)
    process.kill()
    process.communicate()
    again, deadline = _started_again(far, 2), Deadline(patience(60))
    while again.error is not None and "try again" in again.error.message and not deadline.passed():
        again = _started_again(far, 2)  # libvirt was still at it
    assert again.error is None
    assert far.state() == "running"
    (stopped,) = far.perform(StopDomain(NAME, 2, links=(LINK,)))
    assert (stopped.error, far.state()) == (None, None)
    assert LINK.device not in machine.run(["/usr/sbin/ip", "-brief", "link"], 10).text
    folder = machine.outside(IMAGE_FOLDER) / "kvm"
    assert [entry.name for entry in folder.iterdir()] == [f"{NAME}.vda"]


@pytest.mark.slow
def test_an_overtaken_domain_is_destroyed_at_the_first_contact(far: FarHost) -> None:
    """Neither the agent nor libvirt starts it again."""
    assert far.perform(start(3))[0].error is None
    assert far.ask(FactsRequest(fences=(Fence(NAME, 4),))).fenced == (NAME,)
    assert far.state() is None
    (again,) = far.perform(start(3))
    assert "this host has seen lease 4" in again.error.message
    assert far.perform(start(4))[0].error is None


@pytest.mark.slow
def test_libvirts_hook_rejects_an_overtaken_domain(far: FarHost, machine: Machine, libvirt_uri: str) -> None:
    """As after a boot, when libvirt starts the defined domains; others start, with their devices."""
    from rocks.machine.host.libvirt.domain_xml import emulated, parse_domain, with_emulator
    from rocks.machine.host.libvirt.domains import Domains

    assert far.perform(start(6))[0].error is None
    domains = Domains(libvirt_uri)
    try:
        domains.destroy(NAME)
        machine.run(["/usr/sbin/ip", "link", "delete", LINK.device], 10)
        for token, refused in ((5, True), (6, False)):
            document = emulated(with_emulator(parse_domain(start(token).xml), "/usr/bin/qemu-system-x86_64"))
            domains.undefine(NAME)
            domains.define(document.text)
            refusal = pytest.raises(ToolError, match="belongs to lease 5, but this host has seen lease 6")
            with refusal if refused else nullcontext():
                domains.start_paused(NAME)
                domains.resume(NAME)
    finally:
        domains.close()
