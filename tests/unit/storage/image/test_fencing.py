"""What a host says or sends whose time is over: an old epoch, an old work."""

from dataclasses import replace

from rocks.storage.image import grants
from rocks.storage.image.events import (
    CopyFound,
    EffectFailed,
    HostDone,
)
from rocks.storage.image.image import Copy, Facts
from rocks.storage.image.transfers import Diverged, Point, plan_send
from tests.unit.storage.records import (
    HOST,
    MAP,
    after,
    new_image,
    record,
    refused,
)


def test_f7_a_stale_host_is_refused() -> None:
    """Its answers and its streams, by epoch; and what the receiver has alone is never rolled back."""
    image = replace(record("pulling"), epoch=9)
    rejection = refused(image, HostDone(image.work.work_id, HOST, 8))
    assert rejection.text.startswith("stale_epoch") and rejection.is_stale
    stream = grants.check_stream(image, HOST, 8, is_to_nas=True)
    assert stream is not None and stream.text.startswith("stale_epoch")
    assert grants.check_stream(image, "vmh2", 9, is_to_nas=True) is not None
    assert grants.check_stream(record("local"), HOST, 1, is_to_nas=True) is not None
    assert grants.check_stream(record("seeding"), HOST, 1, is_to_nas=True) is not None
    assert grants.check_stream(image, HOST, 9, is_to_nas=True) is None
    ours, theirs = [Point("a", "1", 1), Point("c", "3", 3)], [Point("a", "1", 1), Point("b", "2", 2)]
    assert isinstance(plan_send(ours, theirs, "3"), Diverged)


def test_a_report_of_changes_under_an_old_epoch_makes_them_suspect() -> None:
    """They block nobody, and are never destroyed."""
    image = replace(new_image(), epoch=5)
    found = after(image, CopyFound("vmh2", "tank", 4, "dirty", "900"))
    assert found.copy_on("vmh2") == Copy("vmh2", "tank", "suspect", "900")
    assert after(found, MAP).state == "mapping"


def test_results_of_other_works_are_dropped() -> None:
    """Twice delivered, or too late."""
    image = record("seeding")
    done = HostDone(image.work.work_id, HOST, image.epoch, Facts(guid="1000"))
    later = after(image, done)
    assert refused(later, done).is_stale
    assert refused(image, EffectFailed("0-0", 0, "tool", "x")).is_stale
