"""The disk of a stopped machine on its way to another host, through the streams of two agents; no libvirt."""

import contextlib
import os
import signal
import subprocess  # noqa: TID251 - a program that has the disk open
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.errors import HostError
from rocks.core.image_blocks import content_of
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.wire.live_moves import moving_path
from rocks.machine.host.files import ImageOwners
from rocks.machine.move import MovingDisk, move_disk
from tests.contract.attacked_host import MINE, THEIRS
from tests.contract.machine.disk_agents import mark, write_agent
from tests.contract.outcomes import refused

pytestmark = [pytest.mark.system]  # root: attributes that only root can write

OLD, NEW = HostAddress("old", "127.0.0.1", is_local=True), HostAddress("new", "127.0.0.1", is_local=True)
SIZE = 300_000_123


class Move:
    """Two folders of images, as of two hosts; the paths name one of them."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.folder, self.old, self.new = folder, folder / "old", folder / "new"
        self.old.mkdir(mode=0o711)
        self.disk, self.arrived = self.old / "vm.vda", self.new / "vm.vda"
        with self.disk.open("wb") as file:
            file.truncate(SIZE)
            for offset in range(0, 300_000_000, 30_000_000):
                file.seek(offset)
                file.write(os.urandom(1_000_000))
        self.mark(self.disk, MINE)
        self.passed: list[int] = []
        self.agent()
        self.stored = MovingDisk(
            str(self.disk), str(self.old), str(self.arrived), str(self.new), MINE, SIZE, False
        )

    def agent(self, more: str = "", script: str | None = None) -> None:
        write_agent(self.folder, more, script)

    def mark(self, path: Path, machine: str) -> None:
        mark(self.folder, path, machine)

    def owner(self, path: Path) -> str | None:
        with path.open("rb") as file:
            return ImageOwners(self.folder / "state").of_file(file.fileno(), str(path))

    def run(self, watch: Callable[[int], None] = lambda passed: None, **changes: object) -> int:
        """Move it; returns the bytes that were passed on."""
        self.passed = [0]

        def both(passed: int) -> None:
            self.passed.append(passed)
            watch(passed)

        settings = FleetSettings(agent_program=str(self.folder / "agent"))
        move_disk(OLD, NEW, settings, self.stored._replace(**changes), both)  # type: ignore[arg-type]
        return self.passed[-1]

    def refused(self, text: str, **changes: object) -> None:
        with pytest.raises(HostError, match=text):
            self.run(**changes)  # type: ignore[arg-type]
        assert not self.arrived.exists()

    def has_arrived(self) -> None:
        """The disk is whole, the machine's, root's alone, and nothing else is there."""
        with self.disk.open("rb") as old, self.arrived.open("rb") as new:
            assert content_of(old.fileno()) == content_of(new.fileno())
        status = self.arrived.stat()
        assert (status.st_size, status.st_mode & 0o777, status.st_nlink) == (SIZE, 0o600, 1)
        assert status.st_blocks * 512 < 20_000_000
        assert self.owner(self.arrived) == MINE
        assert [path.name for path in self.new.iterdir()] == ["vm.vda"]

    def break_off(self, after_bytes: int) -> None:
        """Begin the move, and end it as Ctrl-C does."""

        def stop(passed: int) -> None:
            if passed >= after_bytes:
                raise KeyboardInterrupt

        refused(KeyboardInterrupt, "", self.run, stop)
        assert not self.arrived.exists()


@pytest.fixture
def move(tmp_path: Path) -> Move:
    return Move(tmp_path)


@pytest.mark.slow
def test_a_disk_arrives_whole_and_its_zeros_are_not_sent(move: Move) -> None:
    assert move.run() < 12_000_000
    move.has_arrived()
    assert move.owner(move.disk) == MINE


@pytest.mark.slow
def test_what_has_arrived_is_not_sent_again(move: Move) -> None:
    move.break_off(7_000_000)
    unfinished = Path(moving_path(str(move.arrived)))
    assert move.owner(unfinished) == MINE
    there = unfinished.stat().st_blocks * 512
    assert there > 3_000_000
    assert move.run() < 12_000_000 - there + 1_000_000
    move.has_arrived()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["data", "zeros", "new data in a hole", "shorter"])
def test_a_disk_that_has_changed_since_is_sent_as_it_is_now(move: Move, change: str) -> None:
    move.break_off(9_000_000)
    with move.disk.open("r+b") as file:
        if change == "shorter":
            file.truncate(100_000_000)
            file.truncate(SIZE)
        else:
            file.seek(60_000_000 if change != "new data in a hole" else 50_000_000)
            file.write(os.urandom(200_000) if change != "zeros" else bytes(1_000_000))
    move.run()
    move.has_arrived()


def test_a_copy_of_an_earlier_move_is_made_the_present_disk(move: Move) -> None:
    """Only when the command names it as one."""
    move.run()
    with move.disk.open("r+b") as file:
        file.seek(90_000_000)
        file.write(b"the machine ran again")
    refused(HostError, "is no copy that a move made", move.run)
    assert move.run(is_repeated=True) < 9_000_000
    move.has_arrived()
    assert move.run(is_repeated=True) < 100_000
    os.link(move.arrived, moving_path(str(move.arrived)))  # as after a kill between two steps
    move.run(is_repeated=True)
    move.has_arrived()


def test_files_that_are_not_copies_stay_as_they_are(move: Move) -> None:
    move.new.mkdir(mode=0o711)
    other = move.new / "vm.vda"
    other.write_bytes(b"of another")
    other.chmod(0o600)
    move.mark(other, THEIRS)
    refused(HostError, "is no copy that a move made", move.run, is_repeated=True)
    assert other.read_bytes() == b"of another"
    other.rename(moving_path(str(other)))
    move.mark(Path(moving_path(str(other))), THEIRS)
    move.refused(f"belongs to {THEIRS}, not to {MINE}")
    assert Path(moving_path(str(other))).read_bytes() == b"of another"


@pytest.mark.slow
def test_a_disk_that_may_not_be_sent_is_not(move: Move) -> None:
    move.refused(f"host old has not sent .*: .* belongs to {MINE} now, not to {THEIRS}", machine=THEIRS)
    for path in (move.new / "vm.vda.moving",):
        path.unlink()
    move.refused("host old has not sent .*there is no file .*absent", path=str(move.old / "absent"))
    move.refused("host old has not sent .*is not below the image directory", path="/etc/passwd")
    move.refused("host new has not stored .*is not below the image directory", new_path="/etc/cron.d/x")
    move.refused("host new has not stored .*not of 1000", size_bytes=1000)
    with move.disk.open("rb") as file:
        program = subprocess.Popen(["sleep", "600"], stdin=file)
    with program:  # this process has closed the disk: the error names one that has it open
        try:
            move.refused(f"is in use by process {program.pid}")
        finally:
            program.kill()
    move.run()
    move.has_arrived()


def test_a_disk_that_changes_meanwhile_does_not_arrive(move: Move) -> None:
    changed: list[int] = []

    def change(passed: int) -> None:
        if not changed:
            changed.append(passed)
            with move.disk.open("r+b") as file:
                file.write(b"started")

    refused(HostError, "was changed while it was read", move.run, change)
    assert changed and not move.arrived.exists()


def test_a_full_file_system_is_not_left_full(move: Move) -> None:
    move.agent(
        "import errno\n"
        "import rocks.machine.host.move as moves\n"
        "whole = moves.write_block\n"
        "def write(descriptor, offset, block):\n"
        "    if offset > 100_000_000: raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "    whole(descriptor, offset, block)\n"
        "moves.write_block = write"
    )
    move.refused("host new has not stored the disk .*: .*No space left")
    assert Path(moving_path(str(move.arrived))).stat().st_blocks == 0
    move.agent()
    move.run()
    move.has_arrived()


@pytest.mark.slow
def test_a_disk_does_not_arrive_where_a_file_system_is_not_mounted(move: Move) -> None:
    """Its copy would be hidden by the mount, and a start would make a disk without content."""
    table = move.folder / "fstab"
    table.write_text(f"/dev/vdb {move.new} xfs defaults 0 0\n")
    move.agent(f"from rocks.machine.host import files\nfiles._FSTAB = Path({str(table)!r})")
    move.refused(f"is not created: the file system of {move.new} is not mounted")
    assert not move.new.exists() or list(move.new.iterdir()) == []
    move.agent()
    move.run()
    move.has_arrived()


@pytest.mark.slow
def test_a_host_that_sends_something_else_is_not_believed(move: Move) -> None:
    """The old host sends other streams than an agent does; the new host stores none of them."""
    head, sizes = "b'rocks disk move 1\\n'", "struct.Struct('>QQ').pack"
    record = "struct.Struct('>QIB').pack"
    for stream, text in (
        ("b'something else altogether, for as long as it takes'", "is not a disk that moves"),
        (f"{head} + {sizes}(2**60, 0)", "is a disk of 1152921504606846976 bytes"),
        (f"{head} + {sizes}({SIZE}, 2**40)", f"is a disk of {SIZE} bytes"),
        (f"{head} + {sizes}({SIZE}, 0) + {record}(2**50, 65536, 1)", "a block in a wrong place"),
        (f"{head} + {sizes}({SIZE}, 0) + {record}(0, 65535, 1)", "a block in a wrong place"),
        (f"{head} + {sizes}({SIZE}, 0) + {record}(0, 65536, 7)", "a block in a wrong place"),
        (f"{head} + {sizes}({SIZE}, 0) + {record}(0, 65536, 2)", "a block of a wrong kind"),
        (f"{head} + {sizes}({SIZE}, 0) + {record}(0, 0, 0) + bytes(32)", "is not what was sent"),
        (f"{head} + {sizes}({SIZE}, 0) + {record}(0, 0, 0) + bytes(33)", "goes on behind the end"),
        (f"{head} + {sizes}({SIZE}, 0)", "ended early"),
    ):
        move.agent(
            f"import struct\nif sys.argv[1] == 'move-disk-from':\n    os.write(1, {stream})\n    sys.exit(0)"
        )
        move.refused(f"host new has not stored the disk .*{text}")
    move.agent("if sys.argv[1] == 'move-disk-from': os.kill(os.getpid(), 9)")
    move.refused("host old has not sent the disk .*its agent ended with -9")
    for printed, text in (("x" * 5000, "reported"), ("have many", "reported 'have many'"), ("", "reported")):
        move.agent(f"if sys.argv[1] == 'move-disk-to':\n    print({printed!r})\n    sys.exit(0)")
        refused(HostError, text, move.run)
    move.agent(script="#!/bin/sh\necho usage >&2; exit 2\n")
    refused(HostError, "host new has not stored .*usage", move.run)
    move.agent()
    move.run()
    move.has_arrived()


def test_two_commands_do_not_write_one_disk(move: Move) -> None:
    """The second one waits for a moment, and is refused; the first one goes on."""
    move.agent("import rocks.machine.host.move as moves\nmoves._LOCK_SECONDS = 0.5")
    seen: list[str] = []

    def second(passed: int) -> None:
        if not seen:
            seen.append("")
            with pytest.raises(HostError) as raised:
                settings = FleetSettings(agent_program=str(move.folder / "agent"))
                move_disk(OLD, NEW, settings, move.stored)
            seen[0] = str(raised.value)

    move.run(second)
    assert "another command is receiving" in seen[0]
    move.has_arrived()


@pytest.mark.slow
def test_an_agent_that_is_killed_while_it_stores_leaves_a_part(move: Move) -> None:
    def kill(passed: int) -> None:
        if passed > 5_000_000:
            for process in Path("/proc").iterdir():
                with contextlib.suppress(OSError):  # no process, or one that has ended meanwhile
                    arguments = (process / "cmdline").read_bytes().split(b"\0")
                    if b"move-disk-to" in arguments and str(move.arrived).encode() in arguments:
                        os.kill(int(process.name), signal.SIGKILL)

    refused(HostError, "host new has not stored the disk", move.run, kill)
    assert not move.arrived.exists()
    move.run()
    move.has_arrived()
