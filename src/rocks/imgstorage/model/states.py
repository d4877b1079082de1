"""The states of an image: what each means, whether it may last, how long it may take, what a restart does in it."""

from __future__ import annotations

from typing import Dict, Literal, NamedTuple, Optional, Tuple

State = Literal[
    "unmapped",
    "mapping",
    "mapped",
    "remote",
    "seeding",
    "switching",
    "local",
    "pulling",
    "returning",
    "held",
    "deleting",
    "restoring",
]

UNMAPPED: State = "unmapped"
MAPPING: State = "mapping"
MAPPED: State = "mapped"
REMOTE: State = "remote"
SEEDING: State = "seeding"
SWITCHING: State = "switching"
LOCAL: State = "local"
PULLING: State = "pulling"
RETURNING: State = "returning"
HELD: State = "held"
DELETING: State = "deleting"
RESTORING: State = "restoring"


class StateFact(NamedTuple):
    """What is true of a state.

    A stable state may last for ever. `answer_seconds` is how long one step of an unstable state may stay without an
    answer or progress before the daemon reports it as failed (family `host`); None: by the work's own deadlines.
    `word` is what `list host storagemap` has always shown.
    """

    sentence: str
    is_stable: bool
    answer_seconds: Optional[int]
    restart: str
    word: str


STATES: Dict[State, StateFact] = {
    UNMAPPED: StateFact(
        "No host has the image; the newest snapshot on the NAS is all of it. Hosts may keep clean copies.",
        True,
        None,
        "nothing",
        "unmapped",
    ),
    MAPPING: StateFact(
        "A host has been granted the image and is being given a device for it; no guest runs yet.",
        False,
        60,
        "goes on with the open step; the host is asked again by the same number",
        "mapped",
    ),
    MAPPED: StateFact(
        "The guest may run: it reads from the NAS, and writes to a volume on its host. The copy waits for its turn.",
        False,
        None,
        "the export is made again before anything else",
        "mapped",
    ),
    REMOTE: StateFact(
        "The guest reads and writes the volume on the NAS over iSCSI; nothing is copied (img_sync false).",
        True,
        None,
        "the export is made again before anything else",
        "mapped",
    ),
    SEEDING: StateFact(
        "As mapped, while the image is copied to the host.",
        False,
        300,
        "the export is made again; the host is asked again and goes on from its resume token",
        "NAS->VM",
    ),
    SWITCHING: StateFact(
        "The copy is complete: the guest is turned to it, the export goes, the guest's writes are merged into it.",
        False,
        300,
        "goes on with the open step; the export is made again only if it is not yet to be dropped",
        "mapped",
    ),
    LOCAL: StateFact(
        "The guest runs from the host's own volume and does not need the NAS. Changes go home from time to time.",
        True,
        None,
        "nothing",
        "mapped",
    ),
    PULLING: StateFact(
        "As local, while a snapshot of the running guest's disk goes to the NAS.",
        False,
        300,
        "the host is asked again and goes on from the NAS's resume token",
        "NAS<-VM sched",
    ),
    RETURNING: StateFact(
        "The guest has ended; the host gives the image back, with all changes unless they are to be discarded.",
        False,
        300,
        "goes on with the open step",
        "NAS<-VM",
    ),
    HELD: StateFact(
        "Something is not as it should be, and only an operator may decide; nothing is destroyed meanwhile.",
        True,
        None,
        "nothing, unless an operator has given the image up: then that goes on",
        "held",
    ),
    DELETING: StateFact(
        "Marked for destruction, which comes when the grace period has ended.",
        False,
        None,
        "goes on with the open step, or waits for the end of the grace period",
        "deleting",
    ),
    RESTORING: StateFact(
        "An earlier snapshot is being made the present content; what was there before is kept beside it.",
        False,
        120,
        "goes on with the open step",
        "restoring",
    ),
}
"""Every state, in the order of an image's life."""

HOST_HAS_IT: Tuple[State, ...] = (MAPPING, MAPPED, REMOTE, SEEDING, SWITCHING, LOCAL, PULLING, RETURNING)
"""States in which an owner host may hold something of the image that the NAS does not have."""

GUEST_MAY_RUN: Tuple[State, ...] = (MAPPED, REMOTE, SEEDING, SWITCHING, LOCAL, PULLING)
"""States in which mapping again for the same host is already so."""


def is_stable(state: State) -> bool:
    """Whether an image may stay in the state for ever."""
    return STATES[state].is_stable
