"""`comet launch` that is killed at any moment, and given again."""

import json
import os
import shutil
import subprocess  # noqa: TID251 - the program is killed
import sys
from pathlib import Path
from typing import Any

import pytest

from comet.cli import launch
from comet.client.connection import Connection
from comet.client.launch_frontend import Frontend
from comet.client.launchers import Group
from tests.unit.comet.launching import ADDRESS, COMMAND, Launching, it
from tests.waiting import wait_until

__all__ = ["it"]

SOURCE = Path(launch.__file__).resolve().parents[2]


class KilledError(BaseException):
    """Stands for kill -9: nothing of the launch handles it."""


def run_killed(it: Launching, moment: int, is_before: bool, end: type[BaseException] = KilledError) -> bool:
    """Whether there is a moment of this number: a request, a program, or a record of the state."""
    left = moment

    def at(real: Any) -> Any:
        def act(*given: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0 and is_before:
                raise end
            found = real(*given, **named)
            if left == 0:
                raise end
            return found

        return act

    with pytest.MonkeyPatch.context() as patch:
        for kind, name in (
            (Connection, "request"),
            (Group, "save"),
            *((Frontend, name) for name in ("_ask", "send", "fetch")),
        ):
            patch.setattr(kind, name, at(getattr(kind, name)))
        try:
            it.run()
        except end:
            return True
    return left <= 0


def test_one_group_uses_a_computeset(it: Launching) -> None:
    """Of another group's command the first that ends would end the computeset."""
    moment = next(moment for moment in range(1, 20) if run_killed(it, moment, False) and it.runs())
    assert moment > 5 and it.states() == ["running"]
    for stray in (".hidden.json", "broken.json"):
        Group("dock").path.with_name(stray).write_text("no launch")
    refused = it.run("--computeset=1", "--group=second")
    assert refused.status == 5 and "is launched on computeset 1: continue it with --group=dock" in refused.err
    assert it.run().status == 0 and (it.runs(), it.states()) == (1, ["cancelled"])


@pytest.mark.slow
@pytest.mark.parametrize("is_before", [True, False])
def test_a_launch_that_is_killed_at_any_moment_is_completed_by_the_same_command(
    it: Launching, is_before: bool
) -> None:
    moment = 1
    while run_killed(it, moment, is_before):
        found = it.run()
        assert found.status == 0, (moment, found)
        assert (it.runs(), it.states()) == (1, ["cancelled"]), (moment, found)
        assert (it.folder / "dock-results" / "poses" / "a").exists()
        shutil.rmtree(it.folder / "dock-results")
        shutil.rmtree(it.folder / ".local")
        (it.root / ADDRESS / "runs").unlink()
        it.server.sets.clear()
        moment += 1
    assert moment > 20


@pytest.mark.slow
@pytest.mark.parametrize("is_before", [True, False])
def test_after_an_interrupt_at_any_moment_the_same_command_leaves_no_computeset(
    it: Launching, is_before: bool
) -> None:
    moment = 1
    while run_killed(it, moment, is_before, KeyboardInterrupt):
        is_continued = (it.folder / ".local" / "state" / "comet" / "launch" / "dock.json").exists()
        assert is_continued or it.left_on_frontend() == [], moment
        found = it.run()
        assert found.status in (0, 130) and set(it.states()) == {"cancelled"}, (moment, found)
        assert (it.folder / "dock-results").exists() or it.run().status == 0, (moment, found)
        shutil.rmtree(it.folder / "dock-results")
        shutil.rmtree(it.folder / ".local")
        it.server.sets.clear()
        moment += 1
    assert moment > 20


def test_an_interrupt_before_a_computeset_is_asked_for_leaves_nothing(
    it: Launching, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = Frontend.prepare

    def interrupted(frontend: Frontend) -> None:
        prepare(frontend)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Frontend, "prepare", interrupted)
        with pytest.raises(KeyboardInterrupt):
            it.run()
    assert (it.left_on_frontend(), it.states()) == ([], [])
    assert it.run().status == 0 and it.states() == ["cancelled"]


def test_a_program_that_is_killed_is_continued(it: Launching) -> None:
    it.write(f"touch ../../begun; while [ ! -e ../../go ]; do sleep 0.1; done; {COMMAND}")
    process = subprocess.Popen(
        [sys.executable, "-S", "-m", "comet", "launch", "dock"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until((it.root / ADDRESS / "begun").exists, "the command did not begin")
    process.kill()
    process.wait()
    assert it.states() == ["running"]
    (it.root / ADDRESS / "go").touch()
    found = it.run()
    assert (found.status, it.runs(), it.states()) == (0, 1, ["cancelled"])
    assert "say hello" in found.out


def test_a_launch_that_was_killed_before_its_request_is_continued_days_later(
    it: Launching, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(frontend: Frontend) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Frontend, "prepare", killed)
        patch.setattr(launch._Run, "_forget", lambda run: None)
        with pytest.raises(KilledError):
            it.run()
    state = it.folder / ".local" / "state" / "comet" / "launch" / "dock.json"
    document = json.loads(state.read_text())
    state.write_text(json.dumps({**document, "asked_at": 1.0}))
    assert it.run().status == 0 and it.states() == ["cancelled"]
