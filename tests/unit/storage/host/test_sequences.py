"""The order of a host's effects: a death or a guest's write between two of them must lose nothing."""

from typing import Any, cast, get_args

from rocks.storage.host.copies import CopyHandlers
from rocks.storage.host.devices import DeviceHandlers
from rocks.storage.host.effects import HostEffect, Name, RecordStage
from rocks.storage.host.sequences import sequence_for
from rocks.storage.image import effects
from rocks.storage.image.image import HostImage, Rejection, Stage

DROP = effects.DropMap("vm-vol", "tank", "iqn.x", discards=False)
LOOK = effects.LookAtCopy("vm-vol", "tank")
MERGE = effects.MergeOverlay("vm-vol", "tank")
SWITCH = effects.SwitchOrigin("vm-vol", "tank", "1000", "iqn.x")


def order_of(request: effects.HostRequest, stage: Stage) -> list[HostEffect]:
    """The effects of a request, in their order."""
    found = sequence_for(request, HostImage("vm-vol", "tank", stage=stage, epoch=2), 2)
    assert not isinstance(found, Rejection)
    return list(found)


def test_every_effect_has_a_handler() -> None:
    nothing = cast("Any", None)
    handled = {
        **CopyHandlers(nothing, nothing, "vmh1").handlers,
        **DeviceHandlers(nothing, nothing, nothing).handlers,
    }
    assert set(handled) == set(get_args(Name))


def test_what_comes_before_what() -> None:
    """A guest writes until its device is gone; a restart builds the devices of the recorded stage."""
    for request, stage, before, after in (
        (LOOK, "none", "RequireClosed", "ReadCopy"),
        (DROP, "none", "EnsureDeviceGone", "RequireTempWriteEmpty"),
        (DROP, "overlay", "EnsureDeviceGone", "RequireTempWriteEmpty"),
        (DROP, "overlay", "RequireTempWriteEmpty", "EnsureTempWriteGone"),
        (MERGE, "merging", "WaitMerged", RecordStage("linear")),
        (MERGE, "merging", RecordStage("linear"), "MarkMerged"),
        (MERGE, "merging", "MarkMerged", "EnsureTempWriteGone"),
        (MERGE, "linear", "MarkMerged", "EnsureTempWriteGone"),
        (SWITCH, "overlay", RecordStage("merging"), "EnsureLocalOrigin"),
        (SWITCH, "overlay", "EnsureLocalOrigin", "EnsureSessionGone"),
    ):
        order = order_of(request, stage)  # type: ignore[arg-type] # of the stages
        assert order.index(before) < order.index(after), (request, stage)


def test_a_dropped_map_settles_the_partial_copy() -> None:
    assert "EnsureSeedSettled" in order_of(DROP, "overlay")
