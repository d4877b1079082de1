"""Numbers and texts: read, or refused in one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import UserError
from rocks.core.values import HIGHEST_NUMBER, check_text, gigabytes, in_unit, is_null, read_number, size_text


@given(st.integers(0, HIGHEST_NUMBER))
def test_a_number_is_read_back(number: int) -> None:
    assert read_number("cpus", str(number), 0) == number
    assert read_number("cpus", f"00{number}", 0) == number


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    try:
        number = read_number("rack", text, 0)
    except UserError as error:
        assert str(error).startswith('rack "')
        assert "must be an integer from 0 to 999999999" in str(error)
    else:
        assert text.isascii() and 0 <= number <= HIGHEST_NUMBER


@pytest.mark.parametrize(
    "text", ["", "-", "--1", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "1_0", "٣", "²", "9" * 19]
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(UserError, match="must be an integer"):
        read_number("n", text, -10)


def test_bounds() -> None:
    assert read_number("increment", "-1", -1, 1) == -1
    assert read_number("increment", "-0", 0, 1) == 0
    for text in ("-2", "2"):
        with pytest.raises(UserError, match=f'increment "{text}" must be an integer from -1 to 1'):
            read_number("increment", text, -1, 1)


def test_the_error_has_the_unit() -> None:
    with pytest.raises(
        UserError, match=r'mem "4X" must be an integer from 32 to 64 MB, or a size such as 40G$'
    ):
        read_number("mem", "4X", 32, 64, "MB")
    with pytest.raises(UserError, match=r'timeout "x" must be an integer from 0 to 9 seconds$'):
        read_number("timeout", "x", 0, 9, "seconds")


def test_null_in_any_case() -> None:
    assert is_null("Null")
    assert not is_null("nil")


@given(st.text(max_size=40))
def test_a_text_is_one_printable_line_that_fits(text: str) -> None:
    try:
        check_text("options", text, 20)
    except UserError as error:
        assert len(text) > 20 or not text.isprintable()
        assert str(error).isprintable()
    else:
        assert len(text) <= 20 and text.isprintable()


# Sizes with a unit of their own.


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
        ("4GB", "MB", "4096"),
        ("4096MB", "MB", "4096"),
        ("4gib", "MB", "4096"),
        ("20GB", "GB", "20"),
        ("20GiB", "GiB", "20"),
        ("125GiB", "MB", "128000"),
    ],
)
def test_a_size_in_the_unit_of_its_parameter(text: str, unit: str, number: str) -> None:
    assert in_unit("size", text, unit) == number


@pytest.mark.parametrize("text", ["", "G", "1.5G", "-4G", "4GBB", "4iB", "4 G", "٤G"])
def test_other_text_is_left_to_the_check_of_the_number(text: str) -> None:
    assert in_unit("mem", text, "MB") == text


@pytest.mark.parametrize(
    ("text", "unit", "next_larger"),
    [("100K", "MB", 1), ("20GiB", "GB", 22), ("20GB", "GiB", 19)],
)
def test_a_size_that_is_no_whole_number_of_the_unit_is_refused(
    text: str, unit: str, next_larger: int
) -> None:
    with pytest.raises(UserError) as refused:
        in_unit("size", text, unit)
    assert str(refused.value) == (
        f'size "{text}" is no whole number of {unit}; the next larger one is size={next_larger}'
    )


def test_a_small_disk_has_a_size_that_is_not_zero() -> None:
    assert [gigabytes(size) for size in (30_000_000, 99_999_999, 100_000_000, 36 * 10**9)] == [
        "28.6 MiB",
        "95.4 MiB",
        "0.1 GB",
        "36.0 GB",
    ]


def test_what_is_too_small_for_mib_has_its_bytes() -> None:
    """A text as "0.0 MiB are free, and 0.0 MiB are needed" reads as if it fitted."""
    assert [size_text(size) for size in (0, 52_427, 52_429, 3 * 2**30)] == [
        "0 bytes",
        "52427 bytes",
        "0.1 MiB",
        "3.0 GiB",
    ]
