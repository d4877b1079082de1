"""When transfers start, in which order, and how long a failed step waits."""

from rocks.storage.image import transfers
from rocks.storage.image.transfers import Job, Limits
from tests.unit.storage.records import NOW, record

LIMITS = Limits(seeds=8, pulls=8)


def test_pauses_grow_to_five_minutes() -> None:
    """1, 2, 4 … 300 s."""
    assert [transfers.retry_delay(tries) for tries in (1, 2, 3, 9, 10, 1000)] == [1, 2, 4, 256, 300, 300]


def test_priorities_and_ageing() -> None:
    """A copy goes before a periodic pull, unless that has waited twenty minutes longer; returns count as running."""
    seed, pull = Job("1", "vmh1", "seed", NOW), Job("2", "vmh2", "pull", NOW)
    assert transfers.choose([pull, seed], [], LIMITS, NOW) == (seed, pull)
    old = Job("2", "vmh2", "pull", NOW - 1200)
    assert transfers.choose([old, seed], [], LIMITS, NOW) == (old, seed)
    busy = [Job("3", "vmh1", "return", 0), Job("4", "vmh1", "return", 0)]
    assert transfers.choose([pull, seed], busy, LIMITS, NOW) == (pull,)
    assert transfers.choose([pull, seed], busy, Limits(seeds=8, pulls=2), NOW) == ()
    assert transfers.choose([seed, Job("5", "vmh2", "seed", NOW)], [], Limits(seeds=1, pulls=8), NOW) == (
        seed,
    )


def test_what_an_image_waits_for() -> None:
    """A copy when it is mapped, a pull when it is due or asked for."""
    mapped, local = record("mapped"), record("local")
    assert transfers.job_of(mapped, NOW, NOW, NOW) == Job("1", "vmh1", "seed", NOW)
    assert transfers.job_of(local, NOW, NOW + 1, NOW) is None
    assert transfers.job_of(local, NOW, NOW, NOW) == Job("1", "vmh1", "pull", NOW)
    assert transfers.next_pull(NOW, None) == NOW + 300 and transfers.next_pull(NOW, 60) == NOW + 60
    seeding = transfers.running_of(record("seeding"))
    assert seeding is not None and seeding.kind == "seed" and transfers.running_of(local) is None
