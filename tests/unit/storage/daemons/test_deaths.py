"""A daemon dies between any two of its changes; its successor, on the same disks, completes every life of an image."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.generated import moments_step
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.lives import LIVES, copied, moved
from tests.unit.storage.daemons.nodes import HOST, NAS, OTHER_NAS

NewSite = Callable[[], DrivenSite]
pytestmark = pytest.mark.moments
STEP = moments_step(47)
"""`make test-random` tries every moment; other runs try some, at least two of each life."""

DEATHS = [
    *((life, victim, False) for life in LIVES for victim in (NAS, HOST)),
    *((copied, victim, True) for victim in (NAS, HOST)),
    (moved, OTHER_NAS, False),
]


@pytest.mark.parametrize(
    ("life", "victim", "loses_power"),
    DEATHS,
    ids=[f"{life.__name__}-{victim}{'-power' * power}" for life, victim, power in DEATHS],
)
def test_a_death_at_any_moment(
    new_site: NewSite,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    life: Callable[[DrivenSite, Path], None],
    victim: str,
    loses_power: bool,
) -> None:
    """The life ends as it does without a death, and no daemon logs an internal error."""
    die_at, step, deaths = 0, STEP, 0
    while True:
        site = new_site()
        site.start()
        node = site.nodes[victim]
        node.die()
        node.die_at, node.loses_power, node.deaths = die_at, loses_power, 0
        site.start()
        life(site, tmp_path)
        if die_at == 0:
            step = min(STEP, node.moments.count // 2)
        elif node.deaths == 0:
            break
        deaths += node.deaths
        die_at += step
    assert deaths > 0
    assert "please report this" not in caplog.text and "Traceback" not in caplog.text
