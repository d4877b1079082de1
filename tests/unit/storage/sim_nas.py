"""The NAS of the simulated world: it stores the record as the daemon does, and performs its effects in memory."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from rocks.core.errors import HostError, IncoherentError, RocksError, StateError
from rocks.fleet.wire.codec import decode, encode
from rocks.storage.life import effects
from rocks.storage.life.adoption import adopted
from rocks.storage.life.effects import AskHost, Effect
from rocks.storage.life.events import (
    Contradicted,
    EffectDone,
    EffectFailed,
    Event,
    HostFailed,
    Restarted,
    Retry,
)
from rocks.storage.life.facts import NOTHING, Facts, HistoryPoint
from rocks.storage.life.fencing import check_stream
from rocks.storage.life.grants import (
    Grant,
    disagreement,
    grant_properties,
    is_recovering,
    read_grant,
    why_refused,
)
from rocks.storage.life.image import Decision, Image, Outcome, Rejection
from rocks.storage.life.machine import Machine, is_ready
from rocks.storage.nas import sequences as nas_sequences
from rocks.storage.nas.sequences import MACHINE
from tests.unit.storage.sim_store import ZVOL, Ask
from tests.unit.storage.sim_volumes import GIB, Content, Volume, transfer


@dataclass
class Export:
    """The content of a target; `snapshot` None: the volume itself, writable."""

    initiator: str
    snapshot: str | None


@dataclass
class Nas:
    """`image`, `volume` and `properties` are durable; `exports` are the kernel's and lost at a power cut."""

    machine: Machine = MACHINE
    now: int = 1_800_000_000
    image: Image = field(default_factory=lambda: Image("1", "nas-0-0", "tank", ZVOL))
    volume: Volume = field(default_factory=Volume)
    properties: dict[str, str] = field(default_factory=dict)
    exports: dict[str, Export] = field(default_factory=dict)
    is_up: bool = True
    asked: set[str] = field(default_factory=set)
    send: Callable[[Ask], None] = lambda ask: None
    on_outcome: Callable[[Outcome], None] = lambda outcome: None
    on_change: Callable[[Image, Image], None] = lambda before, after: None

    # --- the daemon ------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> Decision | Rejection:
        """Decide, store, publish."""
        before = self.image
        decision = self.machine.decide(before, event, self.now)
        if isinstance(decision, Decision):
            assert decision.image is not None, "this world deletes nothing"
            self.image = decision.image
            self.on_change(before, decision.image)
            for outcome in decision.outcomes:
                self.on_outcome(outcome)
        return decision

    @property
    def has_work(self) -> bool:
        """Whether `step` would do something."""
        image = self.image
        if not self.is_up or not is_ready(image):
            return False
        return image.work.asked is None or image.work.work_id not in self.asked

    def step(self, is_killed: bool = False) -> None:
        """Do the next effect; with `is_killed` the daemon dies before it has stored that it is done."""
        image = self.image
        work = image.work
        if not self.has_work or work is None:
            return
        effect = work.effects[work.position]
        if isinstance(effect, AskHost):
            epoch, sequence = work.work_id.split("-")
            self.asked.add(work.work_id)
            self.send(Ask(effect.host, image.epoch, int(sequence), effect.request))
            return
        try:
            event: Event = EffectDone(work.work_id, work.position, self.do(effect))
        except RocksError as error:
            event = EffectFailed(work.work_id, work.position, error.family, str(error))
        if is_killed:
            self.kill()
        else:
            self.handle(event)

    def fail(self, family: str) -> None:
        """The next effect fails."""
        work = self.image.work
        if self.has_work and work is not None and work.asked is None:
            self.handle(EffectFailed(work.work_id, work.position, family, "it failed"))

    def give_up_waiting(self) -> None:
        """No answer came in time."""
        image = self.image
        if image.work is not None and is_ready(image) and image.work.asked is not None:
            host = image.work.asked.host
            self.handle(HostFailed(image.work.work_id, host, image.epoch, "host", "no answer in time"))

    def kill(self) -> None:
        """The daemon is killed and started again."""
        self.asked = set()
        self.image = decode(Image, json.loads(json.dumps(encode(self.image))), "image")
        expected = nas_sequences.export_spec(self.image)
        is_certain = disagreement(self.image, self.standing) is None and not is_recovering(self.image)
        # the daemon leaves exports in use, and those of images whose record is uncertain
        for target in set(self.exports) - ({expected.target} if expected else set()):
            if is_certain:
                del self.exports[target]
        if expected is not None:
            self.do(expected)
        text = disagreement(self.image, self.standing)
        if text is not None and not self.image.disagrees:
            self.handle(Contradicted(text))
        self.handle(Restarted())

    @property
    def standing(self) -> Grant:
        """The grant on the volume."""
        return read_grant(self.properties)

    def restore_record(self, image: Image) -> None:
        """The record of an earlier moment comes back from a backup; then the daemon starts."""
        self.image = image
        self.kill()

    def lose_record(self) -> None:
        """The NAS is installed anew over its pool; then the daemon starts."""
        self.image = adopted("nas-0-0", "tank", ZVOL, self.standing, "new")
        self.kill()
        if self.standing.owner is not None:
            self.handle(Retry("", self.standing))

    def power_off(self) -> None:
        """The machine is off; LIO forgets."""
        self.is_up = False
        self.exports = {}

    def power_on(self) -> None:
        """The daemon starts."""
        if not self.is_up:
            self.is_up = True
            self.kill()

    # --- access by hosts -------------------------------------------------------------------------------------

    def log_in(self, host: str, target: str, read_only: bool) -> None:
        export = self.exports.get(target)
        if export is None:
            raise HostError("no such target")
        assert export.initiator == f"iqn.{host}" and (export.snapshot is not None) == read_only

    def exported(self, target: str | None) -> Content:
        assert target in self.exports, "the export is gone under a guest"
        name = self.exports[target].snapshot
        snap = None if name is None else self.volume.find(name)
        return self.volume.content if snap is None else snap.content

    def write(self, target: str, block: int, version: int) -> None:
        assert self.exports[target].snapshot is None, "a write to a read-only export"
        self.volume.content[block] = version

    def check_stream(self, host: str, epoch: int, is_to_nas: bool) -> None:
        if not self.is_up:
            raise HostError("the NAS is down")
        rejection = check_stream(self.image, host, epoch, is_to_nas)
        if rejection is not None:
            raise StateError(rejection.text)

    def receive(self, host: str, epoch: int, sender: Volume, guid: str, is_cut: bool) -> None:
        """Receive a snapshot, and hold it before confirming."""
        self.check_stream(host, epoch, is_to_nas=True)
        if not transfer(sender, self.volume, guid, is_cut):
            raise HostError("the stream was cut")
        self.volume.holds.add(guid)

    # --- effects ---------------------------------------------------------------------------------------------------

    def do(self, effect: Effect) -> Facts:
        """One effect, whole."""
        result: Facts | None = getattr(self, "_do_" + type(effect).__name__)(effect)
        return result or NOTHING

    def _do_EnsureVolume(self, effect: effects.EnsureVolume) -> Facts:
        assert effect.guid in (None, "77"), "another volume is taken for the image's"
        size_bytes = self.volume.size_bytes
        return Facts(size_bytes=size_bytes, volume_guid="77", free_bytes=500 * GIB, pool_bytes=1000 * GIB)

    def _do_EnsureSize(self, effect: effects.EnsureSize) -> Facts:
        if self.volume.size_bytes > effect.size_bytes:
            raise StateError("a volume does not shrink")
        assert not self.exports and self.image.owner is None, "a volume in use grows"
        self.volume.size_bytes = effect.size_bytes
        return Facts(size_bytes=effect.size_bytes, volume_guid="77")

    def _do_EnsureGrant(self, effect: effects.EnsureGrant) -> None:
        reason = why_refused(effect, self.standing)
        if reason is not None:
            raise IncoherentError(reason)
        self.properties.update(grant_properties(effect))

    def _do_EnsureBase(self, effect: effects.EnsureBase) -> Facts:
        newest = self.volume.newest
        if newest is None or self.volume.is_written:
            newest = self.volume.snapshot(effect.name)
        self.volume.holds.add(newest.guid)
        history = tuple(HistoryPoint(snap.guid, 0) for snap in self.volume.snaps)
        return Facts(base_name=newest.name, base_guid=newest.guid, seed_bytes=GIB, history=history)

    def _do_EnsureOnlyHold(self, effect: effects.EnsureOnlyHold) -> None:
        if effect.guid is not None and effect.name is not None:
            snap = self.volume.find(effect.name)
            if snap is None or snap.guid != effect.guid:
                raise IncoherentError(f"the snapshot {effect.name} has another guid, or is gone")
            self.volume.holds.add(effect.guid)
        self.volume.holds &= {effect.guid}

    def _do_EnsureExport(self, effect: effects.EnsureExport) -> None:
        self.exports[effect.target] = Export(effect.initiator, effect.snapshot)

    def _do_EnsureExportGone(self, effect: effects.EnsureExportGone) -> None:
        self.exports.pop(effect.target, None)

    def _do_VerifyReceived(self, effect: effects.VerifyReceived) -> Facts:
        newest = self.volume.newest
        if newest is None or newest.guid != effect.guid:
            raise IncoherentError("the NAS has another newest snapshot")
        return Facts(guid=newest.guid)

    def _do_ReadHistory(self, effect: effects.ReadHistory) -> Facts:
        return Facts(history=tuple(HistoryPoint(snap.guid, 0) for snap in self.volume.snaps))

    def _do_EnsurePartialGone(self, effect: effects.EnsurePartialGone) -> None:
        self.volume.token = None

    def _do_EnsureSnapshot(self, effect: effects.EnsureSnapshot) -> None:
        self.volume.snapshot(effect.name)
