"""The lab's namespaces on the carrying machine: network and mounts, which exist as long as their holder, one process.

A user other than root gets a user namespace besides, in which that user is root. Folders of a frontend
(`/etc/rocks`, `/var/lib/rocks`, `/var/opt/rocks`) are bound inside from the state folder, and the bind over
`/var/lib/rocks` identifies every process of the lab, whatever happened to its parent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from lab.machines.roster import (
    FRONTEND_ADDRESS,
    MACHINES,
    PREFIX_LENGTH,
    STORAGE_BRIDGE,
    STORAGE_MTU_BYTES,
    TRUNK_BRIDGE,
    Description,
)
from lab.processes import (
    ProcessIdentity,
    all_process_ids,
    command_name,
    end,
    identify,
    read_record,
    write_record,
)
from rocks.core.errors import HostError, StateError, ToolError
from rocks.core.process import run_checked, start_in_background

FOLDERS = {"/etc/rocks": 0o755, "/var/lib/rocks": 0o700, "/var/opt/rocks": 0o755}
"""Folders that the frontend has for itself inside, with their modes."""

_MARK = "/var/lib/rocks"
_START_DEADLINE_SECONDS = 5.0
_STEP_DEADLINE_SECONDS = 10.0


class Namespace:
    """The namespace over one state folder. Starting repairs the state after a crash; stopping works in any state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._record = self.folder / "holder"

    def outside(self, place: str) -> Path:
        """The path outside for the path `place` inside (absolute, below one of FOLDERS)."""
        return self.folder / "frontend" / place.lstrip("/")

    def holder(self) -> ProcessIdentity | None:
        """The holder of the namespace; None when it does not run."""
        process = read_record(self._record)
        return process if process is not None and self._is_inside(process.process_id) else None

    def members(self) -> list[ProcessIdentity]:
        """All processes inside, the holder among them."""
        numbers = [number for number in all_process_ids() if self._is_inside(number)]
        return [process for number in numbers if (process := identify(number)) is not None]

    def start(self) -> None:
        """Have the namespace with its mounts, bridges and taps. HostError when this machine allows none."""
        if self.holder() is not None:
            return
        end(self.members(), 0)
        for place, mode in FOLDERS.items():
            self.outside(place).mkdir(parents=True, exist_ok=True)
            self.outside(place).chmod(mode)
        holder = self._start_holder()
        try:
            for step in (*self._mounts(), *network_steps(MACHINES)):
                run_checked(_enter(holder, step), deadline_seconds=_STEP_DEADLINE_SECONDS)
        except BaseException:
            end([holder], 0)
            raise
        write_record(self._record, holder)

    def stop(self) -> list[str]:
        """End every process inside; the kernel removes network and mounts too. Returns the programs' names."""
        members = self.members()
        names = sorted({command_name(process.process_id) for process in members})
        end(members, 0)
        end(self.members(), 0)  # started meanwhile by one of them
        self._record.unlink(missing_ok=True)
        return names

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The argument vector that runs `arguments` inside. StateError when the namespace is not there."""
        holder = self.holder()
        if holder is None:
            raise StateError("the lab does not run; start it by `make lab`")
        return _enter(holder, arguments)

    def surrounds_this_process(self) -> bool:
        """Whether the caller itself is inside."""
        return self._is_inside(os.getpid())

    def _is_inside(self, process_id: int) -> bool:
        try:
            return Path(f"/proc/{process_id}/root{_MARK}").samefile(self.outside(_MARK))
        except OSError:
            return False

    def _start_holder(self) -> ProcessIdentity:
        log = self.folder / "holder.log"
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        program = [
            "unshare",
            *user,
            "--net",
            "--mount",
            "--propagation",
            "private",
            "--",
            "sleep",
            "infinity",
        ]
        number = start_in_background(program, log)
        end_at = time.monotonic() + _START_DEADLINE_SECONDS
        while command_name(number) != "sleep":  # then the namespaces are made
            if identify(number) is None:
                raise HostError(
                    "this machine allows no namespaces of its own "
                    f"({log.read_text(encoding='utf-8', errors='replace').strip()}); run it as root"
                )
            if time.monotonic() > end_at:
                raise ToolError(f"unshare did not come up within {_START_DEADLINE_SECONDS:g} s; see {log}")
            time.sleep(0.005)
        holder = identify(number)
        if holder is None:
            raise ToolError(f"the holder of the namespace ended at once; see {log}")
        return holder

    def _mounts(self) -> list[list[str]]:
        """Binds of our folders. Where this machine has no such folder, an overlay inside provides the mount point."""
        covers = self.folder / "covers"
        covers.mkdir(exist_ok=True)
        steps: list[list[str]] = [["mount", "-t", "tmpfs", "-o", "mode=755", "lab", str(covers)]]
        for parent in sorted({str(Path(place).parent) for place in FOLDERS if not Path(place).is_dir()}):
            upper, work = (f"{covers}{parent}/{name}" for name in ("upper", "work"))
            options = f"lowerdir={parent},upperdir={upper},workdir={work},userxattr"
            steps.append(["mkdir", "-p", upper, work])
            steps.append(["mount", "-t", "overlay", "-o", options, "lab", parent])
        for place in FOLDERS:
            steps.append(["mkdir", "-p", place])
            steps.append(["mount", "--bind", str(self.outside(place)), place])
        return steps


def network_steps(machines: Sequence[Description]) -> list[list[str]]:
    """Programs that make bridges and taps in a fresh network namespace."""
    mtu = ["mtu", str(STORAGE_MTU_BYTES)]
    steps = [["ip", "link", "set", "lo", "up"]]
    for bridge in (STORAGE_BRIDGE, TRUNK_BRIDGE):
        steps.append(["ip", "link", "add", bridge, *mtu, "type", "bridge"])
        steps += _quiet_and_up(bridge)
    steps.append(["ip", "address", "add", f"{FRONTEND_ADDRESS}/{PREFIX_LENGTH}", "dev", STORAGE_BRIDGE])
    for machine in machines:
        steps += tap_steps(machine)
    return steps


def tap_steps(machine: Description) -> list[list[str]]:
    """Programs that make the taps of a machine, as ports of the bridges."""
    steps = []
    for tap, bridge in machine.taps.items():
        steps.append(["ip", "tuntap", "add", tap, "mode", "tap"])
        steps.append(["ip", "link", "set", tap, "mtu", str(STORAGE_MTU_BYTES), "master", bridge])
        steps += _quiet_and_up(tap)
    return steps


def _quiet_and_up(device: str) -> list[list[str]]:
    """Without an IPv6 address of its own, which it would get when it goes up."""
    return [["ip", "link", "set", device, *change] for change in (("addrgenmode", "none"), ("up",))]


def _enter(holder: ProcessIdentity, arguments: Sequence[str]) -> list[str]:
    place = f"/proc/{holder.process_id}/ns"
    user = [] if os.geteuid() == 0 else [f"--user={place}/user", "--preserve-credentials"]
    return [
        "nsenter",
        *user,
        f"--net={place}/net",
        f"--mount={place}/mnt",
        # entering a mount namespace leaves a chroot, where we may well be
        f"--root=/proc/{holder.process_id}/root",
        f"--wdns={Path.cwd()}",
        "--",
        *arguments,
    ]
