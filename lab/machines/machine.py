"""One machine: the strategies that bring it to a state, each with its deadline, each safe to call twice.

Everything here runs inside the lab's namespace.
"""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

from lab.build.parts import Built
from lab.machines import emulator
from lab.machines.login import Login
from lab.machines.power import Power, State, last_line
from lab.machines.remote import SHORT_SECONDS, Remote
from lab.machines.roster import STORAGE_DEVICE, Description, Role
from rocks.core.errors import HostError, ToolError
from rocks.core.process import run_checked

_SSH_PORT = 22
_COMPLETE = "complete"
_BOOT_DEADLINE_SECONDS = 300.0
_POLL_SECONDS = 0.1
_BOOT_ATTEMPTS = 3
_SAVE_DEADLINE_SECONDS = 120.0
_READY_UNITS = {
    Role.NAS: ("zfs.target", "ssh.service"),
    Role.HOST: ("zfs.target", "ssh.service", "libvirtd.service", "iscsid.socket"),
}


class LabMachine(Remote):
    """A machine over the folder that holds its disks, its log and its sockets."""

    def __init__(
        self, description: Description, folder: Path, keys: Path, built: Built, with_kvm: bool
    ) -> None:
        super().__init__(description.name, Login(description.name, description.address, keys))
        self.description = description
        self.folder = folder
        self._built = built
        self._power = Power(description, folder, built, with_kvm)

    def prepare_folder(self) -> None:
        """Make the folder and fresh disks in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        emulator.create_disks(self._built, self.description, self.folder)

    # --- power

    def state(self) -> State:
        """Its power state. HostError when QEMU itself is hung."""
        return self._power.state()

    def power_on(self) -> None:
        """Start it and return at once; nothing is done when it is on. ToolError when QEMU ends at once."""
        self._power.on()

    def kill(self) -> bool:
        """Take its power away this instant (SIGKILL to QEMU); whether it was on."""
        return self._power.kill()

    def boot(self, deadline_seconds: float = _BOOT_DEADLINE_SECONDS) -> float:
        """Start it and wait until it is ready; returns the seconds that took. HostError at the deadline.

        An emulator that ends while the machine boots is started again, twice at most: with an emulated IOMMU and many
        threads, QEMU 10.0.2 now and then fails an assertion of its own then (iotlb_to_section).
        """
        begin = time.monotonic()
        for attempt in range(_BOOT_ATTEMPTS):
            self._power.on()
            try:
                self.wait_until_ready(deadline_seconds)
                break
            except HostError:
                if self._power.is_on() or attempt + 1 == _BOOT_ATTEMPTS:
                    raise
        return time.monotonic() - begin

    def reboot(self, deadline_seconds: float = _BOOT_DEADLINE_SECONDS) -> None:
        """Have its own system shut down and come up again, and wait until it is ready."""
        before = self.boot_id()
        end_at = time.monotonic() + deadline_seconds
        try:
            self.run(["systemctl", "reboot"], SHORT_SECONDS)
        except HostError:
            pass  # the connection may go down with it
        while time.monotonic() < end_at:
            try:
                if self.boot_id() != before:
                    break
            except (HostError, ToolError):
                pass  # it is down, or on its way: a login ends in the middle, too
            time.sleep(_POLL_SECONDS)
        else:
            raise HostError(f"{self.name} did not boot anew within {deadline_seconds:g} s")
        self.wait_until_ready(max(1.0, end_at - time.monotonic()))

    def boot_id(self) -> str:
        """The kernel's identifier of this boot."""
        return self.run(["cat", "/proc/sys/kernel/random/boot_id"], SHORT_SECONDS).text.strip()

    def freeze(self) -> None:
        """Stop its processors, as if its hardware hung; connections to it stay open and silent."""
        self._power.monitor.ask("stop")

    def thaw(self) -> None:
        """Let it go on where it was frozen."""
        self._power.monitor.ask("cont")

    # --- saved states, above all the clean one

    def save_clean_state(self) -> None:
        """Keep memory and disks as they are now as the clean state; all that was written is on the disks."""
        self.save_state(emulator.CLEAN_STATE)
        (self.folder / _COMPLETE).touch()

    def save_state(self, tag: str) -> None:
        """Keep memory and disks as they are now under a tag; all that was written is on the disks."""
        self.run(["sync"])
        self._power.monitor.run_line(f"savevm {tag}", _SAVE_DEADLINE_SECONDS)

    def clean_since(self) -> float:
        """When its clean state was saved, in seconds since 1970."""
        return (self.folder / _COMPLETE).stat().st_mtime

    def is_complete(self) -> bool:
        """Whether it was set up to the end, and has a clean state to return to."""
        return (self.folder / _COMPLETE).exists()

    def return_to_clean_state(self) -> None:
        """Whatever it was in: memory, disks and network as saved. Its clock is set to the carrying machine's."""
        self.return_to(emulator.CLEAN_STATE)

    def return_to(self, tag: str) -> None:
        """The same for the state that was saved under a tag."""
        self.reconnect()
        try:
            if not self._power.is_on():
                raise HostError(f"{self.name} is off")
            self.set_link_up(True)
            self._power.monitor.run_line(f"loadvm {tag}", _SAVE_DEADLINE_SECONDS)
            self.thaw()
        except (HostError, ToolError):
            self._power.kill()
            self._power.on(tag)
        self._wait_for_ssh(time.monotonic() + SHORT_SECONDS)
        self.set_clock()

    def set_clock(self) -> None:
        """Set its clock to the carrying machine's, to the tenth of a second or so."""
        self.run(["date", "--set", f"@{time.time():.3f}"])

    # --- network

    def cut(self) -> None:
        """Pull its storage cable at the switch: it sees no change, only no answers."""
        self._set_tap("down")

    def reconnect(self) -> None:
        """Put the cable back."""
        self._set_tap("up")

    def set_link_up(self, up: bool) -> None:
        """Take the carrier from its storage adapter, or give it back, as when the switch goes off."""
        self._power.monitor.ask("set_link", name=emulator.STORAGE_ADAPTER, up=up)

    def impair(
        self, delay_milliseconds: int = 0, loss_percent: float = 0.0, device: str = STORAGE_DEVICE
    ) -> None:
        """Delay or drop the frames that it sends, by its own kernel; a further call replaces the figures."""
        rule = ["netem", "limit", "100000"]
        rule += ["delay", f"{delay_milliseconds}ms"] if delay_milliseconds else []
        rule += ["loss", f"{loss_percent}%"] if loss_percent else []
        self.run(["tc", "qdisc", "replace", "dev", device, "root", *rule])

    # --- its output, and waiting for it

    def serial_log(self) -> str:
        """The output on its serial line since it was switched on."""
        log = self.folder / emulator.SERIAL_LOG
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    def wait_until_ready(self, deadline_seconds: float = _BOOT_DEADLINE_SECONDS) -> None:
        """Until SSH answers and the units of its role are up. HostError, with its last serial line, at the deadline."""
        end_at = time.monotonic() + deadline_seconds
        self._wait_for_ssh(end_at)
        units = _READY_UNITS[self.description.role]
        missing = "no answer"
        while time.monotonic() < end_at:
            try:
                answer = self.run_any(["systemctl", "is-active", *units])
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

    def _wait_for_ssh(self, end_at: float) -> None:
        begin = time.monotonic()
        while time.monotonic() < end_at:
            if not self._power.is_on():
                raise HostError(f"{self.name} has switched itself off: {self._power.last_log_line()}")
            try:
                with socket.create_connection((self.description.address, _SSH_PORT), timeout=2) as connection:
                    connection.settimeout(5)
                    if connection.recv(4) == b"SSH-":
                        return
            except OSError:
                pass  # not yet
            time.sleep(_POLL_SECONDS)
        raise HostError(
            f"{self.name} does not answer by SSH after {time.monotonic() - begin:.0f} s; its serial line ends with: "
            f"{last_line(self.folder / emulator.SERIAL_LOG)}"
        )

    def _set_tap(self, state: str) -> None:
        run_checked(["ip", "link", "set", f"{self.name}-storage", state], deadline_seconds=SHORT_SECONDS)
