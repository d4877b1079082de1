"""A daemon dies between any two of its changes, and a new one on the same disks completes every life of an image."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.imgstorage.daemons.driven_site import DrivenSite
from tests.unit.imgstorage.daemons.lives import LIVES, copied, moved
from tests.unit.imgstorage.daemons.nodes import HOST, NAS, OTHER_NAS

NewSite = Callable[[], DrivenSite]
STEP = 1 if os.environ.get("ROCKS_MODEL_EXAMPLES") else 47
"""Every moment in the fault campaigns, some of them in the quick run."""

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
    """The life ends as without it, and no daemon met a fault of its own."""
    die_at = 0
    while True:
        site = new_site()
        site.start()
        node = site.nodes[victim]
        node.die()
        node.die_at, node.loses_power, node.deaths = die_at, loses_power, 0
        site.start()
        life(site, tmp_path)
        if not node.deaths and die_at:
            break
        die_at += STEP
    assert "please report this" not in caplog.text and "Traceback" not in caplog.text
