"""Failures of every family lead on."""

import pytest

from rocks.core.errors import FAMILIES
from tests.unit.storage.records import (
    host_failed,
    record,
)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("state", ["seeding", "switching", "pulling", "returning"])
def test_f10_no_failure_is_unknown(state: str, family: str) -> None:
    """Every family of errors leads on: to another try, or to an operator."""
    image = host_failed(record(state), family)  # type: ignore[arg-type]
    assert image.state == "blocked" or image.retry_at is not None or image.state in ("local", "mapped")
