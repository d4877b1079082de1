"""How a physical host is switched."""

import pytest

from rocks.core.errors import StateError, UserError
from rocks.inventory.power_commands import (
    PowerControl,
    check_control,
    ipmi_arguments,
    ipmi_steps,
    read_power_action,
    reads_on,
)

BMC = PowerControl("compute-0-0", "", "10.1.250.10", "admin", "secret")


@pytest.mark.parametrize("text", [None, "", "ON", "reset"])
def test_other_actions_are_refused(text: str | None) -> None:
    with pytest.raises(UserError, match='invalid action. action must be "on", "off" or "install"'):
        read_power_action(text)


@pytest.mark.parametrize(
    ("action", "is_on", "steps"),
    [
        ("on", False, [("power", "on")]),
        ("on", True, []),
        ("off", True, [("power", "off")]),
        ("off", False, []),
        ("install", True, [("bootdev", "pxe"), ("power", "cycle")]),
        ("install", False, [("bootdev", "pxe"), ("power", "on")]),
    ],
)
def test_only_what_differs_is_requested(action: str, is_on: bool, steps: list[tuple[str, ...]]) -> None:
    assert ipmi_steps(action, is_on) == steps


def test_the_password_is_in_no_argument() -> None:
    arguments = ipmi_arguments(BMC, "power", "status")
    assert "secret" not in " ".join(arguments) and arguments[-3:] == ["chassis", "power", "status"]


def test_a_status_is_read_or_an_error() -> None:
    assert reads_on("Chassis Power is on\n") and not reads_on("Chassis Power is off\n")
    with pytest.raises(StateError, match="no power state"):
        reads_on("")


def test_a_host_needs_a_program_or_a_bmc() -> None:
    check_control(BMC)
    check_control(BMC._replace(command="/usr/local/sbin/pdu", address=""))
    with pytest.raises(StateError, match="ipmi_password"):
        check_control(BMC._replace(password=""))
    with pytest.raises(StateError, match="ipmi_address"):
        check_control(BMC._replace(address=""))
