"""Linux system calls for namespaces and mounts that Python 3.11 does not offer."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
from pathlib import Path

from rocks.core.errors import HostError

NEW_MOUNTS = 0x00020000
NEW_HOST_NAME = 0x04000000
NEW_IPC = 0x08000000
NEW_PROCESSES = 0x20000000
NEW_NETWORK = 0x40000000
"""Flags of unshare(2) and setns(2), from linux/sched.h."""

READ_ONLY = 0x1
REMOUNT = 0x20
BIND = 0x1000
RECURSIVE = 0x4000
PRIVATE = 0x40000
"""Flags of mount(2), from linux/mount.h."""

_DETACH = 2  # MNT_DETACH
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}  # glibc has no function for it
_READ_FLAGS, _WRITE_FLAGS, _UP = 0x8913, 0x8914, 0x1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Give this thread namespaces of its own; HostError when the kernel does not allow them."""
    _check(_libc.unshare(flags), "this machine does not allow namespaces")


def enter_network(process_id: int) -> None:
    """Put this thread into the network namespace of a process."""
    handle = os.open(f"/proc/{process_id}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(handle, NEW_NETWORK), f"cannot enter the network of process {process_id}")
    finally:
        os.close(handle)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    _check(_libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0), "prctl failed")


def die_with_starter() -> None:
    """Have the kernel kill this process when its parent ends; SystemExit when the parent has ended already.

    The parent is the process that LAB_PARENT names in the environment (the Makefile sets it), else the present one.
    """
    expected = int(os.environ.pop("LAB_PARENT", os.getppid()))
    die_with_parent()
    if os.getppid() != expected:
        raise SystemExit(1)


def mount(source: str | Path, target: str | Path, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2). HostError with source and target when it fails."""
    arguments = [os.fsencode(source), os.fsencode(target), kind.encode()]
    result = _libc.mount(*arguments, ctypes.c_ulong(flags), options.encode())
    _check(result, f"cannot mount {kind or source} over {target}")


def bind(source: str | Path, target: str | Path) -> None:
    """Make a file or a folder, with everything that is mounted below it, visible at `target` too."""
    mount(source, target, "", BIND | RECURSIVE)


def make_read_only(target: str | Path) -> None:
    """Forbid writing through one bind mount; others of the same file system stay writable."""
    mount("none", target, "", REMOUNT | BIND | READ_ONLY)


def make_mounts_private() -> None:
    """Keep mounts of this mount namespace from appearing in others, and theirs in this one."""
    mount("none", "/", "", RECURSIVE | PRIVATE)


def change_root(folder: Path) -> None:
    """Make a mount point the root of this mount namespace, and detach the former root."""
    os.chdir(folder)
    number = _PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise HostError(f"machines of the lab do not run on a processor of type {os.uname().machine}")
    _check(_libc.syscall(number, b".", b"."), "cannot change the root folder")
    # The former root is now mounted over the new one, and the current folder is still the former.
    _check(_libc.umount2(b".", _DETACH), "cannot detach the former root folder")
    os.chdir("/")


def set_loopback_up() -> None:
    """Bring up the device lo of this network namespace, with its addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        answer = fcntl.ioctl(handle, _READ_FLAGS, struct.pack("16sH14x", b"lo", 0))
        flags = int(struct.unpack("16sH14x", answer)[1])
        fcntl.ioctl(handle, _WRITE_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))


def mount_points_below(folder: str) -> list[str]:
    """Mount points below a folder of this mount namespace, each after those above it."""
    prefix = folder.rstrip("/") + "/"
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    points = {_unescaped(line.split(" ")[4]) for line in lines}
    return sorted(point for point in points if point.startswith(prefix))


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _check(result: int, what: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise HostError(f"{what}: {os.strerror(number)}")
