"""Device nodes for the network taps of one network namespace: what udev does for a machine's own.

libvirt opens `/dev/tapN` for a guest's macvtap device, N being its interface number. The kernel makes that node in one
folder for all network namespaces, whose interface numbers are the same ones; so a machine makes its nodes itself.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from pathlib import Path
from typing import NoReturn

_UEVENT_FAMILY = 15  # NETLINK_KOBJECT_UEVENT
_KERNEL_GROUP = 1
_NAME = re.compile(r"tap\d+")
_MODE = stat.S_IFCHR | 0o600
_RECEIVE_BYTES = 1024 * 1024


def open_events() -> socket.socket:
    """A socket that receives the device events of this network namespace."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _UEVENT_FAMILY)
    events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
    events.bind((0, _KERNEL_GROUP))
    return events


def follow(events: socket.socket, folder: Path) -> NoReturn:
    """Make and remove nodes in `folder` as the kernel adds and removes taps, for ever."""
    while True:
        try:
            apply(events.recv(65536), folder)
        except OSError:
            continue  # events were lost, or the folder is full: libvirt reports the missing node


def apply(event: bytes, folder: Path) -> None:
    """Make or remove the node that one event names; other events change nothing."""
    fields = dict(part.split("=", 1) for part in event.decode("utf-8", "replace").split("\0") if "=" in part)
    name = fields.get("DEVNAME", "")
    if fields.get("SUBSYSTEM") not in ("macvtap", "ipvtap") or not _NAME.fullmatch(name):
        return
    node = folder / name
    node.unlink(missing_ok=True)
    if fields.get("ACTION") == "add":
        os.mknod(node, _MODE, os.makedev(int(fields["MAJOR"]), int(fields["MINOR"])))
