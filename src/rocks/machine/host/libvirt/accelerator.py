"""Whether KVM works on this host: a probe guest is booted, and the result is stored.

The existence of /dev/kvm does not prove that KVM works. Where the probe guest does not boot, guests are emulated (TCG),
and /dev/kvm should be hidden from libvirt: with a broken KVM, libvirt 9.0 takes 76 s for each start; without, 0.3 s.

The result holds for this host, kernel, processor and QEMU. The agent then changes two things of a document:
the type becomes `qemu`, the CPU mode `maximum`. Asking the device proves nothing: where no guest boots, it
still opens and creates a virtual machine. An attribute of the operator would be wrong after the next kernel.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Union

from rocks.core.errors import HostError, ToolError
from rocks.core.files import write_file
from rocks.core.process import Finished, run
from rocks.fleet.host.records import read_cache
from rocks.fleet.host.state_folder import Place, ensure_folder, locked
from rocks.fleet.wire.facts import Accelerator, ProbeFact
from rocks.machine.host.libvirt.probe_guest import EXIT_PORT, EXIT_STATUS, boot_sector

EMULATORS = ("/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm", "/usr/bin/qemu-kvm", "/usr/bin/kvm")
"""Paths of QEMU in the distributions, Debian first."""

_DEVICE = Path("/dev/kvm")
_GUEST_DEADLINE_SECONDS = 8.0
_BUSY_DEADLINE_SECONDS = 30.0
_PANIC_WITHOUT_ROOT = b"Unable to mount root fs"


class _Verdict(NamedTuple):
    accelerator: Accelerator
    reason: str


def host_emulator() -> str:
    """Path of QEMU on this host. HostError when there is none."""
    for path in EMULATORS:
        if os.access(path, os.X_OK):
            return path
    raise HostError(f"there is no QEMU on this host: none of {', '.join(EMULATORS)}")


def known_accelerator(state_folder: Path) -> ProbeFact:
    """The stored result; `unknown` when no probe guest has been booted on this host."""
    verdict = _without_device() or _remembered(state_folder, _key())
    if verdict is None:
        return ProbeFact("unknown", "no probe guest has been booted yet", os.uname().release, False)
    return ProbeFact(verdict.accelerator, verdict.reason, os.uname().release, True)


def probe_accelerator(state_folder: Path, again: bool = False) -> ProbeFact:
    """The stored result, else that of a probe guest, which is stored; `again` boots the probe guest in any case.

    Takes up to 8 s. HostError without QEMU or when the state folder cannot be written.
    """
    known = known_accelerator(state_folder)
    if known.accelerator != "unknown" and not (again and _without_device() is None):
        return known
    ensure_folder(state_folder)
    busy = "another command is booting the KVM probe guest on this host; try again"
    lock = Place.KVM_PROBE_LOCK.below(state_folder)
    with locked(lock, shared=False, deadline_seconds=_BUSY_DEADLINE_SECONDS, busy=busy):
        known = known_accelerator(state_folder)
        if known.accelerator != "unknown" and not again:
            return known
        verdict = _boot_probe_guest(host_emulator())
        memory = {"key": _key(), "accelerator": verdict.accelerator, "reason": verdict.reason}
        write_file(Place.KVM_PROBE.below(state_folder), json.dumps(memory, indent=1) + "\n")
    return ProbeFact(verdict.accelerator, verdict.reason, os.uname().release, False)


def _without_device() -> Optional[_Verdict]:
    try:
        mode = _DEVICE.stat().st_mode
    except OSError:
        return _Verdict("tcg", f"there is no {_DEVICE}")
    return None if stat.S_ISCHR(mode) else _Verdict("tcg", f"{_DEVICE} is hidden")


def _remembered(state_folder: Path, key: Dict[str, str]) -> Optional[_Verdict]:
    memory = read_cache(Place.KVM_PROBE.below(state_folder))
    if memory.get("key") != key or memory.get("accelerator") not in ("kvm", "tcg"):
        return None
    return _Verdict(memory["accelerator"], str(memory.get("reason", "")))


def _key() -> Dict[str, str]:
    """Everything the result depends on: another host, kernel, processor or QEMU is probed again."""
    names = os.uname()
    return {
        "host": names.nodename,
        "kernel": f"{names.release} {names.version}",
        "processor": _processor(),
        "emulator": " ".join(_identity(path) for path in EMULATORS),
    }


def _processor() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return ""


def _identity(path: str) -> str:
    try:
        status = Path(path).stat()
    except OSError:
        return "-"
    return f"{path}:{status.st_size}:{status.st_mtime_ns}"


def _boot_probe_guest(emulator: str) -> _Verdict:
    kernel = f"/boot/vmlinuz-{os.uname().release}"
    if os.access(kernel, os.R_OK):
        return _verdict(f"this host's kernel {kernel}", boot_kernel(emulator, kernel, "kvm"))
    return _verdict("the probe guest", boot_sector_guest(emulator, "kvm"))


def boot_kernel(emulator: str, kernel: str, accelerator: str) -> str:
    """Boot a Linux kernel until it panics without a root file system; empty on success, else the reason."""
    # `panic=-1` resets the machine at once, and QEMU then ends
    special = ["-m", "512", "-serial", "stdio", "-kernel", kernel]
    finished = _run_guest(emulator, accelerator, [*special, "-append", "console=ttyS0 panic=-1"])
    if isinstance(finished, str):
        return finished
    return "" if _PANIC_WITHOUT_ROOT in finished.output else _failure(finished)


def boot_sector_guest(emulator: str, accelerator: str) -> str:
    """Boot the guest of `probe_guest`; empty on success, else the reason."""
    with tempfile.NamedTemporaryFile(prefix="rocks-probe-") as disk:
        disk.write(boot_sector())
        disk.flush()
        drive = f"file={disk.name},format=raw,if=ide,readonly=off"
        device = f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1"
        finished = _run_guest(emulator, accelerator, ["-m", "32", "-device", device, "-drive", drive])
    if isinstance(finished, str):
        return finished
    return "" if finished.exit_status == EXIT_STATUS else _failure(finished)


def _run_guest(emulator: str, accelerator: str, special: List[str]) -> Union[Finished, str]:
    processor = "host" if accelerator == "kvm" else "max"
    bare = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    arguments = [emulator, *bare, "-accel", accelerator, "-cpu", processor, *special]
    try:
        return run(arguments, deadline_seconds=_GUEST_DEADLINE_SECONDS)
    except ToolError as error:
        return str(error)


def _failure(finished: Finished) -> str:
    last = finished.error_text.splitlines()[-1:] or ["the guest ended early"]
    return f"QEMU ended with exit status {finished.exit_status}: {last[0]}"


def _verdict(guest: str, failure: str) -> _Verdict:
    if failure:
        return _Verdict("tcg", f"{guest} does not boot under KVM: {failure}")
    return _Verdict("kvm", f"{guest} boots under KVM")
