"""Completion in `rocks shell`, by readline's protocol."""

import readline

import pytest

from rocks.commands._framework import shell


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
