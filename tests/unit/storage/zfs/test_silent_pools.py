"""A pool that hangs: one command at a time waits for it, and the others fail at once."""

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core import process
from rocks.core.errors import HostError, ToolError
from rocks.core.process import Finished
from rocks.storage.zfs import tool
from rocks.storage.zfs.silent_pools import SilentPools
from tests.waiting import wait_until

_DEADLINE_SECONDS = 0.3
SILENT = r"^the pool tank has not answered since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, see `zpool status tank`$"

_ZFS = """\
#!/bin/sh
for last; do :; done
case $last in tank|tank/*) echo $$ >>{folder}/begun; [ ! -e {folder}/hangs ] || exec sleep 60 ;; esac
"""


class Programs:
    """`zfs`, which hangs for the pool tank while the file is there."""

    def __init__(self, folder: Path) -> None:
        self._begun, self._hangs = folder / "begun", folder / "hangs"
        self._hangs.touch()
        self._begun.touch()
        for name in ("zfs", "zpool"):
            (folder / name).write_text(_ZFS.format(folder=folder))
            (folder / name).chmod(0o755)

    @property
    def begun(self) -> list[int]:
        return [int(line) for line in self._begun.read_text().split()]

    def answer(self) -> None:
        self._hangs.unlink()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(tool, "_SILENT_POOLS", SilentPools())
    return Programs(tmp_path)


@pytest.fixture
def kernel(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    """No signal ends the commands, as while they wait in the kernel."""
    monkeypatch.setattr(process, "_REAP_SECONDS", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(process.os, "killpg", lambda group, number: None)
        yield programs
    for number in programs.begun:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            pass


def read(name: str, seconds: float = 60.0) -> None:
    tool.zfs("list", name, deadline_seconds=seconds)


def hang(programs: Programs, name: str) -> None:
    before = len(programs.begun)
    with pytest.raises(
        HostError, match=r"^Command zfs failed: zfs did not .* neither it nor its output ended"
    ):
        read(name, _DEADLINE_SECONDS)
    wait_until(lambda: len(programs.begun) == before + 1)


def is_zombie(number: int) -> bool:
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.slow
def test_a_command_that_cannot_be_killed_is_the_only_one_for_its_dataset(kernel: Programs) -> None:
    """Two of them are the only ones for their pool, until they end."""
    for name in ("tank/a", "tank/b"):
        hang(kernel, f"{name}@snapshot")
        for _ in range(3):
            with pytest.raises(HostError, match="^(tank/a|the pool tank) has not answered since"):
                read(name)
    for name in ("tank/c", "tank"):
        with pytest.raises(HostError, match=SILENT):
            read(name)
    read("data/a")
    hanging = kernel.begun
    assert len(hanging) == 2
    kernel.answer()
    for number in hanging:
        os.kill(number, signal.SIGKILL)
        wait_until(functools.partial(is_zombie, number))
    read("tank/a")
    read("tank")
    assert len(kernel.begun) == 4
    assert not any(Path(f"/proc/{number}").exists() for number in hanging), "they are waited for"


def test_a_command_that_cannot_be_killed_and_is_about_the_pool_is_the_only_one_for_it(
    kernel: Programs,
) -> None:
    hang(kernel, "tank")
    for name in ("tank/a", "tank"):
        with pytest.raises(HostError, match=SILENT):
            read(name)
    assert len(kernel.begun) == 1


def test_one_dataset_that_hangs_does_not_hold_the_others_of_its_pool(kernel: Programs) -> None:
    hang(kernel, "tank/a")
    kernel.answer()
    read("tank/b")
    read("tank")
    with pytest.raises(HostError, match="^tank/a has not answered since .* UTC, see `zpool status tank`$"):
        read("tank/a")
    assert len(kernel.begun) == 3


@pytest.mark.slow
def test_of_many_commands_for_a_pool_that_does_not_answer_one_waits() -> None:
    pools, ended = SilentPools(), Finished(("true",), 0, b"", b"")
    errors: list[str] = []

    def wait() -> Finished:
        return process.run(["sleep", "60"], deadline_seconds=_DEADLINE_SECONDS)

    def wait_beside_others() -> Finished:
        for _ in range(2):
            with pytest.raises(HostError, match=SILENT) as caught:
                pools.ask("tank", lambda: ended)
            errors.append(str(caught.value))
        assert pools.ask("data", lambda: ended) == ended
        return wait()

    for command in (wait, wait_beside_others, wait_beside_others):
        with pytest.raises(process.LateError, match="and was killed"):
            pools.ask("tank", command)
    assert len(errors) == 4 and len(set(errors)) == 1, "since when does not change"
    assert pools.ask("tank", lambda: ended) == ended
    assert pools.ask("tank", lambda: pools.ask("tank", lambda: ended)) == ended, "it answers again"


def test_a_command_that_fails_has_ended() -> None:
    pools, ended = SilentPools(), Finished(("true",), 0, b"", b"")
    with pytest.raises(process.LateError):
        pools.ask("", lambda: process.run(["sleep", "60"], deadline_seconds=0.1))
    with pytest.raises(HostError, match=r"^zpool has not answered since .* UTC, see `zpool status`$"):
        pools.ask("", lambda: pools.ask("", lambda: ended))
    with pytest.raises(ToolError, match="cannot start"):
        pools.ask("", lambda: process.run(["/no/such/zpool"], deadline_seconds=1))
    assert pools.ask("", lambda: ended) == ended
