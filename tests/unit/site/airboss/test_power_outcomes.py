"""Which machines an owner learns have failed: what the command prints of each is read again."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from rocks.commands.set.host.power import Command
from rocks.core.errors import EXIT_SOME_HOSTS_FAILED, RocksError, StateError
from rocks.database.connection import Database
from rocks.site.airboss import machines
from rocks.site.airboss.audit import OwnerCall

NAMES = ("vm-one-0", "vm-one-1", "vm-one-2")


@pytest.fixture
def failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], list[str]]:
    """The machines that failed, of what a command prints and how it ends."""
    monkeypatch.setattr(machines, "log_call", lambda call, outcome: None)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)

    def ask(printed: str, status: int) -> list[str]:
        (tmp_path / "printed").write_text(printed)
        launcher = tmp_path / "rocks"
        launcher.write_text(f"#!/bin/sh\ncat '{tmp_path}/printed' >&2\nexit {status}\n")
        launcher.chmod(0o755)
        answer = machines.Power(str(launcher)).switch("one", NAMES, "on", OwnerCall("192.0.2.1"))
        done, failed = cast("list[str]", answer["done"]), cast("list[str]", answer["failed"])
        assert sorted(done + failed) == list(NAMES)
        return failed

    return ask


@pytest.mark.parametrize(
    "failures",
    [
        {"vm-one-1": StateError("vm-one-1 is not started: it may still be running on vmc-0-0")},
        {"vm-one-1": StateError("the host is full")},
        {"vm-one-0": StateError("vm-one-0: away"), "vm-one-2": StateError("vm-one-2 is paused")},
    ],
)
def test_each_machine_that_failed_is_named(
    failures: dict[str, RocksError],
    failed: Callable[[str, int], list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also one whose error begins with its name."""
    command = Command(cast("Database", None))
    command.endOutcomes(failures, len(NAMES))
    assert failed(capsys.readouterr().err, command.exit_status) == list(failures)


def test_where_none_is_named_all_have_failed(failed: Callable[[str, int], list[str]]) -> None:
    """Nothing that failed is reported as done."""
    assert failed("Warning: slow\nError: something else\n", EXIT_SOME_HOSTS_FAILED) == list(NAMES)
    assert failed("", 0) == []
