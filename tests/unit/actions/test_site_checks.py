"""What `rocks check site` advises."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from rocks.actions import broker_checks
from rocks.cluster.site_check import MISSING
from rocks.render.broker import BrokerNode


def test_a_missing_broker_leads_to_the_frontend_s_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile installs and configures it; the package alone would listen without our configuration."""
    monkeypatch.setattr(broker_checks, "storage_nodes", lambda _: [BrokerNode("nas-0-0", frozenset({"nas"}))])
    monkeypatch.setattr(broker_checks, "broker_elsewhere", lambda _: "")
    monkeypatch.setattr(broker_checks, "broker_control", lambda: SimpleNamespace(is_here=False))

    (check,) = broker_checks.check_broker(Mock(), "head")

    assert check.result == MISSING
    assert check.detail.startswith("rocks report host profile head | bash")
