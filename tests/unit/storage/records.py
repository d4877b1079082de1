"""Records of an image in every state, as the state machine itself makes them, for tables of cases."""

from dataclasses import replace

from rocks.storage.image import effects
from rocks.storage.image.events import (
    Contradicted,
    Delete,
    EffectDone,
    Event,
    Grow,
    HostDone,
    HostFailed,
    Map,
    Move,
    Restore,
    StartPull,
    StartSeed,
    Unmap,
)
from rocks.storage.image.image import CopyFact, Decision, Facts, HistoryPoint, Image, Outcome, Rejection
from rocks.storage.image.states import (
    BLOCKED,
    DELETING,
    GROWING,
    LOCAL,
    MAPPED,
    MAPPING,
    MOVING,
    PULLING,
    REMOTE,
    RESTORING,
    RETURNING,
    SEEDING,
    SWITCHING,
    UNMAPPED,
    State,
)
from rocks.storage.nas.sequences import MACHINE

NOW = 1_800_000_000
MAX_STEPS = 200
GIB = 1024**3
HOST = "vmh1"
MAP = Map("map-1", HOST, "tank", True, "iqn.vmh1", 8 * GIB, 1)
ROOMY = CopyFact(free_bytes=100 * GIB, pool_bytes=200 * GIB)
NAS_FACTS = Facts(
    size_bytes=8 * GIB,
    volume_guid="77",
    free_bytes=500 * GIB,
    pool_bytes=1000 * GIB,
    base_name="img-1-1-20270115T080000Z",
    base_guid="1000",
    seed_bytes=GIB,
    history=(HistoryPoint("900", 0), HistoryPoint("1000", 5)),
    guid="1000",
    obstacles=(),
    device="/dev/mapper/vm-vol-snap",
)


def new_image() -> Image:
    """An image that no host has had yet."""
    return Image("1", "nas-0-0", "tank", "vm-vol")


def decided(image: Image, event: Event, now: int = NOW) -> Decision:
    """The decision; the event must not be rejected."""
    decision = MACHINE.decide(image, event, now)
    assert isinstance(decision, Decision), decision
    return decision


def after(image: Image, event: Event, now: int = NOW) -> Image:
    found = decided(image, event, now).image
    assert found is not None
    return found


def refused(image: Image, event: Event) -> Rejection:
    decision = MACHINE.decide(image, event, NOW)
    assert isinstance(decision, Rejection), decision
    return decision


def finish_step(image: Image, facts: Facts = NAS_FACTS, copy: CopyFact = ROOMY) -> Decision:
    """All effects of the open step succeed, a host's request too."""
    facts = replace(facts, copy=copy)
    for _ in range(MAX_STEPS):
        work = image.work
        asked = work.effects[work.position]
        event: Event = EffectDone(work.work_id, work.position, facts)
        if isinstance(asked, effects.AskHost):
            event = HostDone(work.work_id, asked.host, image.epoch, facts)
        decision = decided(image, event)
        is_open = decision.image is not None and decision.image.work is not None
        if not is_open or decision.image is None or decision.image.work is None:
            return decision
        if decision.image.work.work_id != work.work_id:
            return decision
        image = decision.image
    raise AssertionError(f"the step has no end: {image}")


def leave_state(image: Image) -> tuple[Image, list[Outcome]]:
    """Finish steps until the state is another; returns the record then, and the outcomes of all steps."""
    state, outcomes = image.state, []
    for _ in range(MAX_STEPS):
        decision = finish_step(image)
        assert decision.image is not None
        image, outcomes = decision.image, [*outcomes, *decision.outcomes]
        if image.state != state:
            return image, outcomes
    raise AssertionError(f"still {state}: {image}")


def finished(image: Image, facts: Facts = NAS_FACTS, copy: CopyFact = ROOMY) -> Image:
    found = finish_step(image, facts, copy).image
    assert found is not None
    return found


def host_failed(image: Image, family: str) -> Image:
    """The record after the host has failed in the open step, whose NAS part is done."""
    while image.work.asked is None:
        image = after(image, EffectDone(image.work.work_id, image.work.position, NAS_FACTS))
        assert image.work is not None
    return after(image, HostFailed(image.work.work_id, HOST, image.epoch, family, "it failed"))


def record(state: State) -> Image:
    """An image in that state, the first step of it open if it has steps."""
    if state == UNMAPPED:
        return new_image()
    if state == DELETING:
        return after(new_image(), Delete("delete-1"))
    if state == RESTORING:
        return after(new_image(), Restore("restore-1", "img-1-1-20270115T080000Z", "900"))
    if state == MOVING:
        return after(new_image(), Move("move-1", "nas-0-1", "tank"))
    if state == GROWING:
        return after(new_image(), Grow("grow-1", 16 * GIB))
    mapping = after(new_image(), MAP)
    if state == MAPPING:
        return mapping
    if state == REMOTE:
        return finished(finished(after(new_image(), replace(MAP, sync=False))))
    mapped = finished(finished(mapping))
    if state == MAPPED:
        return mapped
    if state == BLOCKED:
        return after(mapped, Contradicted("the volume is newer"))
    seeding = after(mapped, StartSeed())
    if state == SEEDING:
        return seeding
    switching = finished(seeding)
    if state == SWITCHING:
        return switching
    local = finished(finished(switching))
    if state == LOCAL:
        return local
    if state == PULLING:
        return after(local, StartPull())
    assert state == RETURNING
    return after(local, Unmap("unmap-1"))
