"""Refused requests of owners are counted also where no thread can be started for a while; passphrases."""

import sys
import threading
from pathlib import Path

import pytest

from rocks.core.errors import UserError
from rocks.core.process import run
from rocks.database.settings import Settings
from rocks.site.airboss import client
from rocks.site.airboss.audit import OwnerCall, RefusedCalls


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
