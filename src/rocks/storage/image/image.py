"""The record of one image on its NAS, and that of its host. It is all that a restart needs: open work is part of it."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Literal, Optional, Tuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import CLASSES, Code, RocksError
from rocks.storage.image.effects import AskHost, Effect
from rocks.storage.image.names import guest_device, unit_serial
from rocks.storage.image.states import UNMAPPED, State

# --- facts that an effect found, on the NAS or on a host: one flat record, None for what it did not look for ---------


Stage = Literal["none", "overlay", "merging", "linear", "remote"]
"""The devices that a host must have for an image, and rebuild when it starts:

none    no device (a copy may lie there)
overlay the NAS's disk over iSCSI, read only, under a temp-write volume
merging the local copy under a temp-write volume that is being merged into it
linear  the local copy
remote  the NAS's disk over iSCSI, writable
"""


@dataclass(frozen=True)
class HistoryPoint:
    """A snapshot by guid, and how many bytes were written between the one before and it."""

    guid: str
    written_bytes: int


@dataclass(frozen=True)
class CopyFact:
    """The copy of an image on a host, as found, independent of the records.

    `guid` is that of the copy's newest snapshot, None without a copy; `written_bytes` counts writes since then.
    `free_bytes` is the pool's free space, without the space promised to other images and with that of evictable
    copies; `pool_bytes` its size.
    `epoch` is the one under which the host last had the image, 0 when never.
    """

    stage: Stage = "none"
    epoch: int = 0
    exists: bool = False
    guid: Optional[str] = None
    written_bytes: int = 0
    size_bytes: int = 0
    has_temp_write: bool = False
    free_bytes: int = 0
    pool_bytes: int = 0


@dataclass(frozen=True)
class Facts:
    """The result of an effect or of a host's request; later facts of a step replace earlier ones.

    `size_bytes`, `free_bytes` and `pool_bytes` are of the volume and the pool on the NAS; `base_name` and `base_guid`
    of the snapshot that equals the volume's content; `seed_bytes` the size of a full copy of it; `history` the
    NAS's snapshots, oldest first.
    `guid` is of the snapshot that was sent, received or verified. `has_changes`: a temp-write volume was not
    empty, so nothing was dropped. `obstacles`: clones and holds that prevent the destruction of a volume.
    """

    size_bytes: Optional[int] = None
    volume_guid: Optional[str] = None
    free_bytes: Optional[int] = None
    pool_bytes: Optional[int] = None
    base_name: Optional[str] = None
    base_guid: Optional[str] = None
    seed_bytes: Optional[int] = None
    history: Optional[Tuple[HistoryPoint, ...]] = None
    copy: Optional[CopyFact] = None
    device: Optional[str] = None
    guid: Optional[str] = None
    has_changes: Optional[bool] = None
    obstacles: Optional[Tuple[str, ...]] = None


NOTHING = Facts()
"""The result of an effect without facts."""


def laid_over(below: Facts, above: Facts) -> Facts:
    """Both; the later value where both have one."""
    known = {field.name: getattr(above, field.name) for field in dataclasses.fields(Facts)}
    return dataclasses.replace(below, **{name: value for name, value in known.items() if value is not None})


# --- the record on the NAS -------------------------------------------------------------------------------------------


CopyKind = Literal["none", "partial", "clean", "dirty", "suspect"]
"""The condition of a host's copy.

none    there is none
partial a copy was begun; nothing in it is only there
clean   equals a snapshot of the NAS, whose guid it carries
dirty   has changes on top of a base, whose guid it carries, that the NAS does not have
suspect was abandoned with its changes; quarantined when the host gets the image again, never destroyed
"""

Witness = Literal["", "volume", "host"]
"""What contradicts a record."""

Step = Literal[
    "prepare",
    "attach_overlay",
    "attach_linear",
    "attach_remote",
    "undo",
    "seed",
    "switch",
    "merge",
    "pull",
    "accept",
    "settle",
    "drop",
    "detach",
    "return",
    "discard",
    "confirm",
    "leave",
    "abandon",
    "check",
    "mark",
    "unmark",
    "destroy",
    "restore",
    "exchange",
    "look",
    "send",
    "hand_over",
    "grow",
]
"""What a row of the table starts: a sequence of effects (`storage/nas/sequences.py`), whose end is an event.

A map:
prepare         record the grant on the volume, and find out what copy the host has
attach_overlay  export the base; the host's device has its temporary volume above it
attach_linear   the host's device is its copy, which equals the image
attach_remote   export the volume itself, writable; it is the device, without a copy
undo            the host removes what a failed map has made
To the host:
seed            copy the base to it
switch          put the copy below the guest in place of the export
merge           remove the export; the host merges the temporary volume into the copy
Back to the NAS, while the guest runs:
pull            the host sends a snapshot
accept          the NAS verifies it, and holds it as the new base
settle          the host takes it for its base, too
Back to the NAS, and the end of a map:
drop            the host removes the device of a map without a copy
detach          the host removes the device of a copy
return          the host sends its last snapshot
confirm         as accept, and the grant ends
discard         the host rolls its copy back to the base, in place of a return
leave           remove the export, and end the grant
abandon         an operator has decided against what only a host has: a new grant, under which nothing of it may write
Removal, restoring, growing:
check           list what else needs the volume
mark, unmark    the volume is to be destroyed after its grace period; it is not
destroy         destroy it
restore         clone a snapshot
exchange        the clone takes the volume's place
grow            make it larger
Other NASes, and records that are made again:
send            send the volume to another NAS
hand_over       the other NAS owns it from now on
look            compare the volume with what its host has
"""


@dataclass(frozen=True)
class Copy:
    """The copy on one host, as far as the NAS knows."""

    host: str
    pool: str
    kind: CopyKind
    guid: Optional[str] = None


@dataclass(frozen=True)
class Work:
    """An open step: all its effects, journalled; those before `position` are done and have found `facts`.

    `work_id` is `<epoch>-<sequence>`: it names the request to a host and is never used again; its numbers only grow.
    """

    step: Step
    work_id: str
    effects: Tuple[Effect, ...]
    position: int = 0
    facts: Facts = NOTHING

    @property
    def open_effects(self) -> Tuple[Effect, ...]:
        """The effects that are left, in order."""
        return self.effects[self.position :]

    @property
    def asked(self) -> Optional[AskHost]:
        """The request that a host performs now; None while the NAS itself has work."""
        effect = self.effects[self.position]
        return effect if isinstance(effect, AskHost) else None


@dataclass(frozen=True)
class Image:
    """One image.

    `image_id` stays when the volume is renamed. `sequence` numbers works and snapshots, `epoch` the grants to hosts;
    both only grow. `base_*` is the newest snapshot that both sides have, `final_guid` that of the last return, of a
    restore or of a move.
    `target` is set from before the export is made until it is removed. `pending_name` is a snapshot that is being sent,
    or whose sending was cut, or that is being restored.
    `operation_id` is the map, delete, undelete, restore, growth or abandon whose client waits; `unmap_ids` and
    `pull_ids` are operations that wait until the image, or its changes, are written back; `covered_ids` are the pulls
    requested before the snapshot that is being sent was named. `tries` counts failures since the last success, `faults`
    those among them with another cause than an unreachable machine; `machine` is the UUID of the machine that it
    belongs to, empty until the first map for one; `reason` is why the image is blocked or waits, `abandon_reason` why
    an operator last abandoned the changes of a host: no listing has it.
    `importing`: its content is to come from a file, and is not complete.
    `disagrees`: it is blocked because the volume has another grant, or because the host has gone further than the
    record.
    `peer` is the NAS to which the image is being moved, or to which it was moved: then this is the record of the former
    volume, in its grace period. `peer_pool` is the pool there; `move_ids` are operations that wait for the end of the
    move, `grace_seconds` is the grace period that the former volume gets then, and of an image in its grace period what
    the daemon has not counted of it yet.
    `at_once`: it was in its grace period when its destruction without one was requested, which is being checked.
    `blocked_from` is None while the record of a blocked image is made from that grant. `retry_at` and `due_at` are UNIX
    seconds.
    """

    image_id: str
    nas: str
    pool: str
    zvol: str
    state: State = UNMAPPED
    epoch: int = 0
    sequence: int = 0
    size_bytes: int = 0
    volume_guid: Optional[str] = None
    importing: bool = False
    persistent: bool = True
    sync: bool = True
    owner: Optional[str] = None
    remote_pool: Optional[str] = None
    initiator: Optional[str] = None
    lease_token: Optional[int] = None
    machine: str = ""
    device: Optional[str] = None
    target: Optional[str] = None
    base_name: Optional[str] = None
    base_guid: Optional[str] = None
    final_guid: Optional[str] = None
    pending_name: Optional[str] = None
    copies: Tuple[Copy, ...] = ()
    operation_id: str = ""
    unmap_ids: Tuple[str, ...] = ()
    pull_ids: Tuple[str, ...] = ()
    covered_ids: Tuple[str, ...] = ()
    work: Optional[Work] = None
    tries: int = 0
    faults: int = 0
    retry_at: Optional[int] = None
    due_at: Optional[int] = None
    blocked_from: Optional[State] = None
    failure_family: str = ""
    reason: str = ""
    abandon_reason: str = ""
    disagrees: Witness = ""
    peer: Optional[str] = None
    peer_pool: Optional[str] = None
    move_ids: Tuple[str, ...] = ()
    grace_seconds: int = 0
    at_once: bool = False

    @property
    def volume(self) -> str:
        """The volume's whole name on the NAS."""
        return f"{self.pool}/{self.zvol}"

    @property
    def serial(self) -> str:
        """The unit serial of this epoch's export."""
        return unit_serial(self.image_id, self.epoch)

    def copy_on(self, host: Optional[str]) -> Optional[Copy]:
        """The copy on a host, as far as the NAS knows."""
        return next((copy for copy in self.copies if copy.host == host), None)

    def with_copy(self, host: str, pool: str, kind: CopyKind, guid: Optional[str] = None) -> Image:
        """The record with new knowledge of one host's copy."""
        others = tuple(copy for copy in self.copies if copy.host != host)
        new = () if kind == "none" else (Copy(host, pool, kind, guid),)
        return replace(self, copies=others + new)

    def unreturned_on(self) -> Tuple[str, ...]:
        """Hosts whose copies have changes that the NAS does not have."""
        return tuple(copy.host for copy in self.copies if copy.kind in ("dirty", "suspect"))


@dataclass(frozen=True)
class Outcome:
    """How an operation ended, for its client; `family` is None when it succeeded."""

    op_id: str
    family: Optional[str] = None
    text: str = ""
    device: Optional[str] = None


@dataclass(frozen=True)
class Decision:
    """The result of an event: the new record (None: delete the record) and the outcomes to publish."""

    image: Optional[Image]
    outcomes: Tuple[Outcome, ...] = ()


@dataclass(frozen=True)
class Rejection:
    """An event that changes nothing, and the reason. `is_stale`: the message was overtaken and is dropped."""

    family: str
    text: str
    is_stale: bool = False
    code: Optional[Code] = None

    def error(self) -> RocksError:
        """The error to raise."""
        return CLASSES[self.family](self.text, code=self.code)


# --- a host's record, and the order of the requests that it accepts --------------------------------------------------


@dataclass(frozen=True)
class HostImage:
    """A host's record of one image: its stage, and the values that a rebuild needs.

    `epoch` is the grant under which the stage was recorded; `last_epoch` and `last_sequence` are of the newest request
    that was accepted.
    """

    zvol: str
    pool: Optional[str] = None
    epoch: int = 0
    last_epoch: int = 0
    last_sequence: int = 0
    stage: Stage = "none"
    target: Optional[str] = None
    serial: Optional[str] = None
    size_bytes: int = 0


def impossible(zvol: str, request: str, stage: Stage) -> Rejection:
    """The rejection of a request that the image's stage on this host does not allow."""
    return Rejection(
        "incoherent", f"{zvol}: {request} is not possible when it is {stage}", code=Code.HOST_AHEAD
    )


def other_pool(known: HostImage, pool: str) -> Rejection:
    """The rejection of a request for a pool in which this host does not have the image of its grant."""
    text = (
        f"{known.zvol}: this host has it in the pool {known.pool}, not in {pool}: stop its machine, leave only the "
        f"copy in {pool} there (zfs list -t all has both; dmsetup remove {guest_device(known.zvol)} closes the "
        "other), and run systemctl restart rocks-imgstorage-host there"
    )
    return Rejection("incoherent", text, code=Code.HOST_AHEAD)


def number_is_used(zvol: str, epoch: int, sequence: int) -> Rejection:
    """The rejection of a request whose number another request had."""
    text = f"stale_epoch: {zvol}: the number {epoch}-{sequence} was another request's"
    return Rejection("state", text, code=Code.HOST_AHEAD)


def check_order(known: HostImage, epoch: int, sequence: int) -> Optional[Rejection]:
    """None when a request may be accepted: not of an older epoch, not overtaken by a newer request.

    A request with the number of the newest is the same one: it continues, or its answer is sent again.
    """
    if (epoch, sequence) >= (known.last_epoch, known.last_sequence):
        return None
    text = f"stale_epoch: {known.zvol}: request {epoch}-{sequence} was overtaken"
    return Rejection("state", text, is_stale=True, code=Code.HOST_AHEAD)
