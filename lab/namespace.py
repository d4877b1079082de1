"""A machine made of a mount namespace: daemons inside see the folders of a state folder where a host has its own.

`/etc/rocks`, `/var/lib/libvirt` and the like are bound from `<state folder>/root`; network, processes and everything
else are this machine's. Several such machines run beside each other. Nothing in it needs a short path or a readable
parent folder outside, so a checkout below /root works, and one with blanks in its name.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab import mount_points
from lab.processes import (
    ProcessIdentity,
    all_process_ids,
    command_name,
    end,
    identify,
    read_record,
    write_record,
)
from rocks.errors import HostError, StateError, ToolError
from rocks.process import Finished, run, run_checked, start_in_background

FOLDERS = {
    "/var/lib/rocks": 0o700,
    "/etc/libvirt": 0o755,
    "/etc/rocks": 0o755,
    "/opt/rocks": 0o755,
    "/run/libvirt": 0o755,
    "/run/sshd": 0o755,
    "/var/cache/libvirt": 0o711,
    "/var/lib/libvirt": 0o711,
    "/var/lib/rocks-images": 0o711,
    "/var/log/libvirt": 0o700,
    "/var/opt/rocks": 0o755,
}
"""What a machine has of its own, and the folder's mode; mounted in this order."""

IMAGE_FOLDER = "/var/lib/rocks-images"
"""Where a machine's guests have their disks; the unprivileged user of QEMU may pass through."""

_MARK_FOLDER = "/var/lib/rocks"  # the first to be mounted: by it a process is known to be inside
_START_DEADLINE_SECONDS = 20.0
_MOUNT_DEADLINE_SECONDS = 10.0
_TERM_GRACE_SECONDS = 5.0


class Machine:
    """One machine over one state folder. All times are bounded; stopping works after a crash too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.holder_record = self.folder / "holder"

    @property
    def name(self) -> str:
        """Name of the state folder, for messages."""
        return self.folder.name

    @property
    def log_folder(self) -> Path:
        """Where the output of the machine's daemons goes."""
        return self.folder / "log"

    def outside(self, place: str) -> Path:
        """The path from outside of what is at `place` (absolute, below one of FOLDERS) inside."""
        return self.folder / "root" / place.lstrip("/")

    def holder(self) -> ProcessIdentity | None:
        """The process that keeps the namespace; None when the machine does not run."""
        process = read_record(self.holder_record)
        return process if process is not None and self._is_inside(process.process_id) else None

    def is_running(self) -> bool:
        """Whether the namespace is there and can be entered."""
        return self.holder() is not None

    def start(self) -> None:
        """Make the namespace with all its mounts; nothing is done when it is there.

        What an earlier, crashed machine left is ended first. HostError when this machine allows no mount namespaces,
        StateError when the state folder lies where the machine would hide it.
        """
        if self.is_running():
            return
        self._refuse_hidden_folder()
        end(self.members(), _TERM_GRACE_SECONDS)
        for place, mode in FOLDERS.items():
            self.outside(place).mkdir(parents=True, exist_ok=True)
            self.outside(place).chmod(mode)
        self.log_folder.mkdir(exist_ok=True)
        self.folder.chmod(0o755)
        with mount_points.held():
            mount_points.ensure(Path(place) for place in FOLDERS)
            self._start_holder()

    def cover(self, source: Path, place: str) -> None:
        """Mount `source` over `place` inside, once."""
        holder = self._required_holder()
        inside = Path(f"/proc/{holder.process_id}/root{place}")
        if not (inside.exists() and inside.samefile(source)):
            self._bind(holder, source, place)

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The argument vector that runs `arguments` inside. StateError when the machine does not run."""
        return _enter(self._required_holder(), arguments)

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

    def start_daemon(self, name: str, arguments: Sequence[str]) -> ProcessIdentity:
        """Start a program inside that stays; its output goes to `name`.log, its identity into a record `name`.

        Nothing is done when the recorded one still runs. ToolError when it ends at once.
        """
        running = self.daemon(name)
        if running is not None:
            return running
        log = self.log_folder / f"{name}.log"
        process = self._wait_until_inside(start_in_background(self.command(arguments), log))
        if process is None:
            raise ToolError(f"{name} ended at once: {last_line(log)}")
        write_record(self.record_of(name), process)
        return process

    def start_minded_daemon(self, name: str, arguments: Sequence[str]) -> ProcessIdentity:
        """As `start_daemon`, for a daemon whose own orphans need somebody to reap them; its record is the daemon's."""
        running = self.daemon(name)
        if running is not None:
            return running
        self.record_of(name).unlink(missing_ok=True)
        log = self.log_folder / f"{name}.log"
        program = [sys.executable, "-m", "lab.minder", str(self.record_of(name)), *arguments]
        number = start_in_background(self.command(program), log, _with_sources())
        end_at = time.monotonic() + _START_DEADLINE_SECONDS
        while (process := self.daemon(name)) is None:
            if identify(number) is None or time.monotonic() > end_at:
                raise ToolError(f"{name} ended at once: {last_line(log)}")
            time.sleep(0.002)
        return process

    def daemon(self, name: str) -> ProcessIdentity | None:
        """The recorded daemon of that name; None when it does not run."""
        return read_record(self.record_of(name))

    def stop_daemon(self, name: str, grace_seconds: float) -> bool:
        """End a daemon by its record; whether it ran."""
        process = self.daemon(name)
        if process is not None:
            end([process], grace_seconds)
        self.record_of(name).unlink(missing_ok=True)
        return process is not None

    def members(self) -> list[ProcessIdentity]:
        """All processes that live in this machine's namespace, however they came there; the holder is one of them.

        Never one that shares the caller's own namespace: whoever lives there is not ours, whatever else he shows.
        """
        namespace_of = {number: name for number in all_process_ids() if (name := _namespace(number))}
        own = _namespace(os.getpid())
        inside = {
            number
            for number, namespace in namespace_of.items()
            if own and namespace != own and self._is_inside(number)
        }
        # Some live in a root folder of their own (sshd's unprivileged half), so the namespace counts as well.
        namespaces = {namespace_of[number] for number in inside}
        numbers = sorted(number for number, namespace in namespace_of.items() if namespace in namespaces)
        return [process for number in numbers if (process := identify(number)) is not None]

    def stop(self) -> list[str]:
        """End every process inside; with the last one the kernel takes the namespace and its mounts away.

        Returns what was done, in words. Works without the holder, and twice.
        """
        holder = self.holder()
        processes = self.members()
        names = sorted({command_name(process.process_id) for process in processes if process != holder})
        end([process for process in processes if process != holder], _TERM_GRACE_SECONDS)
        end(self.members(), 0)
        self.holder_record.unlink(missing_ok=True)
        with mount_points.held():
            removed = mount_points.remove_unused(Path(place) for place in FOLDERS)
        done = [f"ended {name}" for name in names]
        done += ["ended the mount namespace"] if processes else []
        done += (
            [f"removed empty mount points: {', '.join(str(place) for place in removed)}"] if removed else []
        )
        return done

    def record_of(self, name: str) -> Path:
        """Where the identity of the daemon of that name is kept."""
        return self.folder / f"{name}.process"

    def _required_holder(self) -> ProcessIdentity:
        holder = self.holder()
        if holder is None:
            raise StateError(f"the machine {self.name} does not run; start it first")
        return holder

    def _wait_until_inside(self, process_id: int) -> ProcessIdentity | None:
        """The process once it has entered the namespace, where it is found as a member; None when it ended instead."""
        end_at = time.monotonic() + _START_DEADLINE_SECONDS
        while (process := identify(process_id)) is not None and not self._is_inside(process_id):
            if time.monotonic() > end_at:
                end([process], 0)
                return None
            time.sleep(0.001)
        return process

    def _is_inside(self, process_id: int) -> bool:
        try:
            return Path(f"/proc/{process_id}/root{_MARK_FOLDER}").samefile(self.outside(_MARK_FOLDER))
        except OSError:
            return False

    def _refuse_hidden_folder(self) -> None:
        for place in FOLDERS:
            if self.folder.is_relative_to(place):
                raise StateError(
                    f"{self.folder} lies below {place}, which the machine needs for itself; move it elsewhere"
                )

    def _start_holder(self) -> None:
        log = self.log_folder / "holder.log"
        self.holder_record.unlink(missing_ok=True)
        program = [sys.executable, "-m", "lab.holder", str(self.folder)]
        number = start_in_background(
            ["/usr/bin/unshare", "--mount", "--propagation", "private", "--", *program], log, _with_sources()
        )
        end_at = time.monotonic() + _START_DEADLINE_SECONDS
        while self.holder() is None:
            process = identify(number)
            if process is None:
                raise HostError(
                    f"no mount namespace could be made for {self.name}: {last_line(log)}. A container must allow them "
                    "(a privileged one does); see its settings, or use a virtual machine"
                )
            if time.monotonic() > end_at:
                end([process], 0)
                raise ToolError(
                    f"the namespace did not come up within {_START_DEADLINE_SECONDS:g} s; see {log}"
                )
            time.sleep(0.002)

    def _bind(self, holder: ProcessIdentity, source: Path, place: str) -> None:
        run_checked(_enter(holder, bind_arguments(source, place)), deadline_seconds=_MOUNT_DEADLINE_SECONDS)


def bind_arguments(source: Path, place: str) -> list[str]:
    """The program that mounts `source` over `place`."""
    return ["/usr/bin/mount", "--bind", str(source), place]


def last_line(log: Path) -> str:
    """The last line a daemon has written, for a message."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else f"it wrote nothing to {log}"


def _with_sources() -> dict[str, str]:
    """The environment of a Python program that imports this package, wherever it is started."""
    sources = Path(__file__).absolute().parent.parent
    return {**os.environ, "PYTHONPATH": f"{sources}:{sources / 'src'}"}


def _enter(holder: ProcessIdentity, arguments: Sequence[str]) -> list[str]:
    # The root folder is named as well: in a chroot, the namespace's own root is another one, outside of it.
    process = f"/proc/{holder.process_id}"
    return [
        "/usr/bin/nsenter",
        f"--mount={process}/ns/mnt",
        f"--root={process}/root",
        "--wdns=/",
        "--",
        *arguments,
    ]


def _namespace(process_id: int) -> str:
    try:
        return str(Path(f"/proc/{process_id}/ns/mnt").readlink())
    except OSError:
        return ""
