"""Images on a NAS follow a machine that moves while it runs: real daemons, played agents of its two hosts.

Whether QEMU runs on from the device that it had open is shown in the lab (test_image_moves).
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from rocks.core.errors import HostError, RocksError, ToolError
from rocks.fleet.fleet import Fleet
from rocks.fleet.wire.facts import DiskFact, DomainFact, DomainState, HostFacts
from rocks.fleet.wire.live_moves import Arrive, Leave, Result
from rocks.fleet.wire.requests import Operation, OperationOutcome, ResumeDomain, StartDomain, StopDomain
from rocks.leases import machine_requests
from rocks.machine import converge, stop
from rocks.machine import live_move as live_moves
from rocks.machine import start as vm_start
from rocks.storage.device_mapper.tables import Linear, Placeholder, Snapshot, SnapshotMerge
from rocks.storage.volumes import map_batches
from tests.system.commands.conftest import Ended
from tests.system.imgstorage.image_site import NAS, HostMachine
from tests.system.imgstorage.storage_site import HOST, OTHER, KilledError, Storage, die

_GIB = 2**30


class PlayedHosts:
    """The agents of both hosts: one machine, which is somewhere in some state, and QEMU, which has its device open."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage, self.name = storage, name
        self.device = f"{name}-vol-snap"
        self.place, self.state, self.token = "", "running", 0
        self.silent: set[str] = set()
        self.resumed_on: list[str] = []

    def machine(self, host: str) -> HostMachine:
        """The host's devices."""
        return self.storage.images.hosts[host]

    def move_live(
        self, old: object, new: object, settings: object, leave: Leave, arrive: Arrive, watch: object
    ) -> Result:
        """As the real one: QEMU opens a placeholder there; the guest writes until it is paused."""
        assert leave.images == (f"/dev/mapper/{self.device}",) and leave.paths == ()
        there = self.machine(OTHER if self.place == HOST else HOST)
        there.dm_devices.ensure(self.device, Placeholder(_GIB // 512))
        there.kernel.devices[self.device].holders = 1
        here = self.machine(self.place)
        here.pools.write(f"tank/{self.name}-vol", b"the last word", 8192)
        here.kernel.devices[self.device].holders = 0
        self.place, self.state, self.token = there.name, "paused", leave.token
        return Result()

    def contact_hosts(
        self, database: object, fleet: object, hosts: Collection[str], *more: object, **others: object
    ) -> dict[str, HostFacts | RocksError]:
        """As the real one."""
        del database, fleet, more, others
        return {
            host: HostError(f"{host} is silent") if host in self.silent else self._facts(host)
            for host in hosts
        }

    def _facts(self, host: str) -> HostFacts:
        state: DomainState = self.state  # type: ignore[assignment]
        found = DomainFact(self.name, "u", state, self.token, 64, 1, False, True, False)
        # only the host that has the image mapped has its device
        is_there = self.machine(host).dm_devices.read(self.device) is not None
        disks = (DiskFact(f"/dev/mapper/{self.device}", is_there, is_there, _GIB, 0, 0),)
        domains = (found,) if host == self.place else ()
        return HostFacts(2**16, 64, True, True, domains, disks, ())

    def perform_operations(
        self,
        database: object,
        fleet: Fleet,
        operations: Mapping[str, Sequence[Operation]],
        progress: object = None,
    ) -> Iterator[tuple[str, OperationOutcome | RocksError]]:
        """As the real one."""
        del database, fleet, progress
        for host, operation in ((host, one) for host, of_host in operations.items() for one in of_host):
            if host in self.silent:
                yield operation.name, HostError(f"{host} is silent")
                continue
            self._perform(host, operation)
            yield operation.name, OperationOutcome(operation.name, True)

    def _perform(self, host: str, operation: Operation) -> None:
        devices, kernel = self.machine(host).dm_devices, self.machine(host).kernel
        if isinstance(operation, ResumeDomain):
            live = devices.read(self.device)
            assert live is not None and not isinstance(live.table, Placeholder)
            self.resumed_on.append(host)
            self.state = "running"
        elif isinstance(operation, StopDomain) and host == self.place:
            kernel.devices[self.device].holders = 0
            self.place = ""
            live = devices.read(self.device)
            if live is not None and isinstance(live.table, Placeholder):
                del kernel.devices[self.device]  # as the contract tests of the agent show
        elif isinstance(operation, StartDomain):
            self.place, self.state, self.token = host, "running", operation.token
            kernel.devices[self.device].holders = 1


@pytest.fixture
def played(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[PlayedHosts]:
    """A machine that runs on the first host, its image copied there; it is stopped at last."""
    name = re.sub(r"[^a-z]+", "-", request.node.name.removeprefix("test_")).strip("-")
    made = PlayedHosts(storage, storage.add_vm(name))
    storage.done("set", "host", "attr", OTHER, "img_sync", "yes")
    for module in (vm_start, live_moves, live_moves, stop):
        monkeypatch.setattr(module, "contact_hosts", made.contact_hosts)
    for module in (converge, live_moves, stop):
        monkeypatch.setattr(module, "perform_operations", made.perform_operations)
    monkeypatch.setattr(machine_requests, "contact_hosts", made.contact_hosts)
    monkeypatch.setattr(live_moves, "move_live", made.move_live)
    storage.done("start", "host", "vm", name)
    storage.images.wait_for_state(f"{name}-vol", "local")
    yield made
    storage.done("stop", "host", "vm", name)
    storage.done("stop", "host", "vm", name, "terminate=yes")


def move(played: PlayedHosts, to: str = OTHER) -> Ended:
    return played.storage.rocks("move", "host", "vm", played.name, to, "live=yes")


@contextmanager
def no_login(played: PlayedHosts) -> Iterator[None]:
    """The new host cannot log in to the NAS."""

    def fail(*_: object, **__: object) -> object:
        raise ToolError("iscsiadm: no such luck")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(played.machine(OTHER).sessions, "ensure_session", fail)
        yield


def owner(played: PlayedHosts) -> object:
    return played.storage.images.row(f"{played.name}-vol")["remotehost"]


def test_followed(played: PlayedHosts) -> None:
    """The new host reads what the guest has written last; the old one has no device; and back, from the copy there."""
    assert f"{played.name} runs on {OTHER} now" in move(played).out
    assert (played.resumed_on, played.storage.lease(played.name), owner(played)) == (
        [OTHER],
        ("running", OTHER),
        OTHER,
    )
    live = played.machine(OTHER).dm_devices.read(played.device)
    assert live is not None and isinstance(live.table, Snapshot | SnapshotMerge | Linear) and live.open_count
    images = played.storage.images
    assert images.nas.pools.read(f"tank/{played.name}-vol", 13, 8192) == b"the last word"
    assert played.machine(HOST).dm_devices.read(played.device) is None
    images.wait_for_state(f"{played.name}-vol", "local")
    # nothing was written there, so the first host's copy is the newest: it is not copied again
    assert f"{played.name} runs on {HOST} now" in move(played, HOST).out
    assert images.row(f"{played.name}-vol")["remotehost"] == HOST
    played.storage.done("stop", "host", "vm", played.name)
    played.storage.done("stop", "host", "vm", played.name, "terminate=yes")
    assert images.leftovers(HOST) == [] and images.leftovers(OTHER) == []


def test_waits_for_repair(played: PlayedHosts) -> None:
    """The new host cannot log in to the NAS: the guest stays paused with its device, and the same command goes on."""
    with no_login(played):
        ended = move(played)
    assert ended.status == 1 and "no such luck" in ended.err
    again = f"rocks move host vm {played.name} {OTHER} live=yes"
    assert (
        f"{played.name} is on {OTHER}, paused until its images follow it" in ended.err and again in ended.err
    )
    assert (played.storage.lease(played.name), owner(played), played.resumed_on) == (
        ("moving", HOST),
        None,
        [],
    )
    live = played.machine(OTHER).dm_devices.read(played.device)
    assert live is not None and isinstance(live.table, Placeholder) and live.open_count == 1
    volume = f"{played.name}-vol"
    for command in (
        ("resume", "host", "vm", played.name),
        ("clean", "host", "storagemap", NAS, volume, "force=yes", "reason=it does not return"),
        ("restore", "host", "storageimg", NAS, volume, "snap=first"),
        ("remove", "host", "storageimg", NAS, "tank", volume, "now=yes"),
        ("add", "host", "storagemap", NAS, "tank", volume, HOST, "1", "img_sync=yes", "remotepool=tank"),
        ("set", "host", "zvolattr", NAS, volume, "persistent", "no"),
    ):
        refused = played.storage.rocks(*command)
        assert refused.status == 1 and again in refused.err, command
    played.storage.done("set", "host", "attr", OTHER, "img_sync", "no")
    assert f"{played.name} runs on {OTHER} now" in move(played).out
    assert (played.storage.lease(played.name), owner(played), played.resumed_on) == (
        ("running", OTHER),
        OTHER,
        [OTHER],
    )


def test_given_up(played: PlayedHosts) -> None:
    """An operator ends the guest that waits: nothing of its disk is lost, and it starts again."""
    with no_login(played):
        assert move(played).status == 1
    played.storage.done("stop", "host", "vm", played.name, "force=yes", "reason=its NAS is away")
    assert played.storage.lease(played.name) == ("released", None)
    assert played.machine(OTHER).dm_devices.read(played.device) is None
    played.storage.done("start", "host", "vm", played.name)
    assert (played.storage.lease(played.name), owner(played)) == (("running", HOST), HOST)
    assert played.machine(HOST).pools.read(f"tank/{played.name}-vol", 13, 8192) == b"the last word"


def test_old_host_silent(played: PlayedHosts) -> None:
    """It has what the guest wrote last: the guest waits for it, and does not go on with an older disk."""
    real = played.move_live

    def move_live(*arguments: object) -> Result:
        result = real(*arguments)  # type: ignore[arg-type]
        played.silent = {HOST}
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_moves, "move_live", move_live)
        ended = move(played)
    assert ended.status == 1 and f"{HOST} is silent" in ended.err
    assert (played.storage.lease(played.name), owner(played), played.resumed_on) == (
        ("moving", HOST),
        HOST,
        [],
    )
    played.silent = set()
    assert f"{played.name} runs on {OTHER} now" in move(played).out
    assert played.storage.images.nas.pools.read(f"tank/{played.name}-vol", 13, 8192) == b"the last word"


@pytest.mark.parametrize("has_died", [False, True], ids=["off", "oldgone"])
def test_off(played: PlayedHosts, has_died: bool) -> None:
    """The guest that waits ends, as when its new host boots: the move is completed, or given up when that cannot be."""
    with no_login(played):
        assert move(played).status == 1
    played.state = "shutoff"
    played.machine(OTHER).kernel.devices[played.device].holders = 0
    played.silent = {HOST} if has_died else set()
    assert "is off there by now: rocks start host vm" in move(played).out
    assert played.storage.lease(played.name)[0] == "running" and played.resumed_on == []
    played.storage.done("stop", "host", "vm", played.name)
    played.storage.done("start", "host", "vm", played.name)
    assert (played.storage.lease(played.name), owner(played)) == (("running", OTHER), OTHER)
    live = played.machine(OTHER).dm_devices.read(played.device)
    assert live is not None and not isinstance(live.table, Placeholder)
    played.silent = set()


@pytest.mark.parametrize("moment", ["unmap", "map", "resume", "record"])
def test_killed(played: PlayedHosts, moment: str) -> None:
    """Before or after each step; the same command goes on, and the guest goes on once, with its last write."""
    place = {
        "unmap": (live_moves, "release_images"),
        "map": (map_batches, "map_arrived"),
        "resume": (live_moves, "ResumeDomain"),
        "record": (live_moves, "record_move"),
    }[moment]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(*place, die)
        move(played)
    assert played.storage.lease(played.name) == ("moving", HOST)
    assert f"{played.name} runs on {OTHER} now" in move(played).out
    assert (played.storage.lease(played.name), owner(played), played.resumed_on) == (
        ("running", OTHER),
        OTHER,
        [OTHER],
    )
    assert played.storage.images.nas.pools.read(f"tank/{played.name}-vol", 13, 8192) == b"the last word"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("set", "host", "attr", OTHER, "img_sync", "no"), "only an image with a copy moves"),
        (("set", "host", "zvolattr", NAS, "{}-vol", "persistent", "no"), "discarded when it is unmapped"),
    ],
    ids=["nocopy", "forgets"],
)
def test_refused(played: PlayedHosts, change: tuple[str, ...], message: str) -> None:
    """Before anything is changed."""
    played.storage.done(*(word.format(played.name) for word in change))
    ended = move(played)
    assert ended.status == 1 and message in ended.err and "move it without live=yes" in ended.err
    assert (played.storage.lease(played.name), owner(played)) == (("running", HOST), HOST)
    played.storage.done("set", "host", "zvolattr", NAS, f"{played.name}-vol", "persistent", "yes")
