"""What `rocks check site` advises."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from rocks.core.check_lines import MISSING, OK, WRONG, SiteCheck
from rocks.core.errors import ToolError
from rocks.core.systemd_units import UnitState
from rocks.database.settings import EMBEDDED_SOCKET
from rocks.site import checks as site_checks
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


# What `rocks check site` states about services, and about a distribution: is it that of the enabled rolls.


@pytest.mark.parametrize(
    ("name", "unit", "result", "command"),
    [
        ("rocks-database.service", UnitState("active", is_enabled=True), OK, "active"),
        (
            "rocks-database.service",
            UnitState("failed", is_enabled=True),
            WRONG,
            "systemctl restart rocks-database",
        ),
        (
            "rocks-database.service",
            UnitState("inactive", is_enabled=False),
            WRONG,
            "systemctl restart rocks-database",
        ),
        (
            "rocks-boot.service",
            UnitState("active", is_enabled=False),
            WRONG,
            "systemctl enable rocks-boot.service",
        ),
        (
            "rocks-boot.service",
            UnitState("inactive", is_enabled=False),
            WRONG,
            "then rocks set host attr head boot_service yes, which states that the network private has no other DHCP",
        ),
        (
            "rocks-boot.service",
            UnitState("activating", is_enabled=True),
            WRONG,
            "journalctl -u rocks-boot.service",
        ),
    ],
)
def test_each_fault_of_a_service_names_its_command(
    monkeypatch: pytest.MonkeyPatch, name: str, unit: UnitState, result: str, command: str
) -> None:
    monkeypatch.setattr(site_checks, "read_units", lambda _: {name: unit})
    database = Mock()
    database.settings.socket = EMBEDDED_SOCKET
    (line,) = site_checks.check_services(database, "head")
    assert (line.subject, line.result) == (f"service {name}", result)
    assert command in line.detail


def _package(folder: Path, name: str, content: str = "x") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)


def test_only_the_packages_of_the_rolls_are_current(tmp_path: Path) -> None:
    """Of several versions one is enough; a file without an epoch in its name is the same package."""
    ours, other, built = tmp_path / "ours", tmp_path / "other", tmp_path / "rocks-dist"
    _package(ours / "Debian", "a_1_all.deb")
    _package(ours / "Debian", "b_1%3a1_all.deb", "xx")
    _package(other / "Debian", "a_2_all.deb", "newer")
    _package(built / "Debian/pool", "a_2_all.deb", "newer")
    _package(built / "Debian/pool", "b_1_all.deb", "xx")
    assert site_checks.outdated_packages(built, [ours, other]) == []

    _package(ours / "Debian", "c_1_all.deb")
    assert site_checks.outdated_packages(built, [ours, other]) == ["c"], "the roll has more"
    assert site_checks.outdated_packages(built, [ours]) == ["a", "c"], "the roll of its version is disabled"
    assert site_checks.outdated_packages(tmp_path / "absent", []) == []


def test_another_version_of_the_same_size_is_another_package(tmp_path: Path) -> None:
    """A roll was replaced by its next version, whose package is as long."""
    roll, built = tmp_path / "roll", tmp_path / "rocks-dist"
    _package(built / "Debian/pool", "a_1.0_all.deb")
    _package(roll / "Debian", "a_1.1_all.deb")
    assert site_checks.outdated_packages(built, [roll]) == ["a"]
