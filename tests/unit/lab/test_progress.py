"""Steps and their times."""

import pytest

from lab.progress import Progress


def test_a_step_is_reported_at_its_end_and_listed_in_the_table() -> None:
    reported: list[str] = []
    progress = Progress(reported.append)
    with progress.step("database"):
        assert reported == []
    progress.record("guest", 3.5)
    assert reported == ["  database: 0.0 s"]
    rows = progress.table().splitlines()
    assert [row.split()[0] for row in rows] == ["database", "guest", "all"]
    assert "3.5 s" in rows[1]


def test_a_step_that_fails_is_named_and_left_out_of_the_table() -> None:
    reported: list[str] = []
    progress = Progress(reported.append)
    with pytest.raises(ValueError), progress.step("database"):
        raise ValueError
    assert reported[0].startswith("  database: failed") and progress.steps == []
