"""A machine's power: the QEMU process behind it, started and killed, and the monitor that speaks to it."""

from __future__ import annotations

import enum
import time
from pathlib import Path

from lab.build.parts import Built
from lab.machines import emulator
from lab.machines.monitor import Monitor
from lab.machines.roster import Description
from lab.processes import end, identify, read_record, wait_until_ended, write_record
from rocks.core.errors import HostError, ToolError
from rocks.core.process import start_in_background

_START_SECONDS = 30.0
_POLL_SECONDS = 0.1


class State(enum.Enum):
    """Power state of a machine. `FROZEN`: its memory stays; its processors and its network are stopped."""

    OFF = "off"
    RUNNING = "running"
    FROZEN = "frozen"


class Power:
    """The switch of one machine, over the folder that holds its disks, its log and its sockets."""

    def __init__(self, description: Description, folder: Path, built: Built, with_kvm: bool) -> None:
        self.monitor = Monitor(folder / emulator.MONITOR)
        self._description = description
        self._folder = folder
        self._built = built
        self._with_kvm = with_kvm
        self._record = folder / "qemu"
        self._log = folder / "qemu.log"

    def is_on(self) -> bool:
        """Whether QEMU runs, be it hung."""
        return read_record(self._record) is not None

    def state(self) -> State:
        """Its state, by QEMU's process and QEMU itself. HostError when QEMU is hung."""
        if not self.is_on():
            return State.OFF
        try:
            status = self.monitor.ask("query-status")["status"]
        except HostError:
            if self.is_on():
                raise
            return State.OFF  # it ended while it was asked
        return State.FROZEN if status == "paused" else State.RUNNING

    def on(self, state: str | None = None) -> None:
        """Start it and return at once; nothing is done when it is on. ToolError when QEMU ends at once.

        `state`: it resumes from the saved state of that tag instead of booting, with the disks of that state.
        """
        if self.is_on():
            return
        program = emulator.command(self._built, self._description, self._folder, self._with_kvm, state)
        monitor = self._folder / emulator.MONITOR
        monitor.unlink(missing_ok=True)
        self._keep_old_serial_log()
        process = identify(
            start_in_background(program, self._log, emulator.environment_of(self._built.qemu_tree))
        )
        if process is None:
            raise ToolError(self._ended_at_once())
        write_record(self._record, process)
        end_at = time.monotonic() + _START_SECONDS
        while not monitor.exists():
            if wait_until_ended(process, _POLL_SECONDS):
                raise ToolError(self._ended_at_once())
            if time.monotonic() > end_at:
                raise ToolError(
                    f"QEMU of {self._description.name} opened no monitor within {_START_SECONDS:g} s; see {self._log}"
                )

    def kill(self) -> bool:
        """Take its power away this instant (SIGKILL to QEMU); whether it was on."""
        process = read_record(self._record)
        if process is not None:
            end([process], 0)
        self._record.unlink(missing_ok=True)
        return process is not None

    def last_log_line(self) -> str:
        """The last line that QEMU itself has written."""
        return last_line(self._log)

    def _ended_at_once(self) -> str:
        return f"{self._description.name} ended at once: {self.last_log_line()}"

    def _keep_old_serial_log(self) -> None:
        log = self._folder / emulator.SERIAL_LOG
        if log.exists():
            log.replace(log.with_name(log.name + ".before"))


def last_line(log: Path) -> str:
    """The last line of a log, or that it is empty."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else f"{log} is empty"
