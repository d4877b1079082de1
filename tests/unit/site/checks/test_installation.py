"""What `rocks check site` states about services."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from rocks.core.check_lines import OK, WRONG
from rocks.core.systemd_units import UnitState
from rocks.database.settings import EMBEDDED_SOCKET
from rocks.site.checks import installation as installation_checks


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
            "rocks add host certificate head, then",
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
    monkeypatch.setattr(installation_checks, "read_units", lambda _: {name: unit})
    database = Mock()
    database.settings.socket = EMBEDDED_SOCKET
    (line,) = installation_checks.check_services(database, "head")
    assert (line.subject, line.result) == (f"service {name}", result)
    assert command in line.detail
