"""The order of plugins (specification §1.6)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.commands._framework.plugins import TAIL, ordered
from rocks.core.errors import UserError


def test_without_constraints_the_order_is_alphabetical() -> None:
    assert ordered({"c": ((), ()), "a": ((), ()), "b": ((), ())}) == ["a", "b", "c"]


def test_required_ones_come_before_and_preceded_ones_after() -> None:
    constraints = {"a": (["c"], []), "b": ([], []), "c": ([], ["b"])}
    assert ordered(constraints) == ["c", "a", "b"]


def test_unknown_names_are_harmless() -> None:
    assert ordered({"b": (["nobody"], []), "a": ([], ["nobody"])}) == ["a", "b"]


def test_the_tail_comes_after_all_that_do_not_ask_for_it() -> None:
    constraints = {"a": ([TAIL], []), "z": ([], []), "b": ([TAIL, "z"], ["a"]), "m": (["z"], [])}
    assert ordered(constraints) == ["z", "m", "b", "a"]


@pytest.mark.parametrize(
    "constraints",
    [
        {"a": (["b"], []), "b": (["a"], []), "c": ([], [])},
        {"a": (["a"], [])},
        {"a": ([], ["b"]), "b": ([], ["a"])},
        {"a": ([TAIL], []), "b": (["a"], [])},
    ],
)
def test_a_cycle_is_an_error_that_names_its_members(
    constraints: dict[str, tuple[list[str], list[str]]],
) -> None:
    with pytest.raises(UserError, match=re.compile(r"has a cycle: a.* drop a requires")):
        ordered(constraints)


@given(st.permutations(range(8)), st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7))))
def test_every_constraint_is_satisfied(ranks: list[int], pairs: set[tuple[int, int]]) -> None:
    pairs = {(i, j) for i, j in pairs if ranks[i] < ranks[j]}  # so drawn, no cycle is possible
    constraints = {
        str(n): (
            [str(i) for i, j in pairs if j == n and i % 2],
            [str(j) for i, j in pairs if i == n and not i % 2],
        )
        for n in range(8)
    }
    order = ordered(constraints)
    assert sorted(order) == sorted(constraints)
    assert all(order.index(str(i)) < order.index(str(j)) for i, j in pairs)
