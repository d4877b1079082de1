"""Quoting for a shell (specification §2.3, dump)."""

import string

import pytest

from rocks.commands._framework.shell_quoting import INSTALLED_LAUNCHER, launcher, positional, quote


def test_letters_digits_and_harmless_signs_stand_as_they_are() -> None:
    harmless = string.ascii_letters + string.digits + "@%^-_=+:,./"
    assert quote(harmless) == harmless


def test_every_other_sign_gets_a_backslash() -> None:
    others = sorted(set(string.printable) - set(string.ascii_letters + string.digits + "@%^-_=+:,./\n"))
    assert quote("".join(others)) == "".join(f"\\{sign}" for sign in others)


def test_a_newline_is_quoted_since_a_backslash_would_swallow_it() -> None:
    assert quote("a\nb") == "a'\n'b"


def test_letters_of_other_scripts_are_letters() -> None:
    assert quote("Zürich 東京") == "Zürich\\ 東京"


def test_an_empty_text_is_quoted() -> None:
    assert quote("") == "''"


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
