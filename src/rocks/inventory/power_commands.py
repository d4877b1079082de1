"""How a physical host is switched: command lines for its BMC. Pure."""

from __future__ import annotations

from typing import NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable

ON, OFF, INSTALL = "on", "off", "install"
ACTIONS = (ON, OFF, INSTALL)
CYCLE = "cycle"
"""Off and on again, or on; what a site's own program gets for `install`."""

PASSWORD_VARIABLE = "IPMI_PASSWORD"  # noqa: S105 - the name of the variable that ipmitool -E reads


class PowerControl(NamedTuple):
    """What is known of a host's power: the program of the site, or the address, user and password of its BMC."""

    host: str
    command: str
    address: str
    user: str
    password: str


def read_power_action(text: str | None) -> str:
    """The action; UserError for another text."""
    if text not in ACTIONS:
        given = "" if text is None else f', not "{printable(text)}"'
        raise UserError(f'invalid action. action must be "on", "off" or "install"{given}')
    return text


def check_control(control: PowerControl) -> None:
    """StateError when neither a program nor a BMC is known for the host."""
    if not control.command and not (control.address and control.password):
        lacks = "ipmi_password" if control.address else "ipmi_address"
        raise StateError(
            f"the power of host {control.host} cannot be switched: it has neither the attribute power_command nor "
            f"{lacks}; rocks set host attr {control.host} ipmi_address ADDRESS and rocks set host sec_attr "
            f"{control.host} ipmi_password"
        )


def ipmi_arguments(control: PowerControl, *request: str) -> list[str]:
    """The command line for the BMC. The password is in the environment, as `PASSWORD_VARIABLE`."""
    return ["ipmitool", "-I", "lanplus", "-H", control.address, "-U", control.user, "-E", "chassis", *request]


def ipmi_steps(action: str, is_on: bool) -> list[tuple[str, ...]]:
    """The requests for a BMC, in order. A power state that is there already is not requested again."""
    if action == ON:
        return [] if is_on else [("power", "on")]
    if action == OFF:
        return [("power", "off")] if is_on else []
    return [("bootdev", "pxe"), ("power", CYCLE if is_on else "on")]


def reads_on(status: str) -> bool:
    """Whether the text of `chassis power status` says that the host is on. StateError for any other text."""
    status_line = status.strip().lower().split()
    if status_line[-1:] == ["on"]:
        return True
    if status_line[-1:] == ["off"]:
        return False
    raise StateError(f'the BMC\'s answer "{printable(status.strip())}" is no power state')
