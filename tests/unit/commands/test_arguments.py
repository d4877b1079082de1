"""Words of a command line: arguments, parameters, yes and no (specification §1.2, §1.3)."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rocks.commands._framework.arguments import (
    FIRST_PARAMETER,
    bool2str,
    parse_arguments,
    str2bool,
    yes_or_no,
)
from rocks.core.errors import UserError

PARAMETER = re.compile(r"[A-Za-z0-9_+-]+=")
"""The specification's own rule."""


@given(st.lists(st.text(alphabet="select=_ +-aZ09%'é\t\n")))
@example(["select name from nodes where rack=0", "select=5", "selected=1", "", "=", "=x", "a b=c", "é=1"])
def test_arguments_and_parameters_are_separated_as_specified(texts: list[str]) -> None:
    arguments, parameters, repeated = parse_arguments(texts)
    positional = [w for w in texts if w.split()[:1] == ["select"] or not PARAMETER.match(w)]
    assert arguments == positional
    named = [w for w in texts if w not in positional]
    assert {k: v for k, v in parameters.items() if k != FIRST_PARAMETER} == dict(
        w.split("=", 1) for w in named
    )
    assert len(repeated) == len(named) - len(dict(w.split("=", 1) for w in named))
    assert parameters.get(FIRST_PARAMETER) == (named[0] if named else None)


def test_the_last_value_wins_and_the_first_parameter_is_stored() -> None:
    assert parse_arguments(["a=1", "b=x=y", "a=2"]).parameters == {
        FIRST_PARAMETER: "a=1",
        "a": "2",
        "b": "x=y",
    }


def test_an_empty_text_is_an_argument() -> None:
    assert parse_arguments(["", "h1", ""]).arguments == ["", "h1", ""]


@pytest.mark.parametrize("text", ["on", "yes", "y", "true", "1", "ON", "Yes", "Y", "True"])
def test_values_that_mean_true(text: str) -> None:
    assert str2bool(text)
    assert yes_or_no("flag", text)


@pytest.mark.parametrize("text", ["off", "no", "n", "false", "0", "No", "FALSE"])
def test_values_that_mean_false(text: str) -> None:
    assert not str2bool(text)
    assert not yes_or_no("flag", text)


@pytest.mark.parametrize("text", ["", "maybe", "2", " yes", "yess"])
def test_other_values_are_false_for_str2bool_and_an_error_for_a_flag(text: str) -> None:
    assert not str2bool(text)
    with pytest.raises(UserError, match='"flag" must be yes or no'):
        yes_or_no("flag", text)


def test_a_boolean_as_text() -> None:
    assert (bool2str(True), bool2str(0), str2bool(None)) == ("yes", "no", False)
