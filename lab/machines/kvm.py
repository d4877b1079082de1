"""Whether KVM works on the carrying machine: a kernel boots under it or not. That the device exists proves nothing."""

from __future__ import annotations

import os
from pathlib import Path

from lab.build.parts import Built
from lab.machines.emulator import MACHINE, environment_of, qemu
from lab.machines.roster import Role
from rocks.core.errors import ToolError
from rocks.core.process import run

_DEVICE = Path("/dev/kvm")
_DEADLINE_SECONDS = 8.0
_CAME_THROUGH = b"Unable to mount root fs"


def kvm_works(built: Built, memory: Path) -> bool:
    """Boot the lab's kernel under KVM, or read the earlier result from the file `memory`.

    A result holds until the carrying machine boots again.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    user = f"{boot} {os.getuid()}"
    if memory.exists():
        stored, _, answer = memory.read_text(encoding="ascii").strip().rpartition(" ")
        if stored == user:
            return answer == "yes"
    works = os.access(_DEVICE, os.R_OK | os.W_OK) and _boots(built)
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(f"{user} {'yes' if works else 'no'}\n", encoding="ascii")
    return works


def _boots(built: Built) -> bool:
    """Whether the lab's kernel comes, under KVM, so far as to miss a root file system. A boot sector proves too little:
    a KVM that interprets its guests, as on some rented machines, gets through one, and no kernel through its unpacking.
    """
    arguments = [*qemu(built.qemu_tree), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    arguments += [
        "-machine",
        MACHINE,
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-smp",
        "2",
        "-m",
        "256",
        "-serial",
        "stdio",
    ]
    arguments += ["-kernel", str(built.kernel(Role.HOST.value)), "-append", "console=ttyS0 panic=-1"]
    try:
        finished = run(
            arguments, deadline_seconds=_DEADLINE_SECONDS, environment=environment_of(built.qemu_tree)
        )
    except ToolError:
        return False
    return _CAME_THROUGH in finished.output
