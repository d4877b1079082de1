"""Runs on a host of the lab: sends frames as a guest, and reports which devices received frames.

    guest_frames.py send MACVTAP-OR-TAP < lines of hexadecimal frames
    guest_frames.py listen SECONDS FILE        one line `DEVICE HEXADECIMAL-FRAME` for each frame that carries a mark

A frame is written to the very tap that the guest's QEMU writes to, found among that process's files and borrowed by
pidfd_getfd(2): what the host's kernel does with it, it does with a frame of the guest.
"""

import ctypes
import fcntl
import os
import re
import select
import socket
import struct
import sys
import time
from pathlib import Path

MARK = b"frame:"
_PIDFD_OPEN, _PIDFD_GETFD = 434, 438
_TUNGETIFF, _TUNGETVNETHDRSZ = 0x800454D2, 0x800454D7
_READY = "listening"


def borrow_tap(device: str) -> int:
    """A descriptor of the tap whose host's side is the device, borrowed from whichever QEMU has it."""
    number = (Path("/sys/class/net") / device / "ifindex").read_text().strip()
    paths = {f"/dev/tap{number}", "/dev/net/tun"}
    for place in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(place.readlink()) not in paths or "qemu" not in (place.parents[1] / "comm").read_text():
                continue
        except OSError:
            continue  # it has ended meanwhile
        borrowed = _borrow(int(place.parts[2]), int(place.name))
        name = fcntl.ioctl(borrowed, _TUNGETIFF, bytes(40))[:16].rstrip(b"\0").decode()
        if name in (device, f"tap{number}"):
            return borrowed
        os.close(borrowed)
    raise SystemExit(f"no QEMU has the tap of {device}")


def send(device: str) -> None:
    """Write each frame of standard input, as the guest would."""
    tap = borrow_tap(device)
    header = struct.unpack("i", fcntl.ioctl(tap, _TUNGETVNETHDRSZ, bytes(4)))[0]
    for line in sys.stdin:
        try:
            os.write(tap, bytes(header) + bytes.fromhex(line))
        except OSError as error:
            print(f"refused: {error}", file=sys.stderr)
        time.sleep(0.002)


def listen(seconds: float, target: Path) -> None:
    """Note every frame with a mark that comes to a device of this host.

    What goes to a guest comes in by a macvtap, and goes out by a tap; what goes the other way is not noted.
    """
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_000_000)
    end_at = time.monotonic() + seconds
    with target.open("w", buffering=1) as notes:
        notes.write(f"{_READY}\n")
        while time.monotonic() < end_at:
            if not select.select([found], [], [], 0.2)[0]:
                continue
            frame, address = found.recvfrom(2000)
            goes_out = address[2] == socket.PACKET_OUTGOING
            if MARK in frame and goes_out == address[0].startswith("vnet"):
                notes.write(f"{address[0]} {re.search(MARK + rb'([a-z0-9.-]+)', frame)[1].decode()}\n")


def _borrow(process: int, descriptor: int) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    handle = library.syscall(_PIDFD_OPEN, process, 0)
    borrowed = library.syscall(_PIDFD_GETFD, handle, descriptor, 0)
    os.close(handle)
    if borrowed < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return int(borrowed)


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2])
    else:
        listen(float(sys.argv[2]), Path(sys.argv[3]))
