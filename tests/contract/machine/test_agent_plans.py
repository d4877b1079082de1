"""A dry run and the act of each operation decide alike, whatever state the domain is in."""

from pathlib import Path

import pytest

from rocks.fleet.wire.requests import (
    ChangeDomain,
    DiskSpec,
    EndDeparture,
    GrowDisk,
    MakeSnapshot,
    Operation,
    OperationOutcome,
    PauseDomain,
    PerformRequest,
    RestoreSnapshot,
    ResumeDomain,
    SaveDomain,
    StopDomain,
)
from tests.contract.agents import Agent, leased_xml

DISK = "<disk type='file' device='disk'><source file='{}'/><target dev='vda' bus='virtio'/></disk>"
HOSTDEV = """<hostdev mode='subsystem' type='pci' managed='yes'><source>
<address domain='0x0000' bus='0x03' slot='0x00' function='0x1'/></source></hostdev>"""
MORE = leased_xml(
    "g", 7, "<interface type='ethernet'><mac address='76:77:6e:80:00:01'/></interface>"
).replace("65536", "99")
"""Another interface; less memory."""


def operations(folder: Path) -> list[Operation]:
    image = str(folder / "g.vda")
    disk = DiskSpec(image, "raw", 1, False, "m")
    second = str(folder / "g.vdb")
    two = leased_xml("g", 7, DISK.format(image) + DISK.format(second).replace("vda", "vdb"))
    copies = (f"{image}.snapshot.1.monday.1",)
    return [
        *(StopDomain("g", 7, action, 0) for action in ("poweroff", "shutdown", "reset", "reboot")),
        StopDomain("g", 7, discards_save=True),
        *(kind("g", token) for kind in (PauseDomain, ResumeDomain) for token in (6, 7)),
        *(SaveDomain("g", token, 64) for token in (6, 7, 8)),
        *(ChangeDomain("g", token, leased_xml("g", token), detached=(image,)) for token in (7, 8)),
        ChangeDomain("g", 7, MORE, cpus=True, memory=True, interfaces=True),
        *(ChangeDomain("g", 7, two, disks=(DiskSpec(second, "raw", size, False),)) for size in (1, 10**6)),
        ChangeDomain("g", 7, two.replace("virtio", "ide"), disks=(DiskSpec(second, "raw", 1, False),)),
        GrowDisk("g", disk, 7),
        GrowDisk("g", DiskSpec(f"{image}.none", "raw", 1, False), 7),
        GrowDisk("g", DiskSpec("/dev/null", "raw", 1, True), 7),
        MakeSnapshot("g", (disk,), copies),
        RestoreSnapshot("g", (disk,), copies),
        EndDeparture("g", 7, resumes=True),
    ]


def agent_with(folder: Path, state: str) -> Agent:
    """A host where the machine `g` with one disk, under lease 7, is in this state."""
    folder.mkdir()
    agent = Agent(folder)
    if state == "absent":
        return agent
    devices = HOSTDEV if state == "with a device" else DISK.format(folder / "g.vda")
    (folder / "g.vda").touch()
    agent.domains.define(leased_xml("g", 7, devices))
    agent.host.leases.admit("g", 7)
    if state == "off":
        return agent
    agent.domains.start_paused("g")
    if state != "paused":
        agent.domains.resume("g")
    if state == "saved":
        assert agent.error(SaveDomain("g", 7, 64)) is None
    if state == "half saved":
        agent.domains.save("g")
    return agent


def tried(agent: Agent, operation: Operation) -> OperationOutcome:
    before = agent.domains.facts()
    (outcome,) = agent.ask(PerformRequest((operation,), assumed_disks=())).outcomes
    assert agent.domains.facts() == before
    return outcome


def by_the_attempt(message: str) -> bool:
    """What no plan knows: the content of files."""
    return message.startswith(("there is no file", "nobody is known to own"))


@pytest.mark.parametrize(
    "state", ["absent", "off", "running", "paused", "saved", "half saved", "with a device"]
)
def test_a_dry_run_and_the_act_decide_alike(tmp_path: Path, without_kvm: None, state: str) -> None:
    """The same refusal in the same words; and the act changes nothing exactly where the dry run has no steps."""
    for number in range(len(operations(tmp_path))):
        agent = agent_with(tmp_path / str(number), state)
        operation = operations(agent.folder)[number]
        planned = tried(agent, operation)
        (done,) = agent.perform(operation)
        if done.error is not None and by_the_attempt(done.error.message):
            continue
        assert planned.error == done.error, operation
        assert bool(planned.steps) == done.changed, operation
        assert planned.steps or planned.notes == done.notes, operation
