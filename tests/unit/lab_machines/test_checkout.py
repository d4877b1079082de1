"""What a checkout remembers of the lab that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.machines import checkout
from rocks.errors import StateError


def test_a_lab_with_another_number_of_processors_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The saved states of its machines hold the number; the error for another number names the remedy."""
    monkeypatch.setattr(checkout, "STATE", tmp_path)
    monkeypatch.setattr(checkout, "_BUILD_RECORD", tmp_path / "built")
    monkeypatch.setattr(checkout, "_CPUS_RECORD", tmp_path / "cpus")
    checkout.record_build(2)
    checkout.check_same_build()
    checkout.check_same_cpus(2)
    with pytest.raises(StateError) as refused:
        checkout.check_same_cpus(1)
    assert "cpus=2 for each machine, not cpus=1: `make lab-stop`" in str(refused.value)
