"""Snapshots of machines whose disks are on a NAS: real daemons and commands, the agent's own code, libvirt in memory.

The guest agent is played: a freeze writes one word to each disk, and a thaw another.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rocks.core.errors import ToolError
from rocks.machine import nas_snapshots
from rocks.machine.host.libvirt import freezing
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import STOP, KilledError, Storage, die
from tests.system.imgstorage.test_saves import SAVE, Guests, guests

__all__ = ["guests"]

ADD, LIST, RESTORE_IT, REMOVE_IT = (
    (verb, "host", "vm", "snapshot") for verb in ("add", "list", "restore", "remove")
)
PLACE = 8192
TWO = ("vda", "vdb")


@dataclass
class Agent:
    """The guest agent of all guests, and the process of the host that thaws them."""

    guests: Guests
    volumes: tuple[str, ...] = ()
    is_connected: bool = True
    answers: bool = True
    steps: list[str] = field(default_factory=list)

    def has_agent(self, name: str) -> bool:
        return self.is_connected

    def freeze(self, name: str) -> str | None:
        """All file systems of the guest; not twice."""
        if self.steps[-1:] == ["frozen"]:
            return "the guest agent is in the frozen state"
        self._write("frozen")
        return None

    def thaw(self, name: str) -> int | None:
        """How many were frozen."""
        was_frozen = self.steps[-1:] == ["frozen"]
        self._write("thawed")
        return int(was_frozen)

    def _write(self, word: str) -> None:
        self.steps.append(word)
        for volume in self.volumes:
            self.write(volume, word)

    def write(self, volume: str, word: str) -> None:
        """What the guest writes to its disk."""
        self.guests.machine.pools.write(f"tank/{volume}", word.encode(), PLACE)


class PlayedThawer(freezing.Thawer):
    """The other process is not needed."""

    def __init__(self, name: str, mark: Path | None = None) -> None:
        """Ready."""

    def dismiss(self) -> None:
        """Gone."""

    def hold(self) -> None:
        """It waits."""

    def leave_to(self) -> None:
        """It thaws."""


@pytest.fixture
def agent(guests: Guests, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """Connected, and answering."""
    made = Agent(guests)
    for name in ("has_agent", "freeze", "thaw"):
        monkeypatch.setattr(guests.machine.domains, name, getattr(made, name))
    monkeypatch.setattr(freezing, "Thawer", PlayedThawer)
    yield made


def run(agent: Agent, name: str, *, disks: tuple[str, ...] = ("vda",)) -> None:
    """Start a machine with these disks, and wait until its images are copied."""
    agent.guests.run(name, *disks)
    agent.volumes = (f"{name}-vol", f"{name}-vol1")[: len(disks)]
    for volume in agent.volumes:
        agent.guests.storage.images.wait_for_state(volume, "local")


def stop(agent: Agent, name: str) -> None:
    """The guest ends, and its changes are written back."""
    storage = agent.guests.storage
    agent.guests.end(name)
    for volume in agent.volumes:
        storage.images.wait_for_state(volume, "unmapped")
    storage.rocks(*STOP, name)
    assert agent.guests.lease(name).state == "released"


def snap(storage: Storage, name: str, snapshot: str) -> str:
    """Have a snapshot; what the command says."""
    ended = storage.succeeded(*ADD, name, snapshot)
    return ended.err


def listed(storage: Storage, name: str) -> list[list[str]]:
    """Snapshot, place, files, state, consistent: a row each."""
    columns = "output-col=snapshot,container,files,state,consistent"
    return [row.split()[-5:] for row in storage.done(*LIST, name, "output-header=no", columns).splitlines()]


def content(storage: Storage, volume: str) -> bytes:
    """What the NAS has where the guest writes."""
    return storage.images.nas.pools.read(f"tank/{volume}", 6, PLACE)


def test_a_guest_that_runs_is_frozen_and_its_snapshot_restored(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the way back: a start from it, and the snapshots of before and after."""
    storage = agent.guests.storage
    run(agent, "web")
    agent.write("web-vol", "first.")
    with monkeypatch.context() as patch:
        patch.setattr(nas_snapshots, "perform_one", lambda *_: type("Done", (), {"error": None}))
        planned = storage.succeeded(*ADD, "web", "monday", "dry-run=yes")
    assert "would have a snapshot of the image web-vol, and hold it" in planned.out
    assert (listed(storage, "web"), agent.steps) == ([], [])
    ended = storage.rocks(*ADD, "web", "monday")
    assert (ended.status, ended.err) == (0, "the file systems of web were frozen at that moment\n")
    assert agent.steps == ["frozen", "thawed"]
    assert listed(storage, "web") == [["monday", NAS, "1", "complete", "yes"]]
    assert "has a snapshot monday already" in storage.refused(*ADD, "web", "monday")
    assert "may be running" in storage.refused(*RESTORE_IT, "web", "monday")
    agent.write("web-vol", "later.")
    snap(storage, "web", "tuesday")
    stop(agent, "web")
    assert content(storage, "web-vol") == b"thawed"
    agent.steps.clear()
    snap(storage, "web", "off")
    assert agent.steps == []
    assert listed(storage, "web") == [
        ["monday", NAS, "1", "complete", "yes"],
        ["off", NAS, "1", "complete", "off"],
        ["tuesday", NAS, "1", "complete", "yes"],
    ]
    ended = storage.rocks(*RESTORE_IT, "web", "monday")
    former = ended.err.partition("the former content of web stays as ")[2].partition(",")[0]
    assert ended.status == 0 and former.startswith(f"{NAS}:tank/web-vol-before-") and former[-1].isdigit()
    assert storage.images.nas.pools.read_volume(former.partition(":")[2]) is not None
    assert "with the later snapshots off, tuesday" in ended.err
    assert content(storage, "web-vol") == b"frozen"
    assert listed(storage, "web") == [
        ["monday", NAS, "1", "complete", "yes"],
        ["off", NAS, "1", "former", "off"],
        ["tuesday", NAS, "1", "former", "yes"],
    ]
    # as the message says: a volume of a later snapshot; and an end of all that the restore has left
    for command in (RESTORE_IT, REMOVE_IT):
        text = storage.refused(*command, "web", "off").strip()
        assert f"rocks add host storageimg {NAS} tank NEW origin=web-vol-before-" in text
    storage.done("add", "host", "storageimg", NAS, "tank", "off-vol", text.split("NEW ")[1])
    assert content(storage, "off-vol") == b"thawed"
    storage.done("remove", "host", "storageimg", NAS, "tank", "off-vol", "now=yes")
    zvol = text.partition("origin=")[2].partition("@")[0]
    storage.done("remove", "host", "storageimg", NAS, "tank", zvol, "force=yes", "now=yes")
    assert content(storage, "web-vol") == b"frozen"
    assert [row[0] for row in listed(storage, "web")] == ["monday"]
    storage.done(*REMOVE_IT, "web", "monday")
    assert listed(storage, "web") == []
    assert "has no snapshot monday" in storage.refused(*REMOVE_IT, "web", "monday")


def test_without_a_guest_agent_it_is_as_after_a_power_cut(agent: Agent) -> None:
    storage = agent.guests.storage
    run(agent, "bare")
    agent.is_connected = False
    agent.write("bare-vol", "power.")
    ended = storage.rocks(*ADD, "bare", "monday")
    assert ended.status == 0 and "as after a power cut: its guest agent is not connected" in ended.err
    assert listed(storage, "bare") == [["monday", NAS, "1", "complete", "no"]]
    agent.write("bare-vol", "later.")
    stop(agent, "bare")
    storage.rocks(*RESTORE_IT, "bare", "monday")
    assert content(storage, "bare-vol") == b"power."


@pytest.mark.parametrize(
    ("name", "disks", "text", "rows"),
    [
        ("slow", ("vda",), "may not have been frozen all the time", [["monday", NAS, "1", "complete", "no"]]),
        ("late", TWO, "may be of different moments", []),
    ],
)
def test_a_freeze_that_another_ends_does_not_count(
    agent: Agent,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    disks: tuple[str, ...],
    text: str,
    rows: list[list[str]],
) -> None:
    """As by the host, after its longest time: several disks get no snapshot then."""
    storage = agent.guests.storage
    run(agent, name, disks=disks)
    pull = nas_snapshots.pull_each

    def pull_each(*arguments: object) -> None:
        pull(*arguments)  # type: ignore[arg-type]
        if agent.steps[-1:] == ["frozen"]:
            agent.thaw(name)

    with monkeypatch.context() as patch:
        patch.setattr(nas_snapshots, "pull_each", pull_each)
        ended = storage.rocks(*ADD, name, "monday")
    assert ended.status == (0 if rows else 1) and text in ended.err
    assert listed(storage, name) == rows
    stop(agent, name)


def test_several_disks_are_of_one_moment_or_there_is_no_snapshot(agent: Agent) -> None:
    storage, volumes = agent.guests.storage, ("two-vol", "two-vol1")
    run(agent, "two", disks=TWO)
    agent.is_connected = False
    assert "would be of different moments" in storage.rocks(*ADD, "two", "monday").err
    assert listed(storage, "two") == []
    agent.is_connected = True
    snap(storage, "two", "monday")
    assert listed(storage, "two") == [["monday", NAS, "2", "complete", "yes"]]
    stop(agent, "two")
    storage.rocks(*RESTORE_IT, "two", "monday")
    assert [content(storage, volume) for volume in volumes] == [b"frozen", b"frozen"]


@pytest.mark.parametrize("moment", ["pull", "second hold", "thaw", "fourth hold"])
def test_what_an_interrupted_command_left_is_made_anew(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The same command completes the snapshot, also when the guest is frozen still."""
    storage, name = agent.guests.storage, f"cut-{moment[:2]}"
    run(agent, name, disks=TWO)

    calls = 0
    real = nas_snapshots._hold_each

    def hold_each(
        storage: object, images: list[object], tags: list[object], **others: list[str]
    ) -> list[str]:
        nonlocal calls
        calls += 1
        if calls != {"second hold": 1, "fourth hold": 2}.get(moment):
            return real(storage, images, tags, **others)  # type: ignore[arg-type]
        real(storage, images[:1], tags[:1], **others)  # type: ignore[arg-type]
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(nas_snapshots, "_release_images", die)  # a killed command releases nothing
        patch.setattr(nas_snapshots, "_hold_each", hold_each)
        if "hold" not in moment:
            patch.setattr(nas_snapshots, {"pull": "pull_each", "thaw": "ThawGuest"}[moment], die)
        with pytest.raises(KilledError):
            storage.rocks(*ADD, name, "monday")
    files = {"pull": "0", "second hold": "1"}.get(moment, "2")
    assert listed(storage, name) == ([["monday", NAS, files, "incomplete", "no"]] if moment != "pull" else [])
    if moment != "pull":
        assert "may be running" in storage.refused(*RESTORE_IT, name, "monday")
    snap(storage, name, "monday")
    assert listed(storage, name) == [["monday", NAS, "2", "complete", "yes"]]
    stop(agent, name)
    storage.rocks(*RESTORE_IT, name, "monday")
    assert [content(storage, f"{name}-vol{end}") for end in ("", "1")] == [b"frozen", b"frozen"]


def test_a_machine_made_anew_has_none_of_the_former_ones(agent: Agent) -> None:
    """Nor does it release, restore or replace them."""
    storage = agent.guests.storage
    run(agent, "anew")
    snap(storage, "anew", "monday")
    stop(agent, "anew")
    assert storage.rocks("remove", "host", "vm", "anew").status == 0
    assert storage.rocks("remove", "host", "anew").status == 0
    storage.add_vm("anew")
    assert listed(storage, "anew") == []
    for command in (REMOVE_IT, RESTORE_IT):
        assert "anew has no snapshot monday; it has: none" in storage.refused(*command, "anew", "monday")
    assert "belongs to another machine" in storage.refused(*ADD, "anew", "monday")
    names = [one.holds for one in storage.images.nas.pools.read_history("tank/anew-vol").snapshots]
    assert any(hold.endswith(":1-of-1") for holds in names for hold in holds)


def test_a_nas_that_lost_its_records_has_the_snapshots(agent: Agent) -> None:
    """They are listed, restored and removed before the machine has started again."""
    storage = agent.guests.storage
    for name in ("lost", "gone"):
        run(agent, name)
        snap(storage, name, "monday")
        stop(agent, name)
    storage.images.lose_records()
    for name in ("lost", "gone"):
        assert listed(storage, name) == [["monday", NAS, "1", "complete", "yes"]]
    assert storage.rocks(*RESTORE_IT, "lost", "monday").status == 0
    assert content(storage, "lost-vol") == b"frozen"
    storage.done(*REMOVE_IT, "gone", "monday")
    assert listed(storage, "gone") == []


def test_unfinished_tags_that_were_left_do_not_endanger_a_complete_snapshot(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine has one disk less afterwards."""
    storage = agent.guests.storage
    run(agent, "mark", disks=TWO)
    with monkeypatch.context() as patch:
        patch.setattr(nas_snapshots, "_release_images", lambda *_: None)
        snap(storage, "mark", "monday")
    assert listed(storage, "mark") == [["monday", NAS, "2", "complete", "yes"]]
    stop(agent, "mark")
    storage.done("set", "host", "vm", "nas", "mark", "nas=none", "index=1")
    storage.done("remove", "host", "vm", "disk", "mark", "vdb")
    assert "is not one of its present disks" in storage.refused(*ADD, "mark", "monday")


def test_a_snapshot_of_other_disks_is_left_alone(agent: Agent) -> None:
    """The machine has one disk less by now: an add of the same name does not take it for an interrupted one."""
    storage = agent.guests.storage
    run(agent, "less", disks=TWO)
    snap(storage, "less", "monday")
    stop(agent, "less")
    storage.done("set", "host", "vm", "nas", "less", "nas=none", "index=1")
    storage.done("remove", "host", "vm", "disk", "less", "vdb")
    assert listed(storage, "less") == [["monday", NAS, "1", "incomplete", "yes"]]
    assert "is not one of its present disks" in storage.refused(*ADD, "less", "monday")
    assert "is not one of its present disks" in storage.refused(*RESTORE_IT, "less", "monday")
    storage.done(*REMOVE_IT, "less", "monday")
    assert listed(storage, "less") == []
    # the former disk comes back with its part of the former snapshot, beside that of a new one of the name
    snap(storage, "less", "monday")
    storage.done("add", "host", "vm", "disk", "less", "disk=file:/images/less.vdb,vdb,virtio", "disksize=1")
    storage.done("set", "host", "vm", "nas", "less", f"nas={NAS}", "zpool=tank", "index=1")
    assert listed(storage, "less") == [["monday", NAS, "2", "incomplete", "no"]]
    storage.done(*REMOVE_IT, "less", "monday")
    assert listed(storage, "less") == []


def test_a_disk_with_snapshots_is_not_destroyed_by_mistake(agent: Agent) -> None:
    """By force it is."""
    storage = agent.guests.storage
    run(agent, "held")
    snap(storage, "held", "monday")
    stop(agent, "held")
    refused = storage.rocks("remove", "host", "storageimg", NAS, "tank", "held-vol", "now=yes")
    assert refused.status == 1 and 'it is part of the snapshot "monday" of its machine' in refused.err
    assert 'rocks remove host vm snapshot MACHINE "monday"' in refused.err
    refused = storage.rocks("remove", "host", "storageimg", NAS, "tank", "held-vol", "force=yes")
    assert refused.status == 1 and 'the snapshot "monday"' in refused.err
    storage.images.wait_for_state("held-vol", "unmapped")
    assert listed(storage, "held") == [["monday", NAS, "1", "complete", "yes"]]
    storage.done("remove", "host", "storageimg", NAS, "tank", "held-vol", "now=yes", "force=yes")
    assert storage.images.nas.pools.read_volume("tank/held-vol") is None


def test_what_has_no_snapshot(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was never started, that is saved, whose image is on its way, or has a disk elsewhere."""
    storage = agent.guests.storage
    storage.add_vm("new")
    assert "new was never started" in storage.refused(*ADD, "new", "monday")
    assert '"a b" cannot name a snapshot' in storage.refused(*ADD, "new", "a b")
    run(agent, "rest")
    storage.done(*SAVE, "rest")
    assert "rest is saved on" in storage.refused(*ADD, "rest", "monday")
    storage.rocks(*STOP, "rest", "saved=remove")

    def no_pull(*_: object, **__: object) -> object:
        raise ToolError("the NAS is full")

    agent.guests.run("full")
    early = storage.rocks(*ADD, "full", "monday")
    agent.volumes = ("full-vol",)
    storage.images.wait_for_state("full-vol", "local")
    if early.status == 0:  # it was copied before the command looked
        storage.done(*REMOVE_IT, "full", "monday")
        agent.steps.clear()
    else:
        assert "and must be local: rocks list host storageop" in early.err
    with monkeypatch.context() as patch:
        patch.setattr(nas_snapshots, "pull_each", no_pull)
        assert "the NAS is full" in storage.rocks(*ADD, "full", "monday").err
    assert listed(storage, "full") == [] and agent.steps == []
    stop(agent, "full")
    storage.add_vm("both", "vda", "vdb")
    storage.done("set", "host", "vm", "nas", "both", "nas=none", "index=1")
    assert "another disk is not" in storage.refused(*ADD, "both", "monday")
