"""Refused requests of owners are counted also where no thread can be started for a while."""

import threading

import pytest

from rocks.core.errors import UserError
from rocks.database.settings import Settings
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
