"""What a NAS makes of a volume that its records do not know."""

from dataclasses import replace

import pytest

from rocks.storage.image.effects import Grant
from rocks.storage.image.events import Retry
from rocks.storage.image.grants import SEQUENCE_GAP, adopted, read_grant
from rocks.storage.image.image import Image
from tests.unit.storage.records import HOST, MAP, after, decided, refused

ON_NAS = {"epoch": "4", "owner": "none", "state": "unmapped", "base_guid": "1000"}
NEW = ("nas-0-0", "tank", "vm-vol")


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, Image("new", *NEW)),
        ({"epoch": "x"}, Image("new", *NEW)),
        ({"epoch": "9" * 40}, Image("new", *NEW)),
        (ON_NAS, Image("new", *NEW, epoch=4, sequence=SEQUENCE_GAP, base_guid="1000")),
        (
            {**ON_NAS, "id": "1", "sequence": "17", "base_name": "img-3-9-x"},
            Image("1", *NEW, epoch=4, sequence=SEQUENCE_GAP + 17, base_guid="1000", base_name="img-3-9-x"),
        ),
    ],
)
def test_record_of_a_volume_that_no_host_has(properties: dict[str, str], expected: Image) -> None:
    """Neither its epoch nor its numbers are used again; hosts know it by the same id."""
    assert adopted(*NEW, read_grant(properties), "new") == expected
    of_volume = adopted(*NEW, read_grant(properties), "new", "77")
    assert of_volume == replace(expected, volume_guid="77"), "no other volume takes its place"


def test_an_image_that_a_host_has_is_given_to_nobody() -> None:
    """Before that host has reported what it has."""
    standing = Grant(4, 17, HOST, "mapping", image_id="1", initiator="iqn.vmh1", remote_pool="tank")
    image = adopted(*NEW, standing, "new")
    assert "the volume says epoch 4 (vmh1)" in refused(image, MAP).text
    looking = after(image, Retry("", standing))
    assert (looking.image_id, looking.epoch, looking.owner, looking.state) == ("1", 4, HOST, "blocked")
    assert looking.sequence > 17 and looking.initiator == "iqn.vmh1" and looking.remote_pool == "tank"
    assert looking.work is not None and looking.work.step == "look"
    assert decided(image, Retry("", standing)).outcomes == ()
