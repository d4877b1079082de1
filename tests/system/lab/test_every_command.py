"""No `rocks` command of a demo reaches the machine on which the demo runs."""

import json
import sys
from typing import Any

import pytest

from rocks.core.process import run_checked
from tests.patience import patience
from tests.system.lab.conftest import CHECKOUT


@pytest.fixture(scope="module")
def outcome() -> Any:
    """The report of `every_command.py`, which runs every command without and with the arguments of its examples."""
    path = f"PYTHONPATH={CHECKOUT / 'src'}:{CHECKOUT}"
    program = [sys.executable, str(CHECKOUT / "tests/system/lab/every_command.py")]
    isolated = ["/usr/bin/env", "-C", str(CHECKOUT), path, sys.executable, "-m", "lab.isolation", *program]
    return json.loads(run_checked(isolated, deadline_seconds=patience(600)).text)


def test_every_command_leaves_the_machine_as_it_was(outcome: Any) -> None:
    """Files, devices, mounts and processes outside of the demo's machine."""
    assert outcome["changes"] == []
    assert outcome["left"] == []


def test_the_commands_have_worked(outcome: Any) -> None:
    """Otherwise the comparison would prove little. Those that need other hosts end with an error."""
    assert [text for status, text, _ in outcome["described"] if status != 0] == []
    results = outcome["results"]
    assert {status for status, _, _ in results.values()} <= {0, 1, 3, -9}
    assert not [line for line, (_, text, _) in results.items() if "Traceback" in text]
    assert sum(status == 0 for status, _, _ in results.values()) >= 130
    for name in (
        "/etc/rabbitmq/rocks/broker.pem",
        "/etc/bind/rocks/named.conf",
        "/etc/rocks/ssh/id_ed25519",
    ):
        assert name in outcome["inside"]
