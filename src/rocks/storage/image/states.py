"""The states of an image: meaning, stability, time limits, and the effect of a restart."""

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
    "blocked",
    "deleting",
    "restoring",
    "moving",
    "growing",
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
BLOCKED: State = "blocked"
DELETING: State = "deleting"
RESTORING: State = "restoring"
MOVING: State = "moving"
GROWING: State = "growing"


class StateFact(NamedTuple):
    """The properties of a state.

    A stable state may last without limit. `answer_seconds` is the time that a step of an unstable state may take
    without an answer or progress before the daemon reports it as failed (family `host`); None: by the work's own
    deadlines. `word` is the value that `list host storagemap` prints.
    """

    sentence: str
    is_stable: bool
    answer_seconds: Optional[int]
    restart: str
    word: str


STATES: Dict[State, StateFact] = {
    UNMAPPED: StateFact(
        "No host has the image; the newest snapshot on the NAS is complete. Hosts may retain clean copies.",
        True,
        None,
        "nothing",
        "unmapped",
    ),
    MAPPING: StateFact(
        "A host has been granted the image and builds a device for it; no guest runs yet.",
        False,
        60,
        "continues with the open step; the request to the host is repeated under its number",
        "mapped",
    ),
    MAPPED: StateFact(
        "The guest may run: it reads from the NAS, and writes to a volume on its host. The copy waits for its turn.",
        False,
        None,
        "the export is restored first",
        "mapped",
    ),
    REMOTE: StateFact(
        "The guest reads and writes the volume on the NAS over iSCSI; nothing is copied (img_sync false).",
        True,
        None,
        "the export is restored first",
        "mapped",
    ),
    SEEDING: StateFact(
        "As mapped, while the image is copied to the host.",
        False,
        300,
        "the export is restored; the request to the host is repeated and the host resumes from its token",
        "NAS->VM",
    ),
    SWITCHING: StateFact(
        "The copy is complete: the guest is switched to it, the export is removed, the guest's writes are merged.",
        False,
        300,
        "continues with the open step; the export is restored unless it is to be removed",
        "mapped",
    ),
    LOCAL: StateFact(
        "The guest runs from the host's own volume and does not need the NAS. Changes are written back periodically.",
        True,
        None,
        "nothing",
        "mapped",
    ),
    PULLING: StateFact(
        "As local, while a snapshot of the running guest's disk is sent to the NAS.",
        False,
        300,
        "the request to the host is repeated and the host resumes from the NAS's token",
        "NAS<-VM sched",
    ),
    RETURNING: StateFact(
        "The guest has ended; the host writes the image back, with all changes unless it is not persistent.",
        False,
        300,
        "continues with the open step",
        "NAS<-VM",
    ),
    BLOCKED: StateFact(
        "A failure or a contradiction needs operator action; nothing is destroyed meanwhile.",
        True,
        None,
        "nothing, unless an operator has given the image up: then that operation continues",
        "blocked",
    ),
    DELETING: StateFact(
        "Marked for destruction at the end of the grace period.",
        False,
        None,
        "continues with the open step, or waits for the end of the grace period",
        "deleting",
    ),
    RESTORING: StateFact(
        "An earlier snapshot becomes the present content; the former content is preserved under another name.",
        False,
        120,
        "continues with the open step",
        "restoring",
    ),
    MOVING: StateFact(
        "The image is copied to another NAS, which takes it over when it has verified the content; no host gets it.",
        False,
        None,
        "continues with the open step, or waits for the end of a pause; the other NAS resumes an interrupted transfer",
        "moving",
    ),
    GROWING: StateFact(
        "The volume on the NAS gets a larger size; no host gets the image meanwhile.",
        False,
        120,
        "continues with the open step",
        "growing",
    ),
}
"""Every state, in the order of an image's life."""

TRANSFERS: Dict[State, Literal["seed", "pull", "return"]] = {
    MAPPED: "seed",
    SEEDING: "seed",
    PULLING: "pull",
    RETURNING: "return",
}
"""States in which an image is transferred or waits for that; in MAPPED only one that is copied to its host."""

HOST_HAS_IT: Tuple[State, ...] = (MAPPING, MAPPED, REMOTE, SEEDING, SWITCHING, LOCAL, PULLING, RETURNING)
"""States in which an owner host may have data of the image that the NAS does not have."""

GUEST_MAY_RUN: Tuple[State, ...] = (MAPPED, REMOTE, SEEDING, SWITCHING, LOCAL, PULLING)
"""States in which a repeated map for the same host is answered at once."""
