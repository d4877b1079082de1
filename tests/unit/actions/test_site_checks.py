"""What `rocks check site` advises."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from rocks.actions import site_checks


def test_a_missing_broker_leads_to_the_frontend_s_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile installs and configures it; the package alone would listen without our configuration."""
    monkeypatch.setattr(site_checks, "storage_nodes", lambda _: [SimpleNamespace(name="nas-0-0")])
    monkeypatch.setattr(site_checks, "broker_elsewhere", lambda _: "")
    monkeypatch.setattr(site_checks, "broker_control", lambda: SimpleNamespace(is_here=False))

    (check,) = site_checks._broker(Mock(), "head")

    assert check.result == site_checks.MISSING
    assert check.detail.startswith("rocks report host profile head | bash")
