"""Words of a command line: arguments, parameters, yes and no, quoting, completion."""

import re
import readline
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rocks.commands._framework import shell
from rocks.commands._framework.arguments import (
    FIRST_PARAMETER,
    bool2str,
    parse_arguments,
    str2bool,
)
from rocks.commands._framework.shell_quoting import INSTALLED_LAUNCHER, launcher, positional, quote
from rocks.core.errors import UserError
from rocks.core.values import yes_or_no

PARAMETER = re.compile(r"[A-Za-z0-9_+-]+=")
"""The specification's own rule."""


@pytest.mark.slow
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
    assert parse_arguments(["", "h1", ""]).arguments == ["", "h1", ""]


def test_yes_and_no() -> None:
    for text in ("on", "yes", "y", "true", "1", "ON", "Yes", "Y", "True"):
        assert str2bool(text) and yes_or_no("flag", text), text
    for text in ("off", "no", "n", "false", "0", "No", "FALSE"):
        assert not str2bool(text) and not yes_or_no("flag", text), text
    for text in ("", "maybe", "2", " yes", "yess"):
        assert not str2bool(text), text
        with pytest.raises(UserError, match='"flag" must be yes or no'):
            yes_or_no("flag", text)
    assert (bool2str(True), bool2str(0), str2bool(None)) == ("yes", "no", False)


HARMLESS = string.ascii_letters + string.digits + "@%^-_=+:,./"
OTHERS = sorted(set(string.printable) - set(HARMLESS + "\n"))


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        (HARMLESS, HARMLESS),
        ("".join(OTHERS), "".join(f"\\{sign}" for sign in OTHERS)),
        ("a\nb", "a'\n'b"),  # a backslash would swallow it
        ("Zürich 東京", "Zürich\\ 東京"),
        ("", "''"),
    ],
    ids=["harmless", "others", "newline", "letters of other scripts", "empty"],
)
def test_what_is_quoted_for_a_shell(text: str, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize(
    ("value", "argument"),
    [("true", "true"), ("a=b", "value=a=b"), ("=b", "=b"), ("a b=c", "a b=c"), ("select a=b", "select a=b")],
)
def test_a_value_that_looks_like_a_parameter_is_named(value: str, argument: str) -> None:
    assert positional("value", value) == argument


def test_the_launcher_is_the_one_that_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCKS_LAUNCHER", "/srv/a b/bin/rocks")
    assert launcher() == "/srv/a b/bin/rocks"
    monkeypatch.delenv("ROCKS_LAUNCHER")
    assert launcher() == INSTALLED_LAUNCHER


def test_each_completion_has_its_number_and_none_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line up to the word is looked at once, when readline begins; with the word itself it would not be found."""
    asked: list[tuple[str, str]] = []

    def follow(database: object, line: str, text: str) -> list[str]:
        asked.append((line, text))
        return ["host ", "host vm "]

    monkeypatch.setattr(shell, "texts_that_may_follow", follow)
    monkeypatch.setattr(readline, "get_line_buffer", lambda: "list ho")
    monkeypatch.setattr(readline, "get_begidx", lambda: len("list "))
    found: list[str] = ["of the last word"]
    offered = [shell._complete(None, found, "ho", number) for number in range(3)]  # type: ignore[arg-type]
    assert offered == ["host ", "host vm ", None]
    assert asked == [("list ", "ho")]
