"""A host of the simulated world: the real engine and sequences over volumes, sessions and devices in memory.

Records and volumes survive a crash, the memory of the engine does not. Sessions, devices and guests do not survive a
power cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rocks.core.errors import CLASSES, BusyError, HostError, IncoherentError
from rocks.storage.host import effects as host_effects
from rocks.storage.host import sequences as host_sequences
from rocks.storage.host.access import Access
from rocks.storage.host.effects import HostEffect
from rocks.storage.host.engine import HostEngine, Sequences
from rocks.storage.life.events import CopyFound, Event
from rocks.storage.life.facts import NOTHING, CopyFact, Facts
from rocks.storage.life.host_image import HostImage
from rocks.storage.nas.host_requests import event_of
from rocks.storage.wire.messages import read_message
from tests.unit.storage.sim_store import NAS, ZVOL, Ask, BrokenRuleError, MemoryStore
from tests.unit.storage.sim_volumes import GIB, Content, Volume, transfer

if TYPE_CHECKING:
    from tests.unit.storage.sim_nas import Nas


class NotYetError(BaseException):
    """The effect is still under way. The engine must not take it for a failure."""


@dataclass
class Device:
    """The guest's device: `overlay`, `merge`, `linear`, or `remote` (the iSCSI disk itself)."""

    kind: str
    target: str | None = None


@dataclass
class Host:
    """One host: `store` and volumes are durable, `engine` is the daemon's memory, the others are the kernel's."""

    name: str
    nas: Nas
    may_discard: Callable[[str, int], bool]
    sequences: Sequences = host_sequences.sequence_for
    store: MemoryStore = field(default_factory=MemoryStore)
    copy: Volume | None = None
    seed: Volume | None = None
    temp_write: Content | None = None
    quarantine: list[tuple[Volume | None, Content | None, Volume | None]] = field(default_factory=list)
    is_up: bool = True
    session: str | None = None
    session_is_writable: bool = False
    origin: str | None = None
    device: Device | None = None
    has_guest: bool = False
    cut_next: bool = False
    fail_next: str = ""
    epoch: int = 0

    def __post_init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.engine = HostEngine(self.store, self, self.sequences)  # type: ignore[arg-type]

    # --- the daemon ------------------------------------------------------------------------------------------------

    @property
    def known(self) -> HostImage:
        """The host's record of the image."""
        copy = self.store.copy(ZVOL)
        return HostImage(ZVOL) if copy is None else copy.known

    @property
    def is_busy(self) -> bool:
        return bool(self.store.open_requests()) or self.engine.must_rebuild(ZVOL)

    def take(self, ask: Ask) -> list[Event]:
        """A request has arrived; returns the answers that are sent at once."""
        body = ask.body()
        self.engine.take(read_message(body), NAS, body)
        return self._answers()

    def step(self) -> list[Event]:
        """Perform the next effect; returns the answers that follow."""
        try:
            self.engine.step(ZVOL)
        except NotYetError:
            pass
        except BrokenRuleError as error:
            raise AssertionError(str(error)) from error
        return self._answers()

    def fail(self, family: str) -> list[Event]:
        """The next effect of a request fails."""
        if not self.store.open_requests():
            return []
        self.fail_next = family
        try:
            return self.step()
        finally:
            self.fail_next = ""

    def _answers(self) -> list[Event]:
        sent, self.store.sent = self.store.sent, []
        return [event_of(read_message(body), self.name)[1] for body in sent]

    def report(self) -> CopyFound:
        """The facts of the image that the host can read."""
        kind, guid = "none", None
        if self.known.stage != "none" or self.temp_write is not None:
            kind = "dirty"
        elif self.copy is not None and self.copy.newest is not None:
            is_clean = self.copy.kind == "clean" and not self.copy.is_written
            kind, guid = ("clean" if is_clean else "dirty"), self.copy.newest.guid
        return CopyFound(self.name, "tank", self.known.epoch, kind, guid)

    def kill(self) -> None:
        """The daemon is killed and started again."""
        self._start()

    def power_off(self) -> None:
        """Everything that is not on a disk is gone."""
        self.is_up = self.has_guest = False
        self.session = self.origin = self.device = None

    def power_on(self) -> None:
        """The daemon starts, and rebuilds."""
        if not self.is_up:
            self.is_up = True
            self._start()

    # --- the guest -------------------------------------------------------------------------------------------------

    def can_read(self) -> bool:
        """Whether reads come through now: while the NAS is away they only wait."""
        if self.device is None:
            return False
        needs_nas = self.device.kind == "remote" or (
            self.device.kind == "overlay" and self.origin == "remote"
        )
        return not needs_nas or self.session in self.nas.exports

    def read_all(self) -> Content:
        """What a guest reads."""
        if self.device.kind == "remote":
            return dict(self.nas.exported(self.session))
        if self.device.kind == "linear":
            return dict(self.copy.content)
        assert self.temp_write is not None, "the guest's writes are gone"
        return {**self._origin_content(), **self.temp_write}

    def write(self, block: int, version: int) -> None:
        """What a guest writes."""
        if self.device.kind == "remote":
            assert self.session is not None
            self.nas.write(self.session, block, version)
        elif self.device.kind == "linear":
            self.copy.content[block] = version
        else:
            if self.device.kind == "merge" and block not in self.temp_write:
                self.copy.content[block] = version
            else:
                self.temp_write[block] = version

    def merge_one(self) -> None:
        """The kernel merges one chunk."""
        if self.device is not None and self.device.kind == "merge" and self.temp_write:
            assert self.copy is not None and self.origin == "local"
            block = min(self.temp_write)
            self.copy.content[block] = self.temp_write.pop(block)

    def _origin_content(self) -> Content:
        if self.origin == "remote":
            return self.nas.exported(self.session)
        assert self.origin == "local" and self.copy is not None
        return self.copy.content

    # --- effects ---------------------------------------------------------------------------------------------------

    def do(self, effect: HostEffect, access: Access) -> Facts:
        """One effect, whole, as the engine's handlers perform it."""
        self.epoch = access.epoch
        if self.fail_next:
            raise CLASSES[self.fail_next]("it failed")
        try:
            result: Facts | None = getattr(self, "_do_" + type(effect).__name__)(effect)
        except AssertionError as error:
            raise BrokenRuleError(str(error)) from error
        return result or NOTHING

    def _do_ReadCopy(self, effect: host_effects.ReadCopy) -> Facts:
        newest = None if self.copy is None else self.copy.newest
        return Facts(
            copy=CopyFact(
                stage=self.known.stage,
                epoch=self.known.epoch,
                exists=self.copy is not None,
                guid=None if newest is None else newest.guid,
                written_bytes=int(self.copy is not None and self.copy.is_written),
                size_bytes=0 if self.copy is None else self.copy.size_bytes,
                has_temp_write=self.temp_write is not None,
                free_bytes=100 * GIB,
                pool_bytes=200 * GIB,
            )
        )

    def _do_EnsureUnused(self, effect: host_effects.EnsureUnused) -> None:
        if self.has_guest:
            raise BusyError("the device is in use")

    def _do_EnsureDeviceGone(self, effect: host_effects.EnsureDeviceGone) -> None:
        if self.has_guest:
            raise BusyError("the device is in use")
        self.device = None

    def _do_EnsureOriginGone(self, effect: host_effects.EnsureOriginGone) -> None:
        assert self.device is None or self.device.kind == "linear", "the origin is in use"
        self.origin = None

    def _do_EnsureSession(self, effect: host_effects.EnsureSession) -> Facts:
        if self.session is not None and self.session != effect.target:
            raise IncoherentError("another target")
        self.nas.log_in(self.name, effect.target, effect.read_only)
        self.session, self.session_is_writable = effect.target, not effect.read_only
        if not effect.read_only:
            self.device = Device("remote", effect.target)
        return Facts(device="/dev/disk/by-path/x")

    def _do_EnsureSessionGone(self, effect: host_effects.EnsureSessionGone) -> None:
        if self.device is not None and self.device.kind == "remote":
            if self.has_guest:
                raise BusyError("the disk is in use")
            self.device = None
        assert self.origin != "remote", "the origin needs the session"
        if effect.target is None or self.session == effect.target:
            self.session = None

    def _do_EnsureQuarantined(self, effect: host_effects.EnsureQuarantined) -> None:
        if self.copy is not None or self.temp_write is not None or self.seed is not None:
            self.quarantine.append((self.copy, self.temp_write, self.seed))
        self.copy = self.temp_write = self.seed = None

    def _do_EnsureRemoteOrigin(self, effect: host_effects.EnsureRemoteOrigin) -> None:
        assert self.session == effect.target
        if self.origin is None:
            self.origin = "remote"

    def _do_EnsureLocalOrigin(self, effect: host_effects.EnsureLocalOrigin) -> None:
        assert self.copy is not None, "there is no copy to read from"
        assert self.copy.size_bytes == self.known.size_bytes, "a copy of another size is read from"
        self.origin = "local"

    def _do_EnsureTempWrite(self, effect: host_effects.EnsureTempWrite) -> None:
        if self.temp_write is None:
            self.temp_write = {}

    def _do_RequireTempWrite(self, effect: host_effects.RequireTempWrite) -> None:
        if self.temp_write is None:
            raise IncoherentError("the temp-write volume is gone")

    def _do_EnsureTempWriteGone(self, effect: host_effects.EnsureTempWriteGone) -> None:
        assert self.device is None or self.device.kind == "linear", "the temp-write volume is in use"
        assert not self.temp_write or self.may_discard(self.name, self.epoch), (
            "changes that were nowhere else were destroyed"
        )
        self.temp_write = None

    def _do_RequireTempWriteEmpty(self, effect: host_effects.RequireTempWriteEmpty) -> Facts:
        return Facts(has_changes=bool(self.temp_write))

    def _do_EnsureOverlayDevice(self, effect: host_effects.EnsureOverlayDevice) -> Facts:
        assert self.origin is not None and self.temp_write is not None
        if self.device is None:
            self.device = Device("overlay")
        return Facts(device="/dev/mapper/vm-vol-snap")

    def _do_EnsureMergeDevice(self, effect: host_effects.EnsureMergeDevice) -> None:
        assert self.origin == "local" and self.temp_write is not None
        if self.device is None or self.device.kind == "overlay":
            self.device = Device("merge")

    def _do_WaitMerged(self, effect: host_effects.WaitMerged) -> None:
        if self.temp_write:
            raise NotYetError

    def _do_EnsureLinearDevice(self, effect: host_effects.EnsureLinearDevice) -> Facts:
        if self.copy is None:
            raise IncoherentError("there is no copy")
        assert not self.temp_write, "switched to the copy before all was merged"
        assert self.copy.size_bytes == self.known.size_bytes, "a copy of another size is taken for the image"
        self.device = Device("linear")
        return Facts(device="/dev/mapper/vm-vol-snap")

    def _do_EnsureSeedPlace(self, effect: host_effects.EnsureSeedPlace) -> None:
        if self.copy is None or (self.copy.newest and self.copy.newest.guid == effect.base_guid):
            return
        assert self.seed is None and not self.copy.is_written, "a copy with changes was received into"
        self.seed, self.copy = self.copy, None

    def _do_ReceiveSeed(self, effect: host_effects.ReceiveSeed) -> None:
        if self.copy is not None and self.copy.newest and self.copy.newest.guid == effect.base_guid:
            return
        self.seed = self.seed or Volume()
        self.nas.check_stream(self.name, self.epoch, is_to_nas=False)
        if not transfer(self.nas.volume, self.seed, effect.base_guid, self._is_cut()):
            raise HostError("the stream was cut")

    def _do_EnsureSeedNamed(self, effect: host_effects.EnsureSeedNamed) -> Facts:
        if self.copy is None:
            self.copy, self.seed = self.seed, None
        if self.copy.newest.guid != effect.base_guid or self.copy.is_written:
            raise IncoherentError("another copy has its name")
        self.copy.holds = {effect.base_guid}
        return Facts(guid=self.copy.newest.guid)

    def _do_EnsureSeedSettled(self, effect: host_effects.EnsureSeedSettled) -> None:
        if self.seed is not None:
            self.seed.token = None
            assert self.copy is None or not self.seed.snaps
            self.copy, self.seed = (self.seed if self.seed.snaps else self.copy), None

    def _do_RequireCopyAt(self, effect: host_effects.RequireCopyAt) -> Facts:
        newest = None if self.copy is None else self.copy.newest
        if newest is None or self.copy is None or newest.guid != effect.guid or self.copy.is_written:
            raise IncoherentError("the copy is not the wanted one")
        self.copy.holds = {newest.guid}
        return Facts(guid=newest.guid)

    def _do_MarkCopy(self, effect: host_effects.MarkCopy) -> None:
        assert self.copy is not None
        self.copy.kind = effect.kind

    def _do_SnapshotCopy(self, effect: host_effects.SnapshotCopy) -> None:
        self.copy.holds.add(self.copy.snapshot(effect.name).guid)

    def _do_SendSnapshot(self, effect: host_effects.SendSnapshot) -> Facts:
        snap = self.copy.find(effect.name)
        self.nas.receive(self.name, self.epoch, self.copy, snap.guid, self._is_cut())
        return Facts(guid=snap.guid)

    def _do_AdvanceBase(self, effect: host_effects.AdvanceBase) -> None:
        snap = self.copy.find(effect.name)
        self.copy.holds = {snap.guid}
        self.copy.snaps = self.copy.snaps[self.copy.snaps.index(snap) :]

    def _do_RollBack(self, effect: host_effects.RollBack) -> None:
        assert self.may_discard(self.name, self.epoch), "changes were thrown away that were to be kept"
        number = next(number for number, snap in enumerate(self.copy.snaps) if snap.guid == effect.guid)
        self.copy.snaps = self.copy.snaps[: number + 1]
        self.copy.content, self.copy.size_bytes = (
            dict(self.copy.snaps[-1].content),
            self.copy.snaps[-1].size_bytes,
        )
        self.copy.holds = {effect.guid}

    def _is_cut(self) -> bool:
        is_cut, self.cut_next = self.cut_next, False
        return is_cut
