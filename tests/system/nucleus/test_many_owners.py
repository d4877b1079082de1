"""The day of many owners, which the bench measures, comes to its end, and its figures are those of its answers."""

from pathlib import Path

import pytest

from bench.nucleus import many_owners
from bench.service import Place
from nucleus.configuration import DatabaseSettings

SUBJECTS = ("bench/nucleus/many_owners.py", "src/nucleus")


@pytest.mark.slow
def test_owners_at_once_clone_start_look_stop_and_destroy(
    absent_schema: DatabaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_owners, "OWNERS", 3)
    for kind in ("TOPOLOGY", "POWER"):
        monkeypatch.setenv(f"NUCLEUS_POLL_{kind}_SECONDS", "1")
    answers, failures, _ = many_owners.measure_class(
        Place(absent_schema, tmp_path / "executor.sock", tmp_path)
    )
    assert (failures.found, failures.is_met) == ("0", True), failures.how
    assert answers.number == "R30" and answers.goal == "<= 1 s"
