"""What follows the restore of a machine's disks on NASes: the record comes before the message."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from rocks.machine import nas_snapshots

VM: Any = SimpleNamespace(name="web", uuid="u", restoring=None)
PART: Any = SimpleNamespace(
    disk=SimpleNamespace(nas="nas-0-0", zpool="tank", number=0),
    volume="tank/web-vol",
    row=SimpleNamespace(name="img-1"),
    number=1,
)


class Storage:
    """A NAS that restores, and answers the question for the former content with these clones, or this."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def wait_each(self, asked: Any, seconds: float) -> dict[str, None]:
        return dict.fromkeys(asked)

    def ask(self, query: Any) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return SimpleNamespace(clones=self.answer)


def restored(monkeypatch: pytest.MonkeyPatch, answer: Any) -> tuple[list[str | None], Any]:
    """What was recorded as being restored, in order, and the notes or what ended the restore."""
    recorded: list[str | None] = []
    monkeypatch.setattr(nas_snapshots, "open_storage", lambda _: nullcontext(Storage(answer)))
    monkeypatch.setattr(nas_snapshots, "_check_states", lambda *_: None)
    monkeypatch.setattr(nas_snapshots, "_are_at_rest", lambda *_: True)
    monkeypatch.setattr(nas_snapshots, "_record", lambda database, vm, snapshot: recorded.append(snapshot))
    database: Any = None
    try:
        return recorded, nas_snapshots.restore(database, VM, (), "monday", [PART], ())
    except KeyboardInterrupt as interrupt:
        return recorded, interrupt


def test_ctrl_c_while_the_former_content_is_asked_for_leaves_a_machine_that_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded, ended = restored(monkeypatch, KeyboardInterrupt())
    assert isinstance(ended, KeyboardInterrupt)
    assert recorded == ["monday", None]


@pytest.mark.parametrize("clone", ["tank/web-vol-before-²", f"tank/web-vol-before-{'9' * 5000}"])
def test_a_nas_that_answers_anything_ends_no_restore(monkeypatch: pytest.MonkeyPatch, clone: str) -> None:
    recorded, notes = restored(monkeypatch, (clone, "tank/web-vol-before-7", "tank/web-vol-before-5"))
    assert recorded == ["monday", None]
    assert notes == ("the former content of web stays as nas-0-0:tank/web-vol-before-7",)
