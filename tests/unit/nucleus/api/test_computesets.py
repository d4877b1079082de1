"""Walltimes in the words of owners."""

import pytest

from nucleus.api.computesets import walltime_text


@pytest.mark.parametrize(
    ("minutes", "text"), [(57600, "40d"), (43200, "30d"), (360, "6h"), (90, "90m"), (57615, "57615m")]
)
def test_a_walltime_is_printed_as_it_is_typed(minutes: int, text: str) -> None:
    assert walltime_text(minutes) == text
