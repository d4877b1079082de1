"""A return to the NAS that fails."""

from rocks.storage.image import transfers
from rocks.storage.image.events import (
    RetryDue,
)
from tests.unit.storage.records import (
    NOW,
    after,
    finished,
    host_failed,
    record,
)


def test_f2_a_failed_return_is_tried_again_and_never_forgotten() -> None:
    """As long as it takes for a machine that is away; after five tries an operator looks at anything else."""
    image = finished(record("returning"))
    for tries in range(1, 12):
        image = host_failed(image, "host")
        assert image.state == "returning" and image.work is not None and image.tries == tries
        assert image.retry_at == NOW + transfers.retry_delay(tries)
        image = after(image, RetryDue(), now=image.retry_at)
    for _ in range(4):
        image = after(host_failed(image, "tool"), RetryDue(), NOW + 10**6)
    image = host_failed(image, "tool")
    assert image.state == "blocked" and image.work is not None and image.work.step == "return"
