"""Sizes with a unit of their own."""

import pytest

from rocks.core.units import in_unit


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("4G", "MB", "4096"),
        ("4g", "MB", "4096"),
        ("1048576K", "MB", "1024"),
        ("1T", "MB", "1048576"),
        ("1T", "GB", "1000"),
        ("500000M", "GB", "500"),
        ("4096", "MB", "4096"),
        ("1T", "GiB", "1024"),
        ("2048m", "GiB", "2"),
        ("36", "GiB", "36"),
    ],
)
def test_a_size_in_the_unit_of_its_parameter(text: str, unit: str, number: str) -> None:
    assert in_unit(text, unit) == number


@pytest.mark.parametrize("text", ["", "G", "1.5G", "-4G", "4GB", "4 G", "100K", "٤G"])
def test_other_text_is_left_to_the_check_of_the_number(text: str) -> None:
    assert in_unit(text, "MB") == text
