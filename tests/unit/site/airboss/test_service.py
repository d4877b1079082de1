"""What owners' requests log, do with the power of machines, and are refused."""

from __future__ import annotations

import sys
import syslog
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from rocks.commands.set.host.power import Command
from rocks.core.errors import EXIT_SOME_HOSTS_FAILED, RocksError, StateError, UserError
from rocks.core.process import run
from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.site.airboss import client, service
from rocks.site.airboss.service import OwnerCall, RefusedCalls, log_call


def test_a_line_has_who_asked_what_of_which_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lambda level, text: lines.append(text))
    log_call(
        OwnerCall("192.0.2.1", "SHA256:abcdefghijkl", "vc1", "on", ("vm-a", "vm-b"), "0123456789"), "done"
    )
    assert lines == [
        "address='192.0.2.1' key='SHA256:abcdefghi' cluster='vc1' request='01234567' what='on vm-a vm-b'"
        " outcome='done'"
    ]


# Which machines an owner learns have failed: what the command prints of each is read again.


NAMES = ("vm-one-0", "vm-one-1", "vm-one-2")


@pytest.fixture
def failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], list[str]]:
    """The machines that failed, of what a command prints and how it ends."""
    monkeypatch.setattr(service, "log_call", lambda call, outcome: None)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)

    def ask(printed: str, status: int) -> list[str]:
        (tmp_path / "printed").write_text(printed)
        launcher = tmp_path / "rocks"
        launcher.write_text(f"#!/bin/sh\ncat '{tmp_path}/printed' >&2\nexit {status}\n")
        launcher.chmod(0o755)
        answer = service.Power(str(launcher)).switch("one", NAMES, "on", OwnerCall("192.0.2.1"))
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


# Refused requests of owners are counted also where no thread can be started for a while; passphrases.


def test_a_timer_that_cannot_be_started_is_begun_by_the_next_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[threading.Timer] = []

    def fail(timer: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    refused = RefusedCalls(Settings("", "", 0, "", "", ""), lambda line: None)
    call, error = OwnerCall("192.0.2.1", key="a key"), UserError("the cluster has no machine x")
    monkeypatch.setattr(threading.Timer, "start", fail)
    assert refused.is_first(call, ["vc1"], error)
    monkeypatch.setattr(threading.Timer, "start", lambda timer: begun.append(timer))
    assert not refused.is_first(call, ["vc1"], error)
    assert not refused.is_first(call, ["vc1"], error)
    assert len(begun) == 1


def test_a_passphrase_without_a_terminal_is_refused_in_one_line(tmp_path: Path) -> None:
    """Of a new key, and of one that is used; the program has no terminal and no input."""
    key, encrypted = tmp_path / "new.key", tmp_path / "encrypted.key"
    encrypted.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    settings = ("server=127.0.0.1", "cluster=vc1", "authority=/x", f"key={encrypted}")
    for arguments in (
        ("create", "keys", f"key={key}", "passphrase=yes"),
        ("list", "host", "macs", *settings),
    ):
        done = run([sys.executable, "-I", client.__file__, *arguments], deadline_seconds=60)
        assert (done.exit_status, done.text) == (1, ""), done.error_text
        assert done.error_text == "Error: no passphrase was typed; run this command at a terminal"
    assert not key.exists()
