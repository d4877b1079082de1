"""The record of one image, as the NAS keeps it. It is all that a restart needs: open work stands in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Optional, Tuple

from rocks.errors import CLASSES, Code, RocksError
from rocks.imgstorage.model import names
from rocks.imgstorage.model.effects import AskHost, Effect
from rocks.imgstorage.model.facts import NOTHING, Facts
from rocks.imgstorage.model.states import UNMAPPED, State

CopyKind = Literal["none", "partial", "clean", "dirty", "suspect"]
"""What a host's copy is worth.

none    there is none
partial a copy was begun; nothing in it is only there
clean   equals a snapshot of the NAS, whose guid it carries
dirty   has changes on top of a base, whose guid it carries, that the NAS does not have
suspect was given up with its changes; set aside when the image comes to that host again, never destroyed
"""

Step = Literal[
    "prepare",
    "attach",
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
    "home",
    "leave",
    "abandon",
    "check",
    "mark",
    "unmark",
    "destroy",
    "restore",
    "exchange",
]


@dataclass(frozen=True)
class Copy:
    """The copy on one host, as far as the NAS knows."""

    host: str
    pool: str
    kind: CopyKind
    guid: Optional[str] = None


@dataclass(frozen=True)
class Work:
    """An open step: its effects, journalled whole; those before `position` are done and have told `facts`.

    `work_id` is `<epoch>-<sequence>`: it names the request to a host, is never used again, and its numbers only grow.
    """

    step: Step
    work_id: str
    effects: Tuple[Effect, ...]
    position: int = 0
    facts: Facts = NOTHING

    @property
    def open_effects(self) -> Tuple[Effect, ...]:
        """What is still to be done, in order."""
        return self.effects[self.position :]

    @property
    def asked(self) -> Optional[AskHost]:
        """What a host is being asked now, None while the NAS itself has work."""
        effect = self.effects[self.position]
        return effect if isinstance(effect, AskHost) else None


@dataclass(frozen=True)
class Image:
    """One image.

    `image_id` stays when the volume is renamed. `sequence` numbers works and snapshots, `epoch` the grants to hosts;
    both only grow. `base_*` is the newest snapshot that both sides have, `final_guid` that of the last return.
    `target` stands from when the export is to be made until it is gone. `pending_name` is a snapshot that is being
    sent, or whose sending was cut.
    `operation_id` is the map, delete, restore or abandon that somebody waits for; `unmap_ids` and `pull_ids` those who
    wait for the image, or its changes, to be home; `covered_ids` are those of the latter who came before the snapshot
    that is being sent was named. `tries` counts failures since the last success, `faults` those of them that are no
    mere waiting for a machine; `reason` says in words why the image is held or waits, `abandon_reason` why an operator
    last gave up what only a host had. `retry_at` and `due_at` are UNIX seconds.
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
    persistent: bool = True
    sync: bool = True
    owner: Optional[str] = None
    remote_pool: Optional[str] = None
    initiator: Optional[str] = None
    lease_token: Optional[int] = None
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
    held_from: Optional[State] = None
    failure_family: str = ""
    reason: str = ""
    abandon_reason: str = ""

    @property
    def volume(self) -> str:
        """The volume's whole name on the NAS."""
        return f"{self.pool}/{self.zvol}"

    @property
    def serial(self) -> str:
        """The unit serial of this epoch's export."""
        return names.unit_serial(self.image_id, self.epoch)

    def copy_on(self, host: Optional[str]) -> Optional[Copy]:
        """What is known of a host's copy."""
        return next((copy for copy in self.copies if copy.host == host), None)

    def with_copy(self, host: str, pool: str, kind: CopyKind, guid: Optional[str] = None) -> Image:
        """The record with another word about one host's copy."""
        others = tuple(copy for copy in self.copies if copy.host != host)
        new = () if kind == "none" else (Copy(host, pool, kind, guid),)
        return replace(self, copies=others + new)

    def unreturned_on(self) -> Tuple[str, ...]:
        """Hosts whose copies have changes that the NAS does not have."""
        return tuple(copy.host for copy in self.copies if copy.kind in ("dirty", "suspect"))


@dataclass(frozen=True)
class Outcome:
    """How an operation ended, for whoever waits or asks later; `family` None when it succeeded."""

    op_id: str
    family: Optional[str] = None
    text: str = ""
    device: Optional[str] = None


@dataclass(frozen=True)
class Decision:
    """What follows from an event: the new record (None: forget the image), what is to be done now, who is told what.

    `effects` are the open effects of the record's work, in order; empty when there is nothing new to do.
    """

    image: Optional[Image]
    effects: Tuple[Effect, ...] = ()
    outcomes: Tuple[Outcome, ...] = field(default=())


@dataclass(frozen=True)
class Refusal:
    """An event that changes nothing, and why. `is_stale` for messages that have been overtaken: drop them."""

    family: str
    text: str
    is_stale: bool = False
    code: Optional[Code] = None

    def error(self) -> RocksError:
        """The error to raise."""
        return CLASSES[self.family](self.text, code=self.code)
