"""The guards of the table's rows; each has the text that the page shows."""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import Code
from rocks.storage.image import space
from rocks.storage.image.effects import EnsureGrant, EnsureVolumeGone
from rocks.storage.image.grants import disagreement, is_recovering
from rocks.storage.image.image import CopyFact, Facts, Image, Stage
from rocks.storage.image.states import DELETING, State
from rocks.storage.image.transfers import has_no_more_tries

Test = Callable[[Image, Any, int], bool]


@dataclass(frozen=True)
class Guard:
    """A condition on the record, the event and the time (UNIX seconds)."""

    text: str
    holds: Test

    def __and__(self, other: Guard) -> Guard:
        """Both."""
        return Guard(
            f"{self.text}; {other.text}",
            lambda image, event, now: self.holds(image, event, now) and other.holds(image, event, now),
        )


# --- about a host's copy, as the host found it -------------------------------------------------------------------


def copy_is_usable(copy: CopyFact, facts: Facts) -> bool:
    """Whether a copy equals a snapshot of the NAS and the host has nothing else of the image.

    It is smaller than the image if that has grown since: then it equals an earlier snapshot, never the newest.
    """
    known = {point.guid for point in facts.history or ()}
    return (
        copy.exists
        and copy.stage == "none"
        and not copy.has_temp_write
        and copy.written_bytes == 0
        and _has_size_of_its_snapshot(copy, facts)
        and copy.guid in known
    )


def _has_size_of_its_snapshot(copy: CopyFact, facts: Facts) -> bool:
    size_bytes = facts.size_bytes or 0
    return copy.size_bytes == size_bytes or (
        0 < copy.size_bytes < size_bytes and copy.guid != facts.base_guid
    )


def must_quarantine_copy(copy: CopyFact, facts: Facts) -> bool:
    """Whether the host has data of the image that no snapshot of the NAS has; such data is quarantined."""
    has_something = copy.exists or copy.has_temp_write or copy.stage != "none"
    return has_something and not copy_is_usable(copy, facts)


def must_quarantine_leftovers(copy: CopyFact) -> bool:
    """As `must_quarantine_copy`, for a map without a copy: a copy may stay, but no device or temp-write volume."""
    return copy.has_temp_write or copy.stage != "none"


def bytes_to_seed(copy: CopyFact, facts: Facts) -> int:
    """Bytes to copy: all, or those written since the snapshot that the copy equals."""
    if not copy_is_usable(copy, facts):
        return facts.seed_bytes or 0
    points = facts.history or ()
    newest_first = tuple(reversed(points))
    since: Tuple[int, ...] = ()
    for point in newest_first:
        if point.guid == copy.guid:
            break
        since += (point.written_bytes,)
    return sum(since)


def space_needed(image: Image, facts: Facts) -> int:
    """Free space that the host's pool needs for a map that copies."""
    copy = facts.copy or CopyFact()
    size_bytes = facts.size_bytes or image.size_bytes
    return space.host_space(copy.pool_bytes, size_bytes, bytes_to_seed(copy, facts))


def shortage(image: Image, facts: Facts) -> Optional[str]:
    """Why there is not enough free space, with numbers; None when there is."""
    copy, size_bytes = facts.copy or CopyFact(), facts.size_bytes or image.size_bytes
    nas = space.nas_shortage(facts.free_bytes or 0, facts.pool_bytes or 0, size_bytes)
    if nas is not None or not image.sync:
        return nas
    return space.host_shortage(copy.free_bytes, copy.pool_bytes, size_bytes, bytes_to_seed(copy, facts))


def _copy(event: Any) -> CopyFact:
    return event.facts.copy or CopyFact()


def _would_lose_changes(image: Image, event: Any, now: int) -> bool:
    known = image.copy_on(image.owner)
    is_dirty = known is not None and known.kind == "dirty"
    # an unmerged temp-write volume may be the only place of the changes
    return is_dirty and must_quarantine_copy(_copy(event), event.facts)


def _is_at_base(image: Image, event: Any, now: int) -> bool:
    copy = _copy(event)
    return copy_is_usable(copy, event.facts) and copy.guid == event.facts.base_guid


def _dirty_elsewhere(image: Image, event: Any, now: int) -> bool:
    """A host that maps without a copy, or into another pool, does not use the copy it has."""
    return any(
        copy.kind == "dirty"
        and (copy.host != event.host or not event.sync or copy.pool not in ("", event.remote_pool))
        for copy in image.copies
    )


def _has_nothing(image: Image, event: Any, now: int) -> bool:
    """No device, no unmerged writes; a copy only if it equals a snapshot of the NAS."""
    copy = _copy(event)
    if copy.stage != "none" or copy.has_temp_write:
        return False
    guids = [point.guid for point in event.facts.history or ()]
    if _is_to_discard(image, event, now) and image.base_guid in guids:
        guids = guids[: guids.index(image.base_guid) + 1]  # a pull may have brought changes since
    return not copy.exists or (copy.written_bytes == 0 and copy.guid in guids)


def _is_to_discard(image: Image, event: Any, now: int) -> bool:
    """A copy that the host had under another grant may have been given up, and is never destroyed."""
    return not image.persistent and _copy(event).epoch == image.epoch


WOULD_LOSE_CHANGES = Guard("the host's copy has changes on another base", _would_lose_changes)
NO_FREE_SPACE = Guard(
    "not enough free space", lambda image, event, now: shortage(image, event.facts) is not None
)
WITHOUT_COPY = Guard("img_sync false", lambda image, event, now: not image.sync)
COPY_AT_BASE = Guard("the host's copy is clean at the newest snapshot", _is_at_base)

# --- about a request -----------------------------------------------------------------------------------------------

NOT_PERSISTENT_ON_NAS = Guard(
    "img_sync false, and not persistent", lambda image, event, now: not event.sync and not image.persistent
)
NOT_TO_PERSIST = Guard("to be not persistent", lambda image, event, now: not event.persistent)
OLD_LEASE = Guard(
    "an older lease of the virtual machine",
    lambda image, event, now: (
        event.lease_token is not None
        and image.lease_token is not None
        and event.lease_token < image.lease_token
    ),
)
DIRTY_ELSEWHERE = Guard("unreturned changes on another host, or in another pool", _dirty_elsewhere)
SAME_HOST = Guard("for the host that has the image", lambda image, event, now: event.host == image.owner)
GRANTED = Guard("a host has it", lambda image, event, now: image.owner is not None)
UNMAP_WAITS = Guard("an unmap waits", lambda image, event, now: bool(image.unmap_ids))
NOT_PERSISTENT = Guard("not persistent", lambda image, event, now: not image.persistent)
HAS_UNRETURNED = Guard(
    "a host has unreturned changes, no force",
    lambda image, event, now: bool(image.unreturned_on()) and not event.force,
)
HAS_DIRTY = Guard(
    "a host has unreturned changes",
    lambda image, event, now: any(copy.kind == "dirty" for copy in image.copies),
)

# --- about the work ------------------------------------------------------------------------------------------------

NO_MORE_TRIES = Guard(
    "too many failures, or contradicting facts",
    lambda image, event, now: has_no_more_tries(event.family, image.faults + 1),
)
IN_USE = Guard("the device is in use", lambda image, event, now: event.family in ("busy", "state"))
WRONG_REQUEST = Guard(
    "the request is impossible, or the pool is full",
    lambda image, event, now: (
        event.family in ("user", "state", "incoherent") or event.code == Code.POOL_FULL.value
    ),
)
HAS_CHANGES = Guard(
    "the temp-write volume is not empty", lambda image, event, now: bool(event.facts.has_changes)
)
IS_BASE = Guard(
    "the received snapshot is the base", lambda image, event, now: event.facts.guid == image.base_guid
)
HAS_OBSTACLES = Guard("clones or foreign holds", lambda image, event, now: bool(event.facts.obstacles))
NO_VOLUME = Guard("no volume", lambda image, event, now: event.facts.volume_guid is None)
OTHER_VOLUME = Guard(
    "another volume has its name",
    lambda image, event, now: (
        None not in (image.volume_guid, event.facts.volume_guid)
        and image.volume_guid != event.facts.volume_guid
    ),
)
NOTHING_OPEN = Guard("no open step", lambda image, event, now: image.work is None)
PAUSE_OVER = Guard(
    "the pause is over", lambda image, event, now: image.retry_at is not None and image.retry_at <= now
)
NO_PAUSE = Guard("no pause", lambda image, event, now: image.retry_at is None or image.retry_at <= now)
AT_ONCE = Guard("without a grace period", lambda image, event, now: event.grace_seconds <= 0)
IN_GRACE = Guard("was in its grace period", lambda image, event, now: image.at_once)
DUE = Guard(
    "due, and counted to its end",
    lambda image, event, now: (
        image.work is None
        and image.due_at is not None
        and image.due_at <= now
        and image.grace_seconds <= event.seconds
    ),
)
ABANDONING = Guard(
    "being given up", lambda image, event, now: image.work is not None and image.work.step == "abandon"
)
GRANT_REFUSED = Guard(
    "the volume has another grant",
    lambda image, event, now: (
        event.family == "incoherent"
        and image.work is not None
        and isinstance(image.work.effects[image.work.position], (EnsureGrant, EnsureVolumeGone))
    ),
)
RECOVERING = Guard("the record is made from the volume", lambda image, event, now: is_recovering(image))
DISAGREES = Guard(
    "the volume has another grant",
    lambda image, event, now: (
        bool(image.disagrees)
        and event.standing is not None
        and (image.disagrees == "host" or disagreement(image, event.standing) is not None)
    ),
)
STANDS_FREE = Guard(
    "to no host", lambda image, event, now: event.standing is not None and event.standing.owner is None
)
STANDS_REMOVED = Guard(
    "to be destroyed",
    lambda image, event, now: event.standing is not None and event.standing.state == DELETING,
)
FOUND_NOTHING = Guard("the host has nothing to save", _has_nothing)
TO_DISCARD = Guard("of this grant, and not persistent", _is_to_discard)
FOUND_COPY = Guard(
    "the host has only a copy",
    lambda image, event, now: (
        _copy(event).stage == "none" and _copy(event).exists and not _copy(event).has_temp_write
    ),
)


HAS_INITIATOR = Guard("its initiator is known", lambda image, event, now: image.initiator is not None)
HAS_BASE = Guard(
    "its base is known",
    lambda image, event, now: None not in (image.initiator, image.base_name, image.remote_pool),
)


def found_stage(stage: Stage) -> Guard:
    """Whether the host has the devices of that stage, of this epoch."""
    return Guard(
        f"the host is {stage}",
        lambda image, event, now: (_copy(event).stage, _copy(event).epoch) == (stage, image.epoch),
    )


IS_MOVED_THERE = Guard(
    "moved to that NAS", lambda image, event, now: image.work is None and image.peer == event.nas
)
IS_MOVED = Guard("moved to another NAS", lambda image, event, now: image.peer is not None)
TO_ANOTHER = Guard("to another NAS than before", lambda image, event, now: image.peer != event.nas)
HANDING_OVER = Guard(
    "being handed over", lambda image, event, now: image.work is not None and image.work.step == "hand_over"
)
EXCHANGING = Guard(
    "a restored snapshot takes its place",
    lambda image, event, now: image.work is not None and image.work.step == "exchange",
)
UNDOING = Guard(
    "being undone",
    lambda image, event, now: image.work is not None and image.work.step in ("undo", "leave"),
)


def was_in(state: State) -> Guard:
    """Whether a blocked image was in that state."""
    return Guard(f"was {state}", lambda image, event, now: image.blocked_from == state)
