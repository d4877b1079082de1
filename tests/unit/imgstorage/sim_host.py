"""A host of the simulated world: does the effects of `host_actions` on volumes, sessions and devices in memory.

What is durable (record, journal, volumes) survives a crash; sessions, devices and guests do not survive a power cut.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rocks.errors import BusyError, HostError, IncoherentError, RocksError
from rocks.imgstorage.model import effects as asked
from rocks.imgstorage.model import host_actions
from rocks.imgstorage.model import host_effects as operations
from rocks.imgstorage.model.events import CopyFound, HostDone, HostFailed
from rocks.imgstorage.model.facts import NOTHING, CopyFact, Facts, laid_over
from rocks.imgstorage.model.host_actions import HostImage
from rocks.imgstorage.model.host_effects import HostEffect
from rocks.imgstorage.model.image import Refusal
from rocks.wire.codec import decode, encode
from tests.unit.imgstorage.volumes import GIB, SIZE_BYTES, Content, Volume, transfer

if TYPE_CHECKING:
    from tests.unit.imgstorage.sim_nas import Nas

ZVOL = "vm-vol"


class NotYetError(Exception):
    """The effect is still under way."""


@dataclass(frozen=True)
class Ask:
    """A request as it travels."""

    host: str
    epoch: int
    sequence: int
    request: asked.HostRequest

    @property
    def work_id(self) -> str:
        return f"{self.epoch}-{self.sequence}"


@dataclass
class Device:
    """The guest's device: `overlay`, `merge`, `linear`, or `remote` (the iSCSI disk itself)."""

    kind: str
    target: str | None = None


@dataclass
class Host:
    """One host; `known` and `job` are its store, `todo` and `rebuilding` the daemon's memory."""

    name: str
    nas: Nas
    may_discard: Callable[[str, int], bool]
    sequences: Callable[..., Any] = host_actions.sequence_for
    known: HostImage = field(default_factory=lambda: HostImage(ZVOL))
    job: Ask | None = None
    answered: HostDone | HostFailed | None = None
    copy: Volume | None = None
    seed: Volume | None = None
    temp_write: Content | None = None
    orphans: list[tuple[Volume | None, Content | None, Volume | None]] = field(default_factory=list)
    is_up: bool = True
    session: str | None = None
    session_is_writable: bool = False
    origin: str | None = None
    device: Device | None = None
    has_guest: bool = False
    cut_next: bool = False
    todo: list[HostEffect] | None = None
    rebuilding: list[HostEffect] = field(default_factory=list)
    facts: Facts = NOTHING

    # --- the daemon ------------------------------------------------------------------------------------------------

    def take(self, ask: Ask) -> HostDone | HostFailed | None:
        """A request has arrived; an answer that was given before is given again."""
        if self.answered is not None and self.answered.work_id == ask.work_id:
            return self.answered
        if host_actions.check_order(self.known, ask.epoch, ask.sequence) is not None:
            return None
        if self.job is not None and self.job.work_id == ask.work_id:
            return None
        self.job = ask
        self.known = dataclasses.replace(self.known, last_epoch=ask.epoch, last_sequence=ask.sequence)
        self.todo = None
        if host_actions.ends_rebuild(ask.request):
            self.rebuilding = []
        return None

    @property
    def is_busy(self) -> bool:
        return self.job is not None or bool(self.rebuilding)

    def step(self) -> HostDone | HostFailed | None:
        """Do the next effect; the answer when it was the last."""
        if self.rebuilding and self._rebuild_one():
            return None
        if self.job is None:
            return None
        if self.todo is None:
            found = self.sequences(self.job.request, self.known, self.job.epoch)
            if isinstance(found, Refusal):
                return self._answer_failed(found.family, found.text)
            self.todo, self.facts = list(found), NOTHING
        return self._next_effect(self.job)

    def _next_effect(self, job: Ask) -> HostDone | HostFailed | None:
        assert self.todo is not None
        if self.todo:
            try:
                found = self.do(self.todo[0])
            except NotYetError:
                return None
            except RocksError as error:
                return self._answer_failed(error.family, str(error))
            self.todo.pop(0)
            self.facts = laid_over(self.facts, found)
            if found.has_changes:
                self.todo = []
                self.rebuilding = list(host_actions.rebuild_effects(self.known, None))
        if self.todo:
            return None
        self.answered = HostDone(job.work_id, self.name, job.epoch, self.facts)
        self.job = self.todo = None
        return self.answered

    def _answer_failed(self, family: str, message: str) -> HostFailed:
        assert self.job is not None
        self.answered = HostFailed(self.job.work_id, self.name, self.job.epoch, family, message)
        self.job = self.todo = None
        return self.answered

    def fail(self, family: str) -> HostFailed | None:
        """The next effect fails."""
        return None if self.job is None else self._answer_failed(family, "it failed")

    def report(self) -> CopyFound:
        """What there is of the image, as far as the host can tell."""
        kind, guid = "none", None
        if self.known.stage != "none" or self.temp_write is not None:
            kind = "dirty"
        elif self.copy is not None and self.copy.newest is not None:
            is_clean = self.copy.kind == "clean" and not self.copy.is_written
            kind, guid = ("clean" if is_clean else "dirty"), self.copy.newest.guid
        return CopyFound(self.name, "tank", self.known.epoch, kind, guid)

    def kill(self) -> None:
        """The daemon is killed and started again."""
        self.known = decode(HostImage, encode(self.known), "known")
        self.todo = None
        request = None if self.job is None else self.job.request
        self.rebuilding = list(host_actions.rebuild_effects(self.known, request))

    def power_off(self) -> None:
        """Everything that is not on a disk is gone."""
        self.is_up = self.has_guest = False
        self.session = self.origin = self.device = None
        self.todo, self.rebuilding = None, []

    def power_on(self) -> None:
        """The daemon starts, and rebuilds."""
        if not self.is_up:
            self.is_up = True
            self.kill()

    def _rebuild_one(self) -> bool:
        """Whether it went on; without the NAS it does not, and is tried again for ever."""
        try:
            self.do(self.rebuilding[0])
        except HostError:
            return False
        except RocksError:
            self.rebuilding = []
            return True
        self.rebuilding.pop(0)
        return True

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
        assert self.device is not None
        if self.device.kind == "remote":
            return dict(self.nas.exported(self.session))
        if self.device.kind == "linear":
            assert self.copy is not None
            return dict(self.copy.content)
        assert self.temp_write is not None, "the guest's writes are gone"
        return {**self._origin_content(), **self.temp_write}

    def write(self, block: int, version: int) -> None:
        """What a guest writes."""
        assert self.device is not None
        if self.device.kind == "remote":
            assert self.session is not None
            self.nas.write(self.session, block, version)
        elif self.device.kind == "linear":
            assert self.copy is not None
            self.copy.content[block] = version
        else:
            assert self.temp_write is not None
            if self.device.kind == "merge" and block not in self.temp_write:
                assert self.copy is not None
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

    def do(self, effect: HostEffect) -> Facts:
        """One effect, whole."""
        result: Facts | None = getattr(self, "_do_" + type(effect).__name__)(effect)
        return result or NOTHING

    def _do_ReadCopy(self, effect: operations.ReadCopy) -> Facts:
        newest = None if self.copy is None else self.copy.newest
        return Facts(
            copy=CopyFact(
                stage=self.known.stage,
                epoch=self.known.epoch,
                exists=self.copy is not None,
                guid=None if newest is None else newest.guid,
                written_bytes=int(self.copy is not None and self.copy.is_written),
                size_bytes=SIZE_BYTES,
                has_temp_write=self.temp_write is not None,
                free_bytes=100 * GIB,
                pool_bytes=200 * GIB,
            )
        )

    def _do_RecordStage(self, effect: operations.RecordStage) -> None:
        assert self.job is not None
        pool = getattr(self.job.request, "pool", None)
        self.rebuilding = []
        self.known = dataclasses.replace(
            self.known,
            stage=effect.stage,
            target=effect.target,
            serial=effect.serial,
            epoch=self.job.epoch,
            pool=pool,
            size_bytes=SIZE_BYTES,
        )

    def _do_EnsureUnused(self, effect: operations.EnsureUnused) -> None:
        if self.has_guest:
            raise BusyError("the device is in use")

    def _do_EnsureDeviceGone(self, effect: operations.EnsureDeviceGone) -> None:
        if self.has_guest:
            raise BusyError("the device is in use")
        self.device = None

    def _do_EnsureOriginGone(self, effect: operations.EnsureOriginGone) -> None:
        assert self.device is None or self.device.kind == "linear", "the origin is in use"
        self.origin = None

    def _do_EnsureSession(self, effect: operations.EnsureSession) -> Facts:
        if self.session is not None and self.session != effect.target:
            raise IncoherentError("another target")
        self.nas.log_in(self.name, effect.target, effect.read_only)
        self.session, self.session_is_writable = effect.target, not effect.read_only
        if not effect.read_only:
            self.device = Device("remote", effect.target)
        return Facts(device="/dev/disk/by-path/x")

    def _do_EnsureSessionGone(self, effect: operations.EnsureSessionGone) -> None:
        if self.device is not None and self.device.kind == "remote":
            if self.has_guest:
                raise BusyError("the disk is in use")
            self.device = None
        assert self.origin != "remote", "the origin needs the session"
        if effect.target is None or self.session == effect.target:
            self.session = None

    def _do_EnsureSetAside(self, effect: operations.EnsureSetAside) -> None:
        if self.copy is not None or self.temp_write is not None or self.seed is not None:
            self.orphans.append((self.copy, self.temp_write, self.seed))
        self.copy = self.temp_write = self.seed = None

    def _do_EnsureRemoteOrigin(self, effect: operations.EnsureRemoteOrigin) -> None:
        assert self.session == effect.target
        if self.origin is None:
            self.origin = "remote"

    def _do_EnsureLocalOrigin(self, effect: operations.EnsureLocalOrigin) -> None:
        assert self.copy is not None, "there is no copy to read from"
        self.origin = "local"

    def _do_EnsureTempWrite(self, effect: operations.EnsureTempWrite) -> None:
        if self.temp_write is None:
            self.temp_write = {}

    def _do_RequireTempWrite(self, effect: operations.RequireTempWrite) -> None:
        if self.temp_write is None:
            raise IncoherentError("the temp-write volume is gone")

    def _do_EnsureTempWriteGone(self, effect: operations.EnsureTempWriteGone) -> None:
        assert self.device is None or self.device.kind == "linear", "the temp-write volume is in use"
        assert not self.temp_write or self.may_discard(self.name, self._epoch()), (
            "changes that were nowhere else were destroyed"
        )
        self.temp_write = None

    def _do_RequireTempWriteEmpty(self, effect: operations.RequireTempWriteEmpty) -> Facts:
        return Facts(has_changes=bool(self.temp_write))

    def _do_EnsureOverlayDevice(self, effect: operations.EnsureOverlayDevice) -> Facts:
        assert self.origin is not None and self.temp_write is not None
        if self.device is None:
            self.device = Device("overlay")
        return Facts(device="/dev/mapper/vm-vol-snap")

    def _do_EnsureMergeDevice(self, effect: operations.EnsureMergeDevice) -> None:
        assert self.origin == "local" and self.temp_write is not None
        if self.device is None or self.device.kind == "overlay":
            self.device = Device("merge")

    def _do_WaitMerged(self, effect: operations.WaitMerged) -> None:
        if self.temp_write:
            raise NotYetError

    def _do_EnsureLinearDevice(self, effect: operations.EnsureLinearDevice) -> Facts:
        if self.copy is None:
            raise IncoherentError("there is no copy")
        assert not self.temp_write, "switched to the copy before all was merged"
        self.device = Device("linear")
        return Facts(device="/dev/mapper/vm-vol-snap")

    def _do_EnsureSeedPlace(self, effect: operations.EnsureSeedPlace) -> None:
        if self.copy is None or (self.copy.newest and self.copy.newest.guid == effect.base_guid):
            return
        assert self.seed is None and not self.copy.is_written, "a copy with changes was received into"
        self.seed, self.copy = self.copy, None

    def _do_ReceiveSeed(self, effect: operations.ReceiveSeed) -> None:
        if self.copy is not None and self.copy.newest and self.copy.newest.guid == effect.base_guid:
            return
        self.seed = self.seed or Volume()
        self.nas.check_stream(self.name, self._epoch(), is_to_nas=False)
        if not transfer(self.nas.volume, self.seed, effect.base_guid, self._is_cut()):
            raise HostError("the stream was cut")

    def _do_EnsureSeedNamed(self, effect: operations.EnsureSeedNamed) -> Facts:
        if self.copy is None:
            self.copy, self.seed = self.seed, None
        assert self.copy is not None and self.copy.newest is not None
        if self.copy.newest.guid != effect.base_guid or self.copy.is_written:
            raise IncoherentError("another copy has its name")
        self.copy.holds = {effect.base_guid}
        return Facts(guid=self.copy.newest.guid)

    def _do_EnsureSeedSettled(self, effect: operations.EnsureSeedSettled) -> None:
        if self.seed is not None:
            self.seed.token = None
            assert self.copy is None or not self.seed.snaps
            self.copy, self.seed = (self.seed if self.seed.snaps else self.copy), None

    def _do_RequireCopyAt(self, effect: operations.RequireCopyAt) -> Facts:
        newest = None if self.copy is None else self.copy.newest
        if newest is None or self.copy is None or newest.guid != effect.guid or self.copy.is_written:
            raise IncoherentError("the copy is not the wanted one")
        self.copy.holds = {newest.guid}
        return Facts(guid=newest.guid)

    def _do_MarkCopy(self, effect: operations.MarkCopy) -> None:
        assert self.copy is not None
        self.copy.kind = effect.kind

    def _do_SnapshotCopy(self, effect: operations.SnapshotCopy) -> None:
        assert self.copy is not None
        self.copy.holds.add(self.copy.snapshot(effect.name).guid)

    def _do_SendSnapshot(self, effect: operations.SendSnapshot) -> Facts:
        assert self.copy is not None
        snap = self.copy.find(effect.name)
        assert snap is not None
        self.nas.receive(self.name, self._epoch(), self.copy, snap.guid, self._is_cut())
        return Facts(guid=snap.guid)

    def _do_AdvanceBase(self, effect: operations.AdvanceBase) -> None:
        assert self.copy is not None
        snap = self.copy.find(effect.name)
        assert snap is not None
        self.copy.holds = {snap.guid}
        self.copy.snaps = self.copy.snaps[self.copy.snaps.index(snap) :]

    def _do_RollBack(self, effect: operations.RollBack) -> None:
        assert self.copy is not None
        assert self.may_discard(self.name, self._epoch()), "changes were thrown away that were to be kept"
        number = next(number for number, snap in enumerate(self.copy.snaps) if snap.guid == effect.guid)
        self.copy.snaps = self.copy.snaps[: number + 1]
        self.copy.content = dict(self.copy.snaps[-1].content)
        self.copy.holds = {effect.guid}

    def _epoch(self) -> int:
        assert self.job is not None
        return self.job.epoch

    def _is_cut(self) -> bool:
        is_cut, self.cut_next = self.cut_next, False
        return is_cut
