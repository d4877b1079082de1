"""Fixtures of several rooms."""

from collections.abc import Iterator

import pytest

from rocks.core import dry_run


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The lines of a dry run, which is on."""
    printed: list[str] = []
    dry_run.begin(printed.append)
    yield printed
    dry_run.end()
