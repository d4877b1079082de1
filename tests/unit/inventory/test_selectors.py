"""Selector words, sorted by kind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import UserError
from rocks.inventory.selectors import LOCAL_NAMES, Selectors, read_selectors


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("compute-0-0", Selectors(("compute-0-0",), (), (), (), False)),
        ("compute%", Selectors((), ("compute%",), (), (), False)),
        ("rack12", Selectors((), (), (12,), (), False)),
        ("RACK007", Selectors((), (), (7,), (), False)),
        ("rack%", Selectors((), ("rack%",), (), (), False)),
        (
            "select Name from nodes where Name like '%'",
            Selectors((), (), (), ("select Name from nodes where Name like '%'",), False),
        ),
        ("selected", Selectors(("selected",), (), (), (), False)),
        ("LocalHost", Selectors((), (), (), (), True)),
        ("127.0.0.1", Selectors((), (), (), (), True)),
        ("10.1.0.1", Selectors(("10.1.0.1",), (), (), (), False)),
    ],
    ids=str,
)
def test_one_word(word: str, expected: Selectors) -> None:
    assert read_selectors([word]) == expected


@pytest.mark.parametrize("word", ["rack", "racket", "rack-1", "rack 1", "rack1\n", "rack٣", "rack1234567890"])
def test_rack_without_a_number(word: str) -> None:
    with pytest.raises(UserError, match='after "rack" a number must follow'):
        read_selectors(["compute-0-0", word])


@given(st.lists(st.text()))
def test_every_word_is_of_one_kind_or_refused(arguments: list[str]) -> None:
    try:
        found = read_selectors(arguments)
    except UserError as error:
        assert str(error).startswith('cannot resolve host "')
        return
    kinds = (found.names, found.patterns, found.racks, found.statements)
    assert sum(len(kind) for kind in kinds) == len(
        [word for word in arguments if word.lower() not in LOCAL_NAMES]
    )
    assert all(word in arguments for word in (*found.names, *found.patterns, *found.statements))
