"""A machine of the lab: mounts, processes and network of its own on this machine, and a state folder.

Daemons inside see the folders of the state folder where a host has its own (`root_folder`), no process of the machine
outside, and a network of their own. Any number of such machines run beside each other. Everything in a machine ends
with the process that started it, unless the machine was released, and with its supervisor or its init process.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from lab import system_calls
from lab.processes import (
    ProcessIdentity,
    all_process_ids,
    command_name,
    end,
    identify,
    number_inside,
    parent_of,
    read_record,
    wait_until_ended,
)
from lab.root_folder import FOLDERS
from rocks.core.errors import HostError, StateError, ToolError
from rocks.core.process import Finished, run, run_checked, start_in_background

CHECKOUT = Path(__file__).absolute().parent.parent

IMAGE_FOLDER = "/var/lib/rocks-images"
"""Where a machine's guests have their disks; the unprivileged user of QEMU may pass through."""

_IDENTITY_FOLDER = (
    "/var/lib/rocks"  # the same folder inside and in the state folder: so an init process is recognised
)
_START_DEADLINE_SECONDS = 120.0
_MOUNT_DEADLINE_SECONDS = 60.0
_TERM_GRACE_SECONDS = 5.0

# Records number and start of the process that becomes the daemon: its number inside, which only it knows.
_RECORD_AND_BECOME = """\
record=$1; shift
IFS= read -r status </proc/$$/stat
set -f
start() { shift 19; echo "$1"; }
umask 077
echo "$$ $(start ${status##*) })" >"$record.new"
mv "$record.new" "$record"
umask 022
exec "$@"
"""

T = TypeVar("T")


class Network:
    """Which network a machine has; besides these, that of another machine."""

    OWN = "own"
    SHARED = "shared"
    """That of the process which starts the machine."""


class Machine:
    """One machine over one state folder, with a network of its own unless `network` names another.

    All times are bounded; stopping works after a crash too.
    """

    def __init__(self, folder: Path, network: str | Machine = Network.OWN) -> None:
        self.folder = folder.absolute()
        self.init_record = self.folder / "init"
        self._network = network
        self._released = self.folder / "released"

    @property
    def name(self) -> str:
        """Name of the state folder, for messages."""
        return self.folder.name

    @property
    def log_folder(self) -> Path:
        """Where the output of the machine's daemons goes."""
        return self.folder / "log"

    def outside(self, place: str) -> Path:
        """The path outside of a file that is at `place` (absolute, below one of FOLDERS) inside."""
        return self.folder / "root" / place.lstrip("/")

    def inside(self, place: str) -> Path:
        """The path outside of a file as the running machine sees it at `place`. StateError when it does not run."""
        return Path(f"/proc/{self._required_init().process_id}/root{place}")

    def init(self) -> ProcessIdentity | None:
        """The init process of the machine; None when the machine does not run."""
        process = read_record(self.init_record)
        return process if process is not None and self._is_inside(process.process_id) else None

    def is_running(self) -> bool:
        """Whether the machine is there and can be entered."""
        return self.init() is not None

    def start(self) -> None:
        """Make the machine; nothing is done when it runs. It ends with the calling process, unless it is released.

        HostError when this machine does not allow namespaces, StateError when the state folder lies where the machine
        would hide it.
        """
        if self.is_running():
            return
        self._check_folder()
        for place, mode in FOLDERS.items():
            self.outside(place).mkdir(parents=True, exist_ok=True)
            self.outside(place).chmod(mode)
        self.log_folder.mkdir(exist_ok=True)
        self.folder.chmod(0o755)
        for path in (self.init_record, self._released):
            path.unlink(missing_ok=True)
        self._start_supervisor()

    def release(self) -> None:
        """Let the machine run on after the process that started it has ended."""
        self._released.touch()

    def is_released(self) -> bool:
        """Whether the machine outlives its starter."""
        return self._released.exists()

    def cover(self, source: Path, place: str) -> None:
        """Mount `source`, a path below the state folder, over `place` inside, once."""
        inside = self.inside(place)
        if not (inside.exists() and inside.samefile(source)):
            self.run_checked(["/usr/bin/mount", "--bind", str(source), place], _MOUNT_DEADLINE_SECONDS)

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The argument vector that runs `arguments` inside. StateError when the machine does not run.

        The process that it starts is the parent of the program inside, which is killed when that process ends.
        """
        program = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", *arguments]
        return _enter(self._required_init(), program)

    def run(self, arguments: Sequence[str], deadline_seconds: float, standard_input: bytes = b"") -> Finished:
        """Run a program inside, whatever its exit status."""
        return run(self.command(arguments), deadline_seconds=deadline_seconds, standard_input=standard_input)

    def run_checked(
        self, arguments: Sequence[str], deadline_seconds: float, standard_input: bytes = b""
    ) -> Finished:
        """Run a program inside; ToolError unless it exits with 0."""
        return run_checked(
            self.command(arguments), deadline_seconds=deadline_seconds, standard_input=standard_input
        )

    def in_network(self, action: Callable[[], T]) -> T:
        """Call `action` in a thread that is in the machine's network; programs that it starts are there too."""
        number = self._required_init().process_id
        results: list[T] = []
        errors: list[BaseException] = []

        def enter_and_act() -> None:
            try:
                system_calls.enter_network(number)
                results.append(action())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=enter_and_act)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def start_daemon(
        self, name: str, arguments: Sequence[str], in_own_network: bool = True
    ) -> ProcessIdentity:
        """Start a program inside that stays; its output goes to `name`.log, its identity into a record `name`.

        The init process is its parent, and no process that helped to start it is left. Nothing is done when the
        recorded one still runs. Not `in_own_network`: it has the network of this process. ToolError when it ends at
        once.
        """
        running = self.daemon(name)
        if running is not None:
            return running
        record, log = self.record_of(name), self.log_folder / f"{name}.log"
        record.unlink(missing_ok=True)
        shell = ["/bin/sh", "-c", _RECORD_AND_BECOME, "sh", str(record), *arguments]
        program = ["/usr/bin/setsid", "--fork", *shell]
        starter = start_in_background(_enter(self._required_init(), program, in_own_network), log)
        end_at = time.monotonic() + _START_DEADLINE_SECONDS
        while True:
            is_recorded = record.exists()  # before the question that a record answers
            has_left = identify(starter) is None
            process = self.daemon(name)
            if process is None and (is_recorded or (has_left and not self.is_running())):
                raise ToolError(f"{name} ended at once: {last_line(log)}")
            if process is not None and has_left and _is_program(process):
                return process
            if time.monotonic() > end_at:
                raise ToolError(f"{name} did not start within {_START_DEADLINE_SECONDS:g} s; see {log}")
            time.sleep(0.002)

    def daemon(self, name: str) -> ProcessIdentity | None:
        """The recorded daemon of that name, with its number outside; None when it does not run."""
        init = self.init()
        if init is None:
            return None
        record = read_record(self.record_of(name), Path(f"/proc/{init.process_id}/root/proc"))
        return None if record is None else self.members_by_number().get(record.process_id)

    def stop_daemon(self, name: str, grace_seconds: float) -> bool:
        """End a daemon by its record; whether it ran."""
        process = self.daemon(name)
        if process is not None:
            end([process], grace_seconds)
        self.record_of(name).unlink(missing_ok=True)
        return process is not None

    def members(self) -> list[ProcessIdentity]:
        """All processes of the machine's process namespace, the init process among them."""
        return list(self.members_by_number().values())

    def members_by_number(self) -> dict[int, ProcessIdentity]:
        """As `members`, by the number that each has inside."""
        init = self.init()
        if init is None:
            return {}
        namespace = _namespace(init.process_id)
        numbers = sorted(number for number in all_process_ids() if _namespace(number) == namespace)
        found = {number_inside(number): identify(number) for number in numbers}
        return {number: process for number, process in found.items() if process is not None}

    def stop(self) -> list[str]:
        """End every process inside; the kernel removes mounts and network with the last one.

        Returns a line for each thing that was done. Works twice.
        """
        init = self.init()
        if init is None:
            self.init_record.unlink(missing_ok=True)
            return []
        supervisor = identify(parent_of(init.process_id))
        others = [process for process in self.members() if process != init]
        names = sorted({command_name(process.process_id) for process in others} - {"rocks-devices"})
        end(others, _TERM_GRACE_SECONDS)
        end([init], 0)
        if supervisor is not None:
            wait_until_ended(supervisor, _TERM_GRACE_SECONDS)
        self.init_record.unlink(missing_ok=True)
        return [*(f"ended {name}" for name in names), "ended the machine's namespaces"]

    def record_of(self, name: str) -> Path:
        """The file with the identity of the daemon of that name; its number is the one inside."""
        return self.folder / f"{name}.process"

    def _required_init(self) -> ProcessIdentity:
        init = self.init()
        if init is None:
            raise StateError(f"the machine {self.name} does not run; start it first")
        return init

    def _is_inside(self, process_id: int) -> bool:
        try:
            return Path(f"/proc/{process_id}/root{_IDENTITY_FOLDER}").samefile(self.outside(_IDENTITY_FOLDER))
        except OSError:
            return False

    def _check_folder(self) -> None:
        for place in (*FOLDERS, "/dev", "/proc", "/sys"):
            if self.folder.is_relative_to(place):
                raise StateError(
                    f"{self.folder} lies below {place}, which the machine needs for itself; move it elsewhere"
                )

    def _start_supervisor(self) -> None:
        log = self.log_folder / "supervisor.log"
        network = self._network
        if isinstance(network, Machine):
            network = str(network._required_init().process_id)
        starter = identify(os.getpid())
        assert starter is not None
        program = [sys.executable, "-m", "lab.supervisor", str(self.folder), network, *map(str, starter)]
        number = start_in_background(program, log, environment_with_sources())
        end_at = time.monotonic() + _START_DEADLINE_SECONDS
        while self.init() is None:
            process = identify(number)
            if process is None:
                raise HostError(
                    f"no namespaces could be made for {self.name}: {last_line(log)}. A container must allow them "
                    "(a privileged one does); see its settings, or use a virtual machine"
                )
            if time.monotonic() > end_at:
                end([process], 0)
                raise ToolError(f"the machine did not start within {_START_DEADLINE_SECONDS:g} s; see {log}")
            time.sleep(0.002)


def last_line(log: Path) -> str:
    """The last line a daemon has written, for a message."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else f"it wrote nothing to {log}"


def environment_with_sources() -> dict[str, str]:
    """The environment of a Python program that imports this package, wherever it is started."""
    return {**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'src'}"}


def _enter(init: ProcessIdentity, arguments: Sequence[str], in_own_network: bool = True) -> list[str]:
    # The root as well: in a chroot, that of the mount namespace is the root outside of the chroot.
    namespaces = ["--mount", "--pid", "--ipc", "--uts", "--root", *(["--net"] if in_own_network else [])]
    return ["/usr/bin/nsenter", "--target", str(init.process_id), *namespaces, "--wdns=/", "--", *arguments]


def _is_program(process: ProcessIdentity) -> bool:
    """Whether the shell that has recorded itself is the daemon's program by now."""
    try:
        line = Path(f"/proc/{process.process_id}/cmdline").read_bytes()
    except OSError:
        return False
    return line != b"" and _RECORD_AND_BECOME.encode() not in line  # in between, it has none


def _namespace(process_id: int) -> str:
    try:
        return str(Path(f"/proc/{process_id}/ns/pid").readlink())
    except OSError:
        return ""
