"""What `rocks check site` advises."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from rocks.core.check_lines import MISSING, OK, SiteCheck
from rocks.core.errors import ToolError
from rocks.site.checks import checks as site_checks
from rocks.storage.broker import broker as broker_checks
from rocks.storage.broker.definitions import BrokerNode


def test_a_missing_broker_leads_to_the_frontend_s_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile installs and configures it; the package alone would listen without our configuration."""
    monkeypatch.setattr(broker_checks, "storage_nodes", lambda _: [BrokerNode("nas-0-0", frozenset({"nas"}))])
    monkeypatch.setattr(broker_checks, "broker_elsewhere", lambda _: "")
    monkeypatch.setattr(broker_checks, "broker_control", lambda: SimpleNamespace(is_here=False))

    (check,) = broker_checks.check_broker(Mock(), "head")

    assert check.result == MISSING
    assert check.detail.startswith("rocks report host profile head | bash")


@pytest.mark.parametrize(
    ("certificates", "remedy"),
    [
        ({}, "rocks sync broker, then rocks report host profile head | bash, then rocks sync broker again"),
        ({"broker": Mock()}, "systemctl start rabbitmq-server.service"),
    ],
)
def test_a_broker_that_is_down_was_set_up_or_not(
    monkeypatch: pytest.MonkeyPatch, certificates: dict[str, Mock], remedy: str
) -> None:
    control = Mock(is_here=True)
    control.listeners.side_effect = ToolError("the message broker of this machine does not run")
    monkeypatch.setattr(broker_checks, "storage_nodes", lambda _: [BrokerNode("nas-0-0", frozenset({"nas"}))])
    monkeypatch.setattr(broker_checks, "broker_elsewhere", lambda _: "")
    monkeypatch.setattr(broker_checks, "broker_control", lambda: control)
    monkeypatch.setattr(broker_checks, "broker_address", lambda *_: "10.1.1.1")
    monkeypatch.setattr(broker_checks, "node_authority", lambda: Mock(certificates=lambda: certificates))

    (check,) = broker_checks.check_broker(Mock(), "head")

    assert (
        check.detail.startswith("the message broker of this machine does not run: ")
        and remedy in check.detail
    )


def test_a_machine_that_is_not_in_the_database_gets_that_line_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(site_checks, "find_local_host", lambda _: None)
    monkeypatch.setattr(site_checks, "_unless_demo", lambda *_: [SiteCheck("clock", OK, "")])
    (check,) = site_checks.check_site(Mock(), ["clock"])
    assert (check.subject, check.result) == ("frontend", MISSING)
    assert check.detail == "this machine is not in the database: rocks create site"
    monkeypatch.setattr(site_checks, "find_local_host", lambda _: "head")
    assert [check.subject for check in site_checks.check_site(Mock(), ["clock"])] == ["clock"]
