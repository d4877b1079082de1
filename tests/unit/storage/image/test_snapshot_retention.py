"""Which snapshots the NAS destroys in time."""

from dataclasses import replace

from rocks.storage.image.transfers import Snapshot, expired


def test_f12_retention_touches_only_its_own() -> None:
    """Foreign snapshots neither count nor go, nor those with clones or holds, nor what is needed."""
    ours = [
        Snapshot(f"img-1-{number}-20260101T000000Z", str(number), number, 3600 * number // 10, False, False)
        for number in range(100)
    ]
    ours[5] = replace(ours[5], has_clones=True)
    ours[6] = replace(ours[6], has_holds=True)
    foreign = Snapshot("before-upgrade", "f", 7, 0, False, False)
    odd = Snapshot("img-golden", "g", 8, 0, False, False)
    gone = expired([*ours, foreign, odd], frozenset({"8"}))
    guids = {snapshot.guid for snapshot in gone}
    assert guids and not guids & {"5", "6", "8", "f", "g", "97", "98", "99"}
