"""What `rocks check site` states about services, and about a distribution: is it that of the enabled rolls."""

from pathlib import Path
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
    monkeypatch.setattr(installation_checks, "read_units", lambda _: {name: unit})
    database = Mock()
    database.settings.socket = EMBEDDED_SOCKET
    (line,) = installation_checks.check_services(database, "head")
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
    assert installation_checks.outdated_packages(built, [ours, other]) == []

    _package(ours / "Debian", "c_1_all.deb")
    assert installation_checks.outdated_packages(built, [ours, other]) == ["c"], "the roll has more"
    assert installation_checks.outdated_packages(built, [ours]) == ["a", "c"], (
        "the roll of its version is disabled"
    )
    assert installation_checks.outdated_packages(tmp_path / "absent", []) == []


def test_another_version_of_the_same_size_is_another_package(tmp_path: Path) -> None:
    """A roll was replaced by its next version, whose package is as long."""
    roll, built = tmp_path / "roll", tmp_path / "rocks-dist"
    _package(built / "Debian/pool", "a_1.0_all.deb")
    _package(roll / "Debian", "a_1.1_all.deb")
    assert installation_checks.outdated_packages(built, [roll]) == ["a"]
