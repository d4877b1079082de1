"""Names of volumes, and of the attributes of images."""

import pytest

from rocks.core.errors import UserError
from rocks.storage.volumes.places import check_volume_name, volume_name
from rocks.storage.volumes.volumes import IMAGE_ATTRIBUTES, check_image_attribute


def test_names_of_volumes() -> None:
    assert [volume_name("vm-a", number) for number in (0, 1, 10)] == ["vm-a-vol", "vm-a-vol1", "vm-a-vol10"]


@pytest.mark.parametrize("name", ["a", "vm-vc1-0-vol", "9_a.b:c-d", "a" * 201])
def test_a_volume_may_be_called(name: str) -> None:
    check_volume_name(name)


@pytest.mark.parametrize("name", ["", "-a", ".a", "a/b", "a@b", "a b", "a\n", "é", "a" * 202, "%"])
def test_a_volume_may_not_be_called(name: str) -> None:
    with pytest.raises(UserError, match="is not valid"):
        check_volume_name(name)


def test_attributes_of_images() -> None:
    for name in IMAGE_ATTRIBUTES:
        check_image_attribute(name)
    with pytest.raises(UserError, match="these are frequency, nextsync"):
        check_image_attribute("speed")
