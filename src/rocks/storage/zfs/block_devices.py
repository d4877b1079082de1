"""Block devices of volumes: found by name and identified by an ioctl."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Optional

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, HostError

_FOLDER = "/dev/zvol"
_BLKZNAME = 0x8100127D  # _IOR(0x12, 125, char[256]) of OpenZFS's sys/fs/zfs.h: the name of the volume
_NAME_BYTES = 256
_POLL_SECONDS = 0.05


def device_path(name: str) -> str:
    """The udev path of a volume's device, or of a visible snapshot's."""
    return f"{_FOLDER}/{name}"


def wait_for_device(name: str, deadline: Deadline) -> str:
    """The device path, once it exists and belongs to that volume (no stale link). HostError at the deadline."""
    path = device_path(name)
    while device_name(path) != name:
        if deadline.passed():
            raise HostError(
                f"the device {path} did not appear: `udevadm settle` and the log of systemd-udevd may show why"
            )
        wait_seconds(_POLL_SECONDS)
    return path


def device_name(path: str) -> Optional[str]:
    """Name of the volume whose device is at `path`, or None."""
    try:
        device = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        answer = fcntl.ioctl(device, _BLKZNAME, bytes(_NAME_BYTES))
    except OSError:
        return None
    finally:
        os.close(device)
    return answer.split(b"\0")[0].decode()


def check_not_open(volume: str) -> None:
    """BusyError when an export, a device-mapper table or a file system has opened the volume's device exclusively."""
    path = device_path(volume)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise BusyError(f"the device {path} is in use; nothing was changed") from None
        # without a device it is not open; zfs reports other errors
