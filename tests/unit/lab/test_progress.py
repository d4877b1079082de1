"""Steps and their times."""

from __future__ import annotations

import pytest

from lab.progress import Progress


def test_a_step_is_told_when_it_ends_and_stands_in_the_table() -> None:
    told: list[str] = []
    progress = Progress(told.append)
    with progress.step("database"):
        assert told == []
    progress.record("guest", 3.5)
    assert told == ["  database: 0.0 s"]
    rows = progress.table().splitlines()
    assert [row.split()[0] for row in rows] == ["database", "guest", "all"]
    assert "3.5 s" in rows[1]


def test_a_step_that_fails_is_named_and_left_out_of_the_table() -> None:
    told: list[str] = []
    progress = Progress(told.append)
    with pytest.raises(ValueError), progress.step("database"):
        raise ValueError
    assert told[0].startswith("  database: failed") and progress.steps == []
