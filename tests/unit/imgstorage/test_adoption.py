"""What a NAS makes of a volume that its records do not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocks.imgstorage.life.adoption import adopted
from rocks.imgstorage.life.image import Copy, Decision, Image, Rejection
from rocks.imgstorage.life.states import UNMAPPED
from rocks.imgstorage.nas.sequences import MACHINE
from tests.unit.imgstorage.records import HOST, MAP, NOW, ROOMY, after, finish_step

ON_NAS = {"epoch": "4", "owner": "none", "state": "unmapped", "base_guid": "1000"}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, Image("new", "nas-0-0", "tank", "vm-vol")),
        ({"epoch": "x"}, Image("new", "nas-0-0", "tank", "vm-vol")),
        (ON_NAS, Image("new", "nas-0-0", "tank", "vm-vol", epoch=4)),
        (
            {**ON_NAS, "owner": HOST},
            Image("new", "nas-0-0", "tank", "vm-vol", epoch=4, copies=(Copy(HOST, "", "dirty", "1000"),)),
        ),
        (
            {**ON_NAS, "owner": HOST, "base_guid": "none"},
            Image("new", "nas-0-0", "tank", "vm-vol", epoch=4, copies=(Copy(HOST, "", "dirty"),)),
        ),
    ],
)
def test_record_of_a_volume(properties: dict[str, str], expected: Image) -> None:
    """Its epoch is not used again, and a host that had it may have what nobody else has."""
    assert adopted("nas-0-0", "tank", "vm-vol", properties, "new") == expected
    assert expected.state == UNMAPPED


def test_image_that_a_host_had_goes_to_no_other() -> None:
    """Others wait until that host's changes are written back; the host itself gets a new epoch."""
    image = adopted("nas-0-0", "tank", "vm-vol", {**ON_NAS, "owner": "vmh2"}, "new")
    rejection = MACHINE.decide(image, MAP, NOW)
    assert isinstance(rejection, Rejection) and "are on vmh2; map it there with a copy" in rejection.text
    image = adopted("nas-0-0", "tank", "vm-vol", {**ON_NAS, "owner": HOST}, "new")
    decision = MACHINE.decide(image, MAP, NOW)
    assert isinstance(decision, Decision) and decision.image is not None and decision.image.epoch == 5


def test_unmerged_changes_of_a_host_are_not_quarantined_without_a_request() -> None:
    """Its temp-write volume may be the only copy of the writes: the grant is returned and reported."""
    mapping = after(adopted("nas-0-0", "tank", "vm-vol", {**ON_NAS, "owner": HOST}, "new"), MAP)
    unmerged = replace(ROOMY, has_temp_write=True, stage="overlay")
    found = finish_step(mapping, copy=unmerged)
    assert found.image is not None and found.image.work is not None and found.image.work.step == "leave"
    clean = finish_step(mapping)
    assert (
        clean.image is not None and clean.image.work is not None and clean.image.work.step == "attach_overlay"
    )
