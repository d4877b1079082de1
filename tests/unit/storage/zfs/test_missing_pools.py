"""A pool that a machine does not have: the frontend prints the text, so it names the machine."""

import os

import pytest

from rocks.core.errors import StateError
from rocks.core.process import Finished
from rocks.storage.zfs import tool


def test_the_machine_without_the_pool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = b"cannot open 'nope': no such pool"
    monkeypatch.setattr(tool, "_run", lambda *_: Finished((), 1, b"", error))
    with pytest.raises(StateError) as refused:
        tool.zpool_health("nope")
    text = str(refused.value)
    assert text.startswith(f"{os.uname().nodename} has no ZFS pool nope: there, `zpool list`")
    assert "no such pool" in text and "this machine" not in text
