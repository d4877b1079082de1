"""The order of freeze and thaw, with an agent of the guest that answers, hangs, or was thawed by another."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import libvirt  # noqa: TID251 - its errors are played
import pytest

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import HostError, StateError, ToolError
from rocks.core.process import start_with_pipes
from rocks.fleet.wire.facts import DomainFact, DomainState
from rocks.machine.host.libvirt import thawer
from rocks.machine.host.libvirt.domains import Domains
from rocks.machine.host.libvirt.driver import NothingFrozenError
from rocks.machine.host.libvirt.freezing import Frozen, Thawer

NAME = "g"


class Guest:
    """libvirt with one guest; `steps` is what it and the other process were asked."""

    def __init__(
        self, freeze: str | Exception | None = None, thaws: Sequence[int | None] = (1,), agent: bool = True
    ) -> None:
        self.steps: list[str] = []
        self._freeze, self._thaws, self._agent = freeze, list(thaws), agent
        self.state: DomainState = "running"

    def has_agent(self, name: str) -> bool:
        return self._agent

    def freeze(self, name: str) -> str | None:
        self.steps.append("freeze")
        if isinstance(self._freeze, Exception):
            raise self._freeze
        return self._freeze

    def thaw(self, name: str) -> int | None:
        self.steps.append("thaw")
        return self._thaws.pop(0)

    def find(self, name: str) -> DomainFact:
        return DomainFact(name, "u", self.state, None, 64, 1, False, True, False)

    def thawer(self, name: str) -> Thawer:
        """The other process, played."""
        guest = self

        class Played(Thawer):
            def __init__(self) -> None:
                guest.steps.append("begin")

            def dismiss(self) -> None:
                guest.steps.append("dismiss")

            def hold(self) -> None:
                guest.steps.append("hold")

            def leave_to(self) -> None:
                guest.steps.append("leave")

        return Played()


def frozen(guest: Guest, mark: Path | None = None) -> Frozen:
    """A freeze of it."""
    return Frozen(guest, NAME, guest.thawer, mark, "7")  # type: ignore[arg-type]


DISABLED = NothingFrozenError("the command is disabled")
HALF = StateError("failed to freeze /data: Input/output error")
UNCONFIRMED = "the guest agent has not reported that it thawed them"


@pytest.mark.parametrize(
    ("guest", "steps", "problem", "may_be_frozen"),
    [
        (Guest(), "begin freeze copy thaw dismiss", None, (True, False)),
        (Guest(agent=False), "copy", "its guest agent is not connected", (False, False)),
        # an agent that did not answer may freeze later, one that failed may have frozen some: thawed before the copy
        (Guest("no answer", [0]), "begin freeze thaw dismiss copy", "no answer", (False, False)),
        (Guest("no answer", [None]), "begin freeze thaw leave copy", "no answer", (True, True)),
        (Guest(HALF, [None]), "begin freeze thaw leave copy", str(HALF), (True, True)),
        (Guest(DISABLED, [None]), "begin freeze thaw dismiss copy", str(DISABLED), (False, False)),
        # not confirmed, or another has thawed them: they were not frozen all the time
        (Guest(thaws=[None]), "begin freeze copy thaw leave", UNCONFIRMED, (True, True)),
        (
            Guest(thaws=[0]),
            "begin freeze copy thaw dismiss",
            "they were thawed before the copy began",
            (True, False),
        ),
    ],
    ids=["frozen", "no agent", "late", "silent", "half", "disabled", "unconfirmed", "thawed"],
)
def test_a_copy_of_a_guest(
    tmp_path: Path, guest: Guest, steps: str, problem: str | None, may_be_frozen: tuple[bool, bool]
) -> None:
    """The mark is there while the guest may be frozen: at the copy, and afterwards, when the other process goes on."""
    mark = tmp_path / NAME
    with frozen(guest, mark) as freeze:
        at_copy = mark.exists() and mark.read_text() == "7"
        guest.steps.append("copy")
    assert (guest.steps, freeze.problem) == (steps.split(), problem)
    assert (at_copy, mark.exists()) == may_be_frozen
    assert ("virsh domfsthaw g" in freeze.warning) is may_be_frozen[1] is bool(freeze.warning)


def test_a_held_freeze_lasts_beyond_the_call() -> None:
    guest = Guest()
    with frozen(guest) as freeze:
        freeze.hold()
    assert guest.steps == ["begin", "freeze", "hold"]


def test_an_error_of_the_copy_thaws_too() -> None:
    guest = Guest()
    with pytest.raises(HostError), frozen(guest):
        raise HostError("the copy failed")
    assert guest.steps == ["begin", "freeze", "thaw", "dismiss"]


def test_without_the_other_process_nothing_is_frozen() -> None:
    guest = Guest()

    def fails(name: str) -> Thawer:
        raise ToolError("no process")

    with Frozen(guest, NAME, fails) as freeze:  # type: ignore[arg-type]
        guest.steps.append("copy")
    assert guest.steps == ["copy"] and freeze.problem == "no process"


@pytest.mark.parametrize(
    ("sent", "is_thawed"),
    [(b"thawed\n", True), (b"thaw", False), (b"", False)],
    ids=["thawed", "part", "end"],
)
def test_the_end_of_the_pipe_without_the_line_is_a_death(sent: bytes, is_thawed: bool) -> None:
    reading, writing = os.pipe()
    os.write(writing, sent)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert thawer.was_thawed(pipe, 60) is is_thawed


def test_a_process_that_takes_too_long_counts_as_dead() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        assert not thawer.was_thawed(pipe, 0.01)
    os.close(writing)


def test_a_freeze_that_nobody_would_end_is_not_held() -> None:
    """The other process has died: the guest is thawed, and it is an error."""

    class Dead(Thawer):
        def __init__(self, name: str) -> None:
            pass

        def hold(self) -> None:
            raise ToolError("the process that would thaw them has ended")

        def dismiss(self) -> None:
            pass

    guest = Guest()
    with pytest.raises(ToolError), Frozen(guest, NAME, Dead) as freeze:  # type: ignore[arg-type]
        freeze.hold()
    assert guest.steps == ["freeze", "thaw"]


@pytest.mark.parametrize("is_removed", [True, False])
def test_a_held_freeze_is_thawed_when_its_mark_is_gone_or_its_time_over(
    tmp_path: Path, is_removed: bool
) -> None:
    """The end of the input, that of the process that has frozen, ends nothing."""
    mark = tmp_path / NAME
    mark.write_text("7")
    reading, writing = os.pipe()
    os.write(writing, b"hold\n")
    os.close(writing)
    remover = threading.Timer(0.3, mark.unlink) if is_removed else None
    with os.fdopen(reading, "rb") as pipe:
        if remover is not None:
            remover.start()
        began = monotonic_seconds()
        assert not thawer.was_thawed(pipe, 60 if is_removed else 0.4, mark)
    assert 0.3 <= monotonic_seconds() - began < 30


def test_it_thaws_until_the_agent_answers_or_the_guest_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thawer, "wait_seconds", lambda seconds: None)
    guest = Guest(thaws=[None, None, 1])
    assert thawer.thaw(lambda: guest, NAME, 60)  # type: ignore[arg-type, return-value]
    assert guest.steps == ["thaw"] * 3
    guest = Guest(thaws=[])
    guest.state = "shutoff"
    assert thawer.thaw(lambda: guest, NAME, 60) and guest.steps == []  # type: ignore[arg-type, return-value]
    assert not thawer.thaw(Guest, NAME, 0)  # type: ignore[arg-type]


def test_it_connects_anew_after_libvirtd_was_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thawer, "wait_seconds", lambda seconds: None)
    broken, guest = Guest(), Guest()

    def raises(name: str) -> DomainFact:
        raise ToolError("libvirt did not look for it: the connection is closed")

    monkeypatch.setattr(broken, "find", raises)
    connections: list[Any] = [broken, HostError("libvirt does not answer"), guest]

    def connect() -> Any:
        one = connections.pop(0)
        if isinstance(one, HostError):
            raise one
        return one

    assert thawer.thaw(connect, NAME, 60)
    assert guest.steps == ["thaw"]


class PlayedThawer(Thawer):
    """A process that has ended, as the real one after it has thawed."""

    def __init__(self) -> None:
        self._process = start_with_pipes(["/bin/true"])
        self._process.wait(60)


def test_a_process_that_has_ended_already_is_no_error() -> None:
    PlayedThawer().dismiss()
    guest = Guest(thaws=[0])
    with Frozen(guest, NAME, lambda name: PlayedThawer()) as freeze:  # type: ignore[arg-type]
        pass
    assert freeze.problem == "they were thawed before the copy began"


class AgentError(libvirt.libvirtError):
    """An error of libvirt with this code and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.err = (code, 0, text, 0, "", None, None, 0, 0)


class Connection:
    """libvirt whose guest agent fails so; None: libvirtd was restarted."""

    def __init__(self, error: AgentError | None) -> None:
        self._error = error

    def lookupByName(self, name: str) -> Any:
        if self._error is None:
            raise AgentError(libvirt.VIR_ERR_INTERNAL_ERROR, "client socket is closed")
        return self

    def agentSetResponseTimeout(self, seconds: int) -> None:
        pass

    def fsFreeze(self) -> int:
        assert self._error is not None
        raise self._error

    def fsThaw(self) -> int:
        return self.fsFreeze()


def domains_with(error: AgentError | None) -> Domains:
    """libvirt with that connection."""
    domains = Domains.__new__(Domains)
    domains._connection = Connection(error)
    return domains


@pytest.mark.parametrize(
    ("code", "text", "is_refusal"),
    [
        (
            libvirt.VIR_ERR_INTERNAL_ERROR,
            "internal error: unable to execute QEMU agent command 'guest-fsfreeze-freeze': "
            "The command guest-fsfreeze-freeze has been disabled for this instance",
            True,
        ),
        (
            libvirt.VIR_ERR_INTERNAL_ERROR,
            "internal error: unable to execute QEMU agent command 'guest-fsfreeze-freeze': "
            "Command guest-fsfreeze-freeze has been disabled: the agent is in frozen state",
            True,
        ),
        (
            libvirt.VIR_ERR_INTERNAL_ERROR,
            "internal error: unable to execute QEMU agent command 'guest-fsfreeze-freeze': "
            "failed to freeze /data: Input/output error",
            True,
        ),
        (libvirt.VIR_ERR_OPERATION_INVALID, "Requested operation is not valid: domain is not running", True),
        (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, "Guest agent is not responding", False),
        (libvirt.VIR_ERR_AGENT_UNSYNCED, "Guest agent not in sync", False),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, "Timed out", False),
        (libvirt.VIR_ERR_INTERNAL_ERROR, "client socket is closed", False),
    ],
    ids=["error", "frozen", "half", "paused", "silent", "unsynced", "time-out", "restart"],
)
def test_a_refusal_differs_from_an_agent_that_may_freeze_later(
    code: int, text: str, is_refusal: bool
) -> None:
    domains = domains_with(AgentError(code, text))
    if is_refusal:
        with pytest.raises(StateError, match=text) as raised:
            domains.freeze(NAME)
        assert isinstance(raised.value, NothingFrozenError) is not any(
            part in text for part in ("Input/output", "frozen state")
        )
    else:
        assert domains.freeze(NAME) == text
    assert domains.thaw(NAME) is None


def test_a_thaw_without_libvirt_is_not_confirmed() -> None:
    assert domains_with(None).thaw(NAME) is None


@pytest.mark.parametrize("is_thawed", [True, False])
def test_the_other_process_removes_the_mark_when_it_has_thawed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_thawed: bool
) -> None:
    mark = tmp_path / NAME
    mark.write_text("7")
    monkeypatch.setattr(Domains, "__init__", lambda _: None)
    monkeypatch.setattr(thawer.signal, "signal", lambda *_: None)
    monkeypatch.setattr(thawer, "was_thawed", lambda *_: False)
    monkeypatch.setattr(thawer, "thaw", lambda *_: is_thawed)
    monkeypatch.setattr(thawer.sys, "stdin", SimpleNamespace(buffer=None))
    assert thawer.main([NAME, str(mark)]) == 0
    assert mark.exists() is not is_thawed
