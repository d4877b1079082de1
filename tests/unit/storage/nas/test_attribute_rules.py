"""Attributes of images and NASes: what they may be, and that speeds are numbers whatever way they were written."""

from collections.abc import Callable

import pytest

from rocks.commands._framework.documentation import read_documentation
from rocks.commands._framework.tree import OUR_TREE, load_package
from rocks.core.errors import UserError
from rocks.storage.nas.attribute_rules import attribute_value, bytes_per_second, global_value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("frequency", "60", 60),
        ("frequency", None, None),
        ("nextsync", "1800000000", 1800000000),
        ("uploadspeed", "500000", "500000"),
        ("downloadspeed", "20m", "20M"),
        ("uploadspeed", None, None),
        ("persistent", "No", False),
        ("persistent", None, True),
    ],
)
def test_values(name: str, text: str | None, value: object) -> None:
    """As they are kept."""
    assert attribute_value(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("frequency", "0"),
        ("frequency", "-5"),
        ("frequency", "soon"),
        ("frequency", "²"),
        ("nextsync", "tomorrow"),
        ("uploadspeed", "0"),
        ("uploadspeed", "99K"),
        ("uploadspeed", "5P"),
        ("uploadspeed", "-1M"),
        ("downloadspeed", "fast; rm"),
        ("persistent", "perhaps"),
        ("colour", "red"),
    ],
)
def test_refused(name: str, text: str) -> None:
    """By a sentence that names it."""
    with pytest.raises(UserError, match=name):
        attribute_value(name, text)


def test_speeds_are_numbers() -> None:
    """F10: a plain number of bytes broke the transfer once."""
    assert bytes_per_second("500000") == 500_000.0
    assert bytes_per_second("2K") == 2048.0
    assert bytes_per_second(None) is None


def test_attributes_of_the_nas() -> None:
    """Ours are checked; a site's own are kept as they come."""
    assert global_value("frequency", "60") == "60"
    assert global_value("anything", "at all") == "at all"
    assert global_value("uploadspeed", None) is None
    with pytest.raises(UserError, match="uploadspeed"):
        global_value("uploadspeed", "fast")


@pytest.mark.parametrize(("path", "check"), [("storageattr", global_value), ("zvolattr", attribute_value)])
def test_the_values_in_the_examples_of_the_commands_are_taken(
    path: str, check: Callable[[str, str | None], object]
) -> None:
    command = load_package(("set", "host", path), [OUR_TREE]).Command
    examples = [line.split() for line, _ in read_documentation(command).examples]
    assert len(examples) > 1
    for *_, name, value in examples:
        assert check(name, value) is not None
