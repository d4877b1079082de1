"""One machine: the strategies that bring it to a state, each with its deadline, each safe to call twice.

Everything here runs inside the lab's namespace.
"""

from __future__ import annotations

import enum
import shutil
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from lab.build.parts import Built
from lab.machines import emulator
from lab.machines.login import Login
from lab.machines.monitor import Monitor
from lab.machines.roster import STORAGE_DEVICE, Description, Role
from lab.processes import end, identify, read_record, wait_until_ended, write_record
from rocks.errors import HostError, ToolError
from rocks.process import Finished, run_checked, start_in_background

_SSH_PORT = 22
_COMPLETE = "complete"
_BOOT_DEADLINE_SECONDS = 180.0
_POLL_SECONDS = 0.1
_BOOT_ATTEMPTS = 3
_SHORT_SECONDS = 30.0
_LAST_MB = 32
_SAVE_DEADLINE_SECONDS = 120.0
_READY_UNITS = {
    Role.NAS: ("zfs.target", "ssh.service"),
    Role.HOST: ("zfs.target", "ssh.service", "libvirtd.service", "iscsid.socket"),
}


class State(enum.Enum):
    """What a machine is in. `FROZEN`: it has its memory and does nothing, neither itself nor its network."""

    OFF = "off"
    RUNNING = "running"
    FROZEN = "frozen"


class LabMachine:
    """A machine over the folder that holds its disks, its log and its sockets."""

    def __init__(
        self, description: Description, folder: Path, keys: Path, built: Built, with_kvm: bool
    ) -> None:
        self.description = description
        self.folder = folder
        self._built = built
        self._with_kvm = with_kvm
        self._record = folder / "qemu"
        self._monitor = Monitor(folder / emulator.MONITOR)
        self._login = Login(description.name, description.address, keys)

    @property
    def name(self) -> str:
        """Its name, which is its host name too."""
        return self.description.name

    # --- power

    def state(self) -> State:
        """What it is in, as QEMU's process and QEMU itself say."""
        if read_record(self._record) is None:
            return State.OFF
        status = self._monitor.ask("query-status")["status"]
        return State.FROZEN if status == "paused" else State.RUNNING

    def power_on(self, from_clean_state: bool = False) -> None:
        """Start it and return at once; nothing is done when it is on. ToolError when QEMU ends at once.

        `from_clean_state`: it goes on from the saved state instead of booting, and its disks are what they were then.
        """
        if read_record(self._record) is not None:
            return
        log = self.folder / "qemu.log"
        words = emulator.command(self._built, self.description, self.folder, self._with_kvm, from_clean_state)
        (self.folder / emulator.MONITOR).unlink(missing_ok=True)
        self._keep_old_serial_log()
        process = identify(start_in_background(words, log, emulator.environment_of(self._built.qemu_tree)))
        if process is None:
            raise ToolError(f"{self.name} ended at once: {_last_line(log)}")
        write_record(self._record, process)
        end_at = time.monotonic() + _SHORT_SECONDS
        while not (self.folder / emulator.MONITOR).exists():
            if wait_until_ended(process, _POLL_SECONDS):
                raise ToolError(f"{self.name} ended at once: {_last_line(log)}")
            if time.monotonic() > end_at:
                raise ToolError(
                    f"QEMU of {self.name} opened no monitor within {_SHORT_SECONDS:g} s; see {log}"
                )

    def kill(self) -> bool:
        """Take its power away this instant (SIGKILL to QEMU); whether it was on."""
        process = read_record(self._record)
        if process is not None:
            end([process], 0)
        self._record.unlink(missing_ok=True)
        return process is not None

    def boot(self, deadline_seconds: float = _BOOT_DEADLINE_SECONDS) -> float:
        """Start it and wait until it is ready; returns the seconds that took. HostError at the deadline.

        An emulator that ends while the machine boots is started again, twice at most: with an emulated IOMMU and many
        threads, QEMU 10.0.2 now and then fails an assertion of its own then (iotlb_to_section).
        """
        begin = time.monotonic()
        for attempt in range(_BOOT_ATTEMPTS):
            self.power_on()
            try:
                self.wait_until_ready(deadline_seconds)
                break
            except HostError:
                if read_record(self._record) is not None or attempt + 1 == _BOOT_ATTEMPTS:
                    raise
        return time.monotonic() - begin

    def reboot(self, deadline_seconds: float = _BOOT_DEADLINE_SECONDS) -> None:
        """Have its own system shut down and come up again, and wait until it is ready."""
        before = self.boot_id()
        end_at = time.monotonic() + deadline_seconds
        try:
            self.run(["systemctl", "reboot"], _SHORT_SECONDS)
        except HostError:
            pass  # the connection may go down with it
        while time.monotonic() < end_at:
            try:
                if self.boot_id() != before:
                    break
            except HostError:
                pass  # it is down, or on its way
            time.sleep(_POLL_SECONDS)
        else:
            raise HostError(f"{self.name} did not boot anew within {deadline_seconds:g} s")
        self.wait_until_ready(max(1.0, end_at - time.monotonic()))

    def boot_id(self) -> str:
        """What the kernel calls this run of itself."""
        return self.run(["cat", "/proc/sys/kernel/random/boot_id"], _SHORT_SECONDS).text.strip()

    def freeze(self) -> None:
        """Let nothing of it go on, as if its hardware hung; connections to it stay open and silent."""
        self._monitor.ask("stop")

    def thaw(self) -> None:
        """Let it go on where it was frozen."""
        self._monitor.ask("cont")

    # --- clean state

    def save_clean_state(self) -> None:
        """Keep memory and disks as they are now as the state to return to; all that was written is on the disks."""
        self.run(["sync"])
        self._monitor.tell(f"savevm {emulator.CLEAN_STATE}", _SAVE_DEADLINE_SECONDS)
        (self.folder / _COMPLETE).touch()

    def is_complete(self) -> bool:
        """Whether it was set up to the end, and has a clean state to return to."""
        return (self.folder / _COMPLETE).exists()

    def return_to_clean_state(self) -> None:
        """Whatever it was in: memory, disks and network as saved. Its clock is set to the carrying machine's."""
        self.mend()
        try:
            if read_record(self._record) is None:
                raise HostError(f"{self.name} is off")
            self._monitor.tell(f"loadvm {emulator.CLEAN_STATE}", _SAVE_DEADLINE_SECONDS)
            self._monitor.ask("cont")
        except (HostError, ToolError):
            self.kill()
            self.power_on(from_clean_state=True)
        self._wait_for_ssh(time.monotonic() + _SHORT_SECONDS)
        self.set_clock()

    def set_clock(self) -> None:
        """Set its clock to the carrying machine's, to the tenth of a second or so."""
        self._login.run_checked(["date", "--set", f"@{time.time():.3f}"], _SHORT_SECONDS)

    # --- network

    def cut(self) -> None:
        """Pull its storage cable at the switch: it sees no change, only that nobody answers."""
        self._set_tap("down")

    def mend(self) -> None:
        """Put the cable back."""
        self._set_tap("up")

    def set_link_up(self, up: bool) -> None:
        """Take the carrier from its storage adapter, or give it back, as when the switch goes off."""
        self._monitor.ask("set_link", name=emulator.STORAGE_ADAPTER, up=up)

    def impair(
        self, delay_milliseconds: int = 0, loss_percent: float = 0.0, device: str = STORAGE_DEVICE
    ) -> None:
        """Delay or lose what it sends, by its own kernel; twice with other figures means the latter."""
        rule = ["netem", "limit", "100000"]
        rule += ["delay", f"{delay_milliseconds}ms"] if delay_milliseconds else []
        rule += ["loss", f"{loss_percent}%"] if loss_percent else []
        self._login.run_checked(["tc", "qdisc", "replace", "dev", device, "root", *rule], _SHORT_SECONDS)

    def stop_impairing(self, device: str = STORAGE_DEVICE) -> None:
        """Send undelayed and whole again."""
        self._login.run(["tc", "qdisc", "delete", "dev", device, "root"], _SHORT_SECONDS)

    # --- programs and files

    def run(self, arguments: Sequence[str], deadline_seconds: float = _SHORT_SECONDS) -> Finished:
        """Run a program there; ToolError unless it exits with 0, HostError when the machine is silent."""
        return self._login.run_checked(arguments, deadline_seconds)

    def run_any(self, arguments: Sequence[str], deadline_seconds: float = _SHORT_SECONDS) -> Finished:
        """Run a program there, whatever its exit status."""
        return self._login.run(arguments, deadline_seconds)

    def shell(self, script: str, deadline_seconds: float = _SHORT_SECONDS) -> str:
        """Run a script by the machine's `sh -e`, given on its standard input; returns its output."""
        return self._login.run_checked(["sh", "-e", "-s"], deadline_seconds, script.encode()).text

    def start_program(self, name: str, arguments: Sequence[str]) -> None:
        """Start a program that goes on by itself, as the unit `name`; its output goes to /var/log/`name`.log there."""
        output = [f"--property=Standard{stream}=append:/var/log/{name}.log" for stream in ("Output", "Error")]
        self.run(["systemd-run", "--quiet", "--collect", f"--unit={name}", *output, "--", *arguments])

    def write_file(
        self, path: str, data: bytes, mode: str = "644", deadline_seconds: float = _SHORT_SECONDS
    ) -> None:
        """Write a file there, its folder made when missing; the file appears whole or not at all."""
        script = 'mkdir -p "$(dirname "$0")" && cat >"$0.new" && chmod "$1" "$0.new" && mv "$0.new" "$0"'
        self._login.run_checked(["sh", "-c", script, path, mode], deadline_seconds, data)

    def copy_in(
        self, source: Path, path: str, mode: str = "644", deadline_seconds: float = _SHORT_SECONDS
    ) -> None:
        """Copy a file to the machine."""
        self.write_file(path, source.read_bytes(), mode, deadline_seconds)

    def read_file(self, path: str, deadline_seconds: float = _SHORT_SECONDS) -> bytes:
        """Content of a file there."""
        return self._login.run_checked(["cat", path], deadline_seconds).output

    def fill(self, folder: str, left_mb: int = 0) -> str:
        """Take the room on the file system of a folder but for `left_mb`; returns the path of the file that does it."""
        path = f"{folder.rstrip('/')}/filled-by-lab"
        free_mb = int(self.run(["df", "--output=avail", "--block-size=1M", folder]).text.split()[-1])
        # The file system's own blocks are none of df's business: nearly all at once, the rest as far as it goes.
        self.run(["fallocate", "--length", f"{max(1, free_mb - left_mb - _LAST_MB)}M", path])
        rest_mb = _LAST_MB if left_mb else 2 * _LAST_MB
        write = [
            "dd",
            "if=/dev/zero",
            f"of={path}",
            "bs=1M",
            f"count={rest_mb}",
            "oflag=append",
            "conv=notrunc,fsync",
        ]
        self.run_any(write)
        return path

    def serial_log(self) -> str:
        """What it has written on its serial line since it was switched on."""
        log = self.folder / emulator.SERIAL_LOG
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    # --- waiting

    def wait_until_ready(self, deadline_seconds: float = _BOOT_DEADLINE_SECONDS) -> None:
        """Until SSH answers and the units of its role are up. HostError, with its last serial line, at the deadline."""
        end_at = time.monotonic() + deadline_seconds
        self._wait_for_ssh(end_at)
        units = _READY_UNITS[self.description.role]
        missing = "no answer"
        while time.monotonic() < end_at:
            try:
                answer = self._login.run(["systemctl", "is-active", *units], _SHORT_SECONDS)
            except HostError as error:
                missing = str(error)
            else:
                states = dict(zip(units, answer.text.split(), strict=False))
                missing = ", ".join(
                    f"{unit} is {state}" for unit, state in states.items() if state != "active"
                )
                if not missing:
                    return
            time.sleep(_POLL_SECONDS)
        raise HostError(f"{self.name} is not ready after {deadline_seconds:g} s: {missing}")

    def wait_for(self, arguments: Sequence[str], words: str, deadline_seconds: float) -> str:
        """Until the program's output contains `words`; returns it. HostError with the last output at the deadline."""
        end_at = time.monotonic() + deadline_seconds
        text = ""
        while time.monotonic() < end_at:
            answer = self._login.run(arguments, _SHORT_SECONDS)
            text = answer.text + answer.error_text
            if words in text:
                return text
            time.sleep(_POLL_SECONDS)
        raise HostError(
            f"{self.name}: no {words!r} within {deadline_seconds:g} s; last seen: {text[-500:]!r}"
        )

    def prepare_folder(self) -> None:
        """Make the folder and fresh disks in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        emulator.create_disks(self._built, self.description, self.folder)

    def _wait_for_ssh(self, end_at: float) -> None:
        begin = time.monotonic()
        while time.monotonic() < end_at:
            process = read_record(self._record)
            if process is None:
                raise HostError(
                    f"{self.name} has switched itself off: {_last_line(self.folder / 'qemu.log')}"
                )
            try:
                with socket.create_connection((self.description.address, _SSH_PORT), timeout=2) as connection:
                    connection.settimeout(5)
                    if connection.recv(4) == b"SSH-":
                        return
            except OSError:
                pass  # not yet
            time.sleep(_POLL_SECONDS)
        raise HostError(
            f"{self.name} does not answer by SSH after {time.monotonic() - begin:.0f} s; its serial line says: "
            f"{_last_line(self.folder / emulator.SERIAL_LOG)}"
        )

    def _set_tap(self, state: str) -> None:
        run_checked(["ip", "link", "set", f"{self.name}-storage", state], deadline_seconds=_SHORT_SECONDS)

    def _keep_old_serial_log(self) -> None:
        log = self.folder / emulator.SERIAL_LOG
        if log.exists():
            log.replace(log.with_name(log.name + ".before"))


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else f"{log} is empty"
