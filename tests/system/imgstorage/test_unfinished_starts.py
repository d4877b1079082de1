"""Starts of machines with images that fail, are interrupted, or wait: what stays mapped.

The hosts of these tests are played, as in `test_storage_vms`.
"""

import threading
from types import ModuleType

import pytest

from rocks.core.errors import HostError, RocksError, StateError, ToolError
from rocks.fleet.wire.facts import DomainState
from rocks.leases import lease as leases
from rocks.machine import start as vm_start
from rocks.storage.client import asking
from rocks.storage.image.events import Unmap
from rocks.storage.volumes import map_batches
from rocks.storage.volumes import map_batches as map_waits
from rocks.storage.zfs.facts import SendSpec
from rocks.storage.zfs.tool import Transfer
from tests.system.imgstorage.image_site import NAS, HostMachine
from tests.system.imgstorage.storage_site import (
    END,
    HOST,
    OTHER,
    START,
    STOP,
    PlayedHosts,
    Storage,
    interrupt,
    mapped_lines,
    owner,
)
from tests.system.imgstorage.test_nas_snapshots import REMOVE_IT, Agent, agent, guests, run, snap
from tests.system.imgstorage.test_nas_snapshots import stop as stop_guest

__all__ = ["agent", "guests"]


def test_a_host_that_cannot_take_the_image_leaves_none_mapped(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = storage.add_vm("broken")

    def no_login(*_: object, **__: object) -> object:
        raise ToolError("iscsiadm: no such luck")

    machine: HostMachine = storage.images.hosts[HOST]
    with monkeypatch.context() as patch:
        patch.setattr(machine.sessions, "ensure_session", no_login)
        message = storage.rocks(*START, vm).err
    assert "Error: " in message and "no such luck" in message
    storage.images.wait_for(lambda: owner(storage, "broken-vol") is None, "given back")
    assert storage.images.leftovers(HOST) == []
    assert storage.disks(vm)[0][0] == "file"


NO_MEMORY = "it needs"
"""Of the refusal for want of memory."""


def test_a_start_that_fails_after_the_map_unmaps_the_image(storage: Storage, hosts: PlayedHosts) -> None:
    """The host has too little memory, so no guest ran: the user gets an error; another host may map the image."""
    vm = storage.add_vm("heavy", "vda", "vdb")
    hosts.memory_mb = 300
    ended = storage.rocks(*START, vm)
    assert ended.status == 1 and NO_MEMORY in ended.err
    assert "may still be mapped" not in ended.err
    for volume in ("heavy-vol", "heavy-vol1"):
        assert f"{NAS}:{volume} is unmapped again, heavy was not started" in ended.err
        assert storage.images.row(volume)["state"] == "unmapped"
    assert storage.images.leftovers(HOST) == []
    storage.done("set", "host", "vm", vm, f"physnode={OTHER}")
    storage.done("set", "host", "attr", OTHER, "img_sync", "yes")
    hosts.memory_mb = 2**16
    assert len(mapped_lines(storage, vm)) == 2
    assert owner(storage, "heavy-vol") == OTHER
    storage.done(*STOP, vm, END)


def test_an_image_that_was_mapped_before_a_failed_start_stays(storage: Storage, hosts: PlayedHosts) -> None:
    """By the operator, or by an earlier start."""
    mapped, started = storage.add_vm("byhand"), storage.add_vm("before")
    storage.map("byhand-vol")
    mapped_lines(storage, started)
    hosts.memory_mb = 300
    ended = storage.rocks(*START, mapped, started)
    assert ended.status == 1 and ended.err.count(NO_MEMORY) == 2
    assert "unmapped again" not in ended.err
    assert (owner(storage, "byhand-vol"), owner(storage, "before-vol")) == (HOST, HOST)
    storage.done(*STOP, mapped, started, END)


def test_only_images_of_machines_that_failed_are_unmapped(storage: Storage, hosts: PlayedHosts) -> None:
    small, large = storage.add_vm("small"), storage.add_vm("large")
    storage.done("set", "host", "vm", large, "mem=100000")
    ended = storage.rocks(*START, small, large)
    assert ended.status == 3, "done for one of them"
    assert (owner(storage, "small-vol"), owner(storage, "large-vol")) == (HOST, None)
    storage.done(*STOP, small, END)


def test_a_returning_image_that_the_start_mapped_again_is_unmapped(
    storage: Storage, hosts: PlayedHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was its host's when the start began, but not for long."""
    way = SlowWriteBack(storage.images.hosts[HOST], monkeypatch)
    vm = returning(storage, "anew")
    threading.Timer(1.0, way.may_go.set).start()
    hosts.memory_mb = 300
    assert "anew-vol is unmapped again" in storage.rocks(*START, vm).err
    assert owner(storage, "anew-vol") is None
    assert storage.images.nas.pools.read("tank/anew-vol", 13, 4096) == b"the last word"


@pytest.mark.parametrize("is_silent", [True, False], ids=["silent", "refuses"])
def test_a_host_that_starts_nothing_has_no_image(
    storage: Storage, hosts: PlayedHosts, is_silent: bool
) -> None:
    """Its agent is away; or it refuses the start, and then reports that it has no such guest."""
    vm = storage.add_vm(f"nothing-{is_silent}".lower())
    hosts.facts_error = HostError("no agent there") if is_silent else None
    hosts.outcome = StateError("libvirt does not like it")
    ended = storage.rocks(*START, vm)
    assert ended.status == 1 and "is unmapped again" in ended.err
    assert owner(storage, f"{vm}-vol") is None
    assert storage.lease(vm)[0] == "released"


@pytest.mark.parametrize(
    ("name", "outcome", "is_answered", "domain"),
    [
        ("late", HostError("no answer within 60 s"), False, None),
        ("still", ToolError("libvirt did not answer"), True, "running"),
        ("waits", ToolError("libvirt did not answer"), True, "paused"),
    ],
)
def test_the_image_of_a_guest_that_may_run_stays_mapped(
    storage: Storage,
    hosts: PlayedHosts,
    name: str,
    outcome: RocksError,
    is_answered: bool,
    domain: DomainState | None,
) -> None:
    """The host was asked to start it, and has not reported since that it is not running."""
    vm = storage.add_vm(name)
    hosts.outcome, hosts.is_answered, hosts.domain = outcome, is_answered, domain
    ended = storage.rocks(*START, vm)
    assert ended.status == 1 and "unmapped" not in ended.err
    assert owner(storage, f"{vm}-vol") == HOST
    assert storage.lease(vm)[0] == "starting"
    hosts.memory_mb, hosts.domain, hosts.outcome = 300, None, None
    assert NO_MEMORY in storage.rocks(*START, vm).err
    assert owner(storage, f"{vm}-vol") == HOST, "it was mapped before this start"
    storage.done(*STOP, vm, END)


def test_the_image_of_a_guest_that_another_command_started_stays_mapped(
    storage: Storage, hosts: PlayedHosts
) -> None:
    """The lease was free, but the host has the guest: libvirt started it by itself, or an operator did."""
    vm = storage.add_vm("foreign")
    hosts.domain, hosts._asked = "running", {vm: None}
    ended = storage.rocks(*START, vm)
    assert "not started by this system is running on vmc-0-0" in ended.err and "unmapped" not in ended.err
    assert owner(storage, "foreign-vol") == HOST
    storage.done(*STOP, vm, END)


@pytest.mark.parametrize(
    ("module", "step"), [(map_batches, "_set_late_attributes"), (vm_start, "settle_leases")]
)
def test_an_interrupt_unmaps_the_image_again(
    storage: Storage, hosts: PlayedHosts, monkeypatch: pytest.MonkeyPatch, module: ModuleType, step: str
) -> None:
    """Right after the NAS has mapped it, and after the whole map."""
    # a name of its own: the NAS of these tests keeps the image of an earlier machine of the name for that machine
    vm = storage.add_vm(f"impatient-{'map' if module is map_batches else 'start'}")

    with monkeypatch.context() as patch:
        patch.setattr(module, step, interrupt)
        ended = storage.rocks(*START, vm)
    assert ended.status not in (0, 1)
    assert f"{vm}-vol is unmapped again" in ended.err
    assert owner(storage, f"{vm}-vol") is None


def test_an_image_that_cannot_be_unmapped_again_is_reported(
    storage: Storage, hosts: PlayedHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says why the machine is not started, and what is left behind."""
    vm = storage.add_vm("sticky")
    hosts.memory_mb = 300
    unmap = asking.unmap_image

    def held(nas: str, volume: str) -> object:
        storage.images.hosts[HOST].kernel.devices["sticky-vol-snap"].holders += 1
        return unmap(nas, volume)

    with monkeypatch.context() as patch:
        patch.setattr(asking, "unmap_image", held)
        ended = storage.rocks(*START, vm)
    assert NO_MEMORY in ended.err
    assert f"; and {NAS}:sticky-vol may still be mapped to {HOST}: " in ended.err
    assert "is in use" in ended.err and "is unmapped again" not in ended.err
    storage.images.hosts[HOST].kernel.devices["sticky-vol-snap"].holders -= 1
    storage.images.wait_for_state("sticky-vol", "local")
    storage.done(*STOP, vm, END)


class SlowWriteBack:
    """A host whose images are written back only on a signal."""

    def __init__(self, machine: HostMachine, patch: pytest.MonkeyPatch) -> None:
        self.may_go = threading.Event()
        send = machine.pools.start_send

        def later(spec: SendSpec) -> Transfer:
            self.may_go.wait(120)
            return send(spec)

        patch.setattr(machine.pools, "start_send", later)


def returning(storage: Storage, name: str) -> str:
    """A machine that was stopped, whose image is being written back."""
    vm = storage.add_vm(name)
    mapped_lines(storage, vm)
    storage.release(vm)
    volume = f"{name}-vol"
    storage.images.wait_for_state(volume, "local")
    storage.images.hosts[HOST].pools.write(f"tank/{volume}", b"the last word", 4096)
    image = storage.images.row(volume)
    service = storage.images.nas.service
    assert service is not None and image["state"] == "local"
    found = service._engine.image_of(volume)
    service._engine.take(found.image_id, Unmap("test"))
    storage.images.wait_for_state(volume, "returning")
    return vm


def test_a_start_waits_until_the_image_is_written_back(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop, and at once a start: rejected as busy by the NAS, awaited by the command, then mapped."""
    way = SlowWriteBack(storage.images.hosts[HOST], monkeypatch)
    vm = returning(storage, "hasty")
    threading.Timer(2.5, way.may_go.set).start()
    assert mapped_lines(storage, vm) == [f"{NAS}:hasty-vol mapped to {HOST}:/dev/mapper/hasty-vol-snap"]
    assert way.may_go.is_set()
    assert storage.images.nas.pools.read("tank/hasty-vol", 13, 4096) == b"the last word"
    storage.done(*STOP, vm, END)


def test_a_start_does_not_wait_for_ever(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the remedy, and the write-back continues."""
    way = SlowWriteBack(storage.images.hosts[HOST], monkeypatch)
    vm = returning(storage, "patient")
    monkeypatch.setattr(map_waits, "START_WAIT_SECONDS", 1.5)
    ended = storage.rocks(*START, vm)
    assert ended.status != 0 and ended.out == ""
    assert "ZVol patient-vol is busy: it is being written back from vmc-0-0" in ended.err
    assert (
        "start the machine when rocks list host storagemap nas-0-0 shows patient-vol as unmapped" in ended.err
    )
    assert "may still be mapped" not in ended.err
    way.may_go.set()
    storage.images.wait_for_state("patient-vol", "unmapped")
    assert storage.lease("patient")[0] == "released"


def test_an_interrupt_ends_the_waiting(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is mapped, the machine's lease is free, and the image is written back."""
    way = SlowWriteBack(storage.images.hosts[HOST], monkeypatch)
    vm = returning(storage, "torn")

    with monkeypatch.context() as patch:
        patch.setattr(map_waits, "wait_seconds", interrupt)
        ended = storage.rocks(*START, vm)
    assert ended.status not in (0, 1)
    assert f"{NAS}:torn-vol was not mapped" in ended.err
    way.may_go.set()
    storage.images.wait_for_state("torn-vol", "unmapped")
    assert storage.lease("torn")[0] == "released"


def test_a_snapshot_settles_the_start_of_a_guest_that_runs(agent: Agent) -> None:
    """A start gave up before its guest ran; its host has the guest under the lease of that start."""
    storage = agent.guests.storage
    run(agent, "settled")
    leases.set_state(storage.cluster.database, ["settled"], "starting")
    storage.cluster.database.commit()
    snap(storage, "settled", "first")
    assert agent.guests.lease("settled").state == "running"
    storage.done(*REMOVE_IT, "settled", "first")
    stop_guest(agent, "settled")
