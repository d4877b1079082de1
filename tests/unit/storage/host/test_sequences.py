"""The order of a host's effects: a death or a guest's write between two of them must lose nothing."""

from rocks.storage.host.effects import (
    EnsureDeviceGone,
    EnsureLocalOrigin,
    EnsureSeedSettled,
    EnsureSessionGone,
    EnsureTempWriteGone,
    MarkMerged,
    ReadCopy,
    RecordStage,
    RequireClosed,
    RequireTempWriteEmpty,
    WaitMerged,
)
from rocks.storage.host.sequences import sequence_for
from rocks.storage.image import effects
from rocks.storage.image.image import HostImage, Rejection, Stage

DROP = effects.DropMap("vm-vol", "tank", "iqn.x", discards=False)
LOOK = effects.LookAtCopy("vm-vol", "tank")
MERGE = effects.MergeOverlay("vm-vol", "tank")
SWITCH = effects.SwitchOrigin("vm-vol", "tank", "1000", "iqn.x")


def kinds(request: effects.HostRequest, stage: Stage) -> list[type]:
    """The kinds of the effects of a request, in their order."""
    found = sequence_for(request, HostImage("vm-vol", "tank", stage=stage, epoch=2), 2)
    assert not isinstance(found, Rejection)
    return [type(effect) for effect in found]


def test_what_comes_before_what() -> None:
    """A guest writes until its device is gone; a restart builds the devices of the recorded stage."""
    for request, stage, before, after in (
        (LOOK, "none", RequireClosed, ReadCopy),
        (DROP, "none", EnsureDeviceGone, RequireTempWriteEmpty),
        (DROP, "overlay", EnsureDeviceGone, RequireTempWriteEmpty),
        (DROP, "overlay", RequireTempWriteEmpty, EnsureTempWriteGone),
        (MERGE, "merging", WaitMerged, RecordStage),
        (MERGE, "merging", RecordStage, MarkMerged),
        (MERGE, "merging", MarkMerged, EnsureTempWriteGone),
        (MERGE, "linear", MarkMerged, EnsureTempWriteGone),
        (SWITCH, "overlay", RecordStage, EnsureLocalOrigin),
        (SWITCH, "overlay", EnsureLocalOrigin, EnsureSessionGone),
    ):
        order = kinds(request, stage)  # type: ignore[arg-type] # of the stages
        assert order.index(before) < order.index(after), (request, stage)


def test_a_dropped_map_settles_the_partial_copy() -> None:
    assert EnsureSeedSettled in kinds(DROP, "overlay")
