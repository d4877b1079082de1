"""The figures of reservations, R32, of a small calendar: the bench asks what there is."""

from pathlib import Path

import pytest

from bench.nucleus import reservations
from bench.service import Place
from nucleus.configuration import DatabaseSettings

SUBJECTS = ("bench/nucleus/reservations.py", "roll/pragma/owners/reservations")


@pytest.mark.slow
def test_both_figures_are_measured(
    absent_schema: DatabaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "SITES", 2)
    monkeypatch.setattr(reservations, "RESERVATIONS", 20)
    page, check = reservations.measure_calendar(Place(absent_schema, tmp_path / "none.sock", tmp_path))
    assert page.what.startswith("2 sites with 20 reservations each") and "ms" in page.found
    assert check.number == "R32" and check.goal == "<= 10 ms"
