"""Numbers and texts: read, or refused in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import UserError
from rocks.core.values import HIGHEST_NUMBER, check_text, is_null, read_number


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
