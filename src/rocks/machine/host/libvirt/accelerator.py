"""Whether KVM works on this host: a probe guest is booted, and the result is stored."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Union

from rocks.core.errors import HostError, ToolError
from rocks.core.files import write_file
from rocks.core.process import Finished, run
from rocks.fleet.host.state_folder import Place, ensure_folder, locked, read_cache
from rocks.fleet.wire.facts import Accelerator, ProbeFact

# A minimal guest that shows whether KVM is usable: one boot sector of machine code.
#
# It tests what every guest needs: timer interrupts wake a halted processor, protected mode and paging work, and 64
# million instructions run at native speed. A KVM that interprets its guests, as on some rented machines, starts
# SeaBIOS within 3 s, but a kernel does not get through its decompression. The guest reports success by the exit status
# of QEMU's `isa-debug-exit` device.

_SECTOR_BYTES = 512
_EXIT_BYTE = 0x2A

EXIT_PORT = 0xF4
"""I/O port of the device."""

EXIT_STATUS = _EXIT_BYTE << 1 | 1
"""Exit status of QEMU after success."""

_PROGRAM = """
fa                    ; cli                      real mode: segments and stack
31 c0                 ; xor ax, ax
8e d8                 ; mov ds, ax
8e d0                 ; mov ss, ax
bc 00 7c              ; mov sp, 7c00
fb                    ; sti
b9 03 00              ; mov cx, 3                three ticks of the BIOS's clock
66 a1 6c 04           ; mov eax, [46c]
f4                    ; hlt
66 39 06 6c 04        ; cmp [46c], eax
74 f8                 ; je hlt
e2 f2                 ; loop mov eax
fa                    ; cli
0f 01 16 94 7c        ; lgdt [7c94]              protected mode
0f 20 c0              ; mov eax, cr0
0c 01                 ; or al, 1
0f 22 c0              ; mov cr0, eax
ea 2f 7c 08 00        ; jmp 8:7c2f
66 b8 10 00           ; mov ax, 10               from here on 32 bits
8e d8                 ; mov ds, ax
8e d0                 ; mov ss, ax
c7 05 00 00 01 00 83 00 00 00 ; mov dword [10000], 83   paging: one page of 4 MiB, mapped to itself
0f 20 e0              ; mov eax, cr4
0c 10                 ; or al, 10
0f 22 e0              ; mov cr4, eax
b8 00 00 01 00        ; mov eax, 10000
0f 22 d8              ; mov cr3, eax
0f 20 c0              ; mov eax, cr0
0d 00 00 00 80        ; or eax, 80000000
0f 22 c0              ; mov cr0, eax
b9 00 00 00 01        ; mov ecx, 1000000         work: 16 Mi rounds of adding to 1 MiB of memory
89 c8                 ; mov eax, ecx
25 fc ff 0f 00        ; and eax, ffffc
01 88 00 00 10 00     ; add [100000 + eax], ecx
49                    ; dec ecx
75 f0                 ; jnz mov eax
66 ba f4 00           ; mov dx, f4               the end
b0 2a                 ; mov al, 2a
ee                    ; out dx, al
f4                    ; hlt
eb fd                 ; jmp hlt
90                    ; nop
00 00 00 00 00 00 00 00 ; 7c7c: the descriptors   none
ff ff 00 00 00 9a cf 00 ;                         code, 4 GiB from 0
ff ff 00 00 00 92 cf 00 ;                         data, 4 GiB from 0
17 00 7c 7c 00 00     ; 7c94: their length - 1 and address
"""


def boot_sector() -> bytes:
    """The disk image of the guest: 512 bytes."""
    code = bytes.fromhex("".join(line.partition(";")[0] for line in _PROGRAM.splitlines()))
    return code.ljust(_SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"


# Whether KVM works on this host, found by that guest.
#
# The existence of /dev/kvm does not prove that KVM works. Where the probe guest does not boot, guests are emulated
# (TCG), and /dev/kvm should be hidden from libvirt: with a broken KVM, libvirt 9.0 takes 76 s for each start; without,
# 0.3 s.
#
# The result holds for this host, kernel, processor and QEMU. The agent then changes two things of a document:
# the type becomes `qemu`, the CPU mode `maximum`. Asking the device proves nothing: where no guest boots, it
# still opens and creates a virtual machine. An attribute of the operator would be wrong after the next kernel.

EMULATORS = ("/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm", "/usr/bin/qemu-kvm", "/usr/bin/kvm")
"""Paths of QEMU in the distributions, Debian first."""

_DEVICE = Path("/dev/kvm")
_FIRST_SECONDS, _SILENT_SECONDS = 20.0, 8.0
"""A guest prints nothing for so long where it hangs: before its first text, which QEMU and firmware delay, and later.

One that prints goes on: on a host that is busy, or emulated itself, a kernel needs a while.
"""
_GUEST_DEADLINE_SECONDS = 40.0
_BUSY_DEADLINE_SECONDS = 50.0
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

    A probe takes up to 40 s; a guest that prints nothing is killed after 20 s. HostError without QEMU or when the state
    folder cannot be written.
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
        return _verdict(f"this host's kernel {kernel}", boot_kernel(emulator, kernel))
    return _verdict("the probe guest", boot_sector_guest(emulator))


def boot_kernel(emulator: str, kernel: str) -> str:
    """Boot a Linux kernel by KVM until it panics without a root file system; empty on success, else the reason."""
    # `panic=-1` resets the machine at once, and QEMU then ends; with `earlyprintk` the unpacking prints, too
    parameters = "console=ttyS0 earlyprintk=serial,ttyS0,115200 panic=-1"
    special = ["-m", "512", "-serial", "stdio", "-kernel", kernel]
    finished = _run_guest(emulator, [*special, "-append", parameters])
    if isinstance(finished, str):
        return finished
    return "" if _PANIC_WITHOUT_ROOT in finished.output else _failure(finished)


def boot_sector_guest(emulator: str) -> str:
    """Boot the probe guest by KVM; empty on success, else the reason."""
    with tempfile.NamedTemporaryFile(prefix="rocks-probe-") as disk:
        disk.write(boot_sector())
        disk.flush()
        drive = f"file={disk.name},format=raw,if=ide,readonly=off"
        device = f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1"
        finished = _run_guest(emulator, ["-m", "32", "-device", device, "-drive", drive])
    if isinstance(finished, str):
        return finished
    return "" if finished.exit_status == EXIT_STATUS else _failure(finished)


def _run_guest(emulator: str, special: List[str]) -> Union[Finished, str]:
    bare = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    arguments = [emulator, *bare, "-accel", "kvm", "-cpu", "host", *special]
    try:
        return run(arguments, deadline_seconds=_GUEST_DEADLINE_SECONDS, watch=_Silence())
    except ToolError as error:
        return str(error)


class _Silence:
    """Watches the output of a guest. ToolError when it prints nothing for too long."""

    def __init__(self) -> None:
        self._size, self._since = 0, time.monotonic()

    def __call__(self, output: bytes) -> None:
        if len(output) > self._size:
            self._size, self._since = len(output), time.monotonic()
        limit = _SILENT_SECONDS if self._size else _FIRST_SECONDS
        if time.monotonic() - self._since > limit:
            raise ToolError(f"it printed nothing for {limit:.0f} s and was killed")


def _failure(finished: Finished) -> str:
    last = finished.error_text.splitlines()[-1:] or ["the guest ended early"]
    return f"QEMU ended with exit status {finished.exit_status}: {last[0]}"


def _verdict(guest: str, failure: str) -> _Verdict:
    if failure:
        return _Verdict("tcg", f"{guest} does not boot under KVM: {failure}")
    return _Verdict("kvm", f"{guest} boots under KVM")
