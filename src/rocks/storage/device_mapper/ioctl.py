"""Block devices and device-mapper as the kernel gives them: device numbers, nodes in /dev/mapper, the ioctls.

The kernel creates only /dev/dm-N. udev creates the links in /dev/mapper (55-dm.rules of dmsetup 1.02.185, 10-dm.rules
elsewhere), but only at an event whose cookie has DM_UDEV_PRIMARY_SOURCE_FLAG.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import StateError
from rocks.storage.device_mapper.tables import Target

MAPPER = Path("/dev/mapper")

_UDEV = Path("/run/udev/control")
_UDEV_SECONDS = 10.0
_POLL_SECONDS = 0.01

# DM_UDEV_PRIMARY_SOURCE_FLAG: the event is genuine. DM_UDEV_DISABLE_{SUBSYSTEM,DISK,OTHER}_RULES_FLAG: no blkid, LVM or
# watch on a guest's disk; they would read the guest's data and open the device. The lower half is the key of a
# semaphore: with 0, `dmsetup udevcomplete` has no effect (libdevmapper.h; _udevcomplete in dmsetup.c).
COOKIE = (0x0040 | 0x0002 | 0x0004 | 0x0008) << 16


def device_number(path: str) -> str:
    """The `major:minor` of a block device; StateError when there is none at that path."""
    try:
        found = Path(path).stat()
    except OSError as error:
        raise StateError(f"this host has no device {path}: {error.strerror}") from None
    if not stat.S_ISBLK(found.st_mode):
        raise StateError(f"{path} of this host is not a block device")
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"


def node_of(number: str) -> str:
    """The kernel node of a `major:minor`; the number itself without a device."""
    try:
        return "/dev/" + Path(f"/sys/dev/block/{number}").resolve(strict=True).name.replace("!", "/")
    except OSError:
        return number


def length_sectors(number: str) -> int:
    """Length of a block device in sectors of 512 bytes, from sysfs: opening a zvol would cost a ZFS transaction."""
    return int(Path(f"/sys/dev/block/{number}/size").read_text("ascii"))


def ensure_node(name: str, number: str) -> None:
    """Wait for the link /dev/mapper/<name> of udev; create it without udev or at the deadline."""
    deadline = Deadline(_UDEV_SECONDS if _UDEV.exists() else 0)
    while _number_behind(name) != number:
        if deadline.passed():
            _create_link(name, number)
            return
        wait_seconds(_POLL_SECONDS)


def ensure_no_node(name: str) -> None:
    """Wait until udev removes /dev/mapper/<name>; remove it without udev or at the deadline."""
    deadline = Deadline(_UDEV_SECONDS if _UDEV.exists() else 0)
    link = MAPPER / name
    while os.path.lexists(link):
        if deadline.passed():
            link.unlink(missing_ok=True)
            return
        wait_seconds(_POLL_SECONDS)


def _number_behind(name: str) -> Optional[str]:
    try:
        return device_number(str(MAPPER / name))
    except StateError:
        return None


def _create_link(name: str, number: str) -> None:
    """Create the same link as udev."""
    node = Path(node_of(number))
    link, new = MAPPER / name, MAPPER / f".{name}.new"
    new.unlink(missing_ok=True)
    if node.exists():
        new.symlink_to(f"../{node.name}")
    else:  # without devtmpfs
        major, minor = (int(part) for part in number.split(":"))
        os.mknod(new, stat.S_IFBLK | 0o600, os.makedev(major, minor))
    new.replace(link)


# --- the ioctls on /dev/mapper/control -------------------------------------------------------------------------------
# Layout and numbers: include/uapi/linux/dm-ioctl.h, version 4.0.0 and later (`struct dm_ioctl`,
# `struct dm_target_spec`, `struct dm_name_list`), on architectures with asm-generic/ioctl.h.


CONTROL = "/dev/mapper/control"

LIST_DEVICES = 2
DEV_CREATE = 3
DEV_REMOVE = 4
DEV_SUSPEND = 6
DEV_STATUS = 7
TABLE_LOAD = 9
TABLE_CLEAR = 10
TABLE_STATUS = 12

READONLY_FLAG = 1 << 0
SUSPEND_FLAG = 1 << 1
STATUS_TABLE_FLAG = 1 << 4
ACTIVE_PRESENT_FLAG = 1 << 5
INACTIVE_PRESENT_FLAG = 1 << 6
BUFFER_FULL_FLAG = 1 << 8
SKIP_LOCKFS_FLAG = 1 << 10
QUERY_INACTIVE_TABLE_FLAG = 1 << 12

# version, data_size, data_start, target_count, open_count, flags, event_nr, padding, dev, name, uuid, data
_HEADER = struct.Struct("=3IIIIiIIIQ128s129s7x")
# sector_start, length, status, next, target_type
_TARGET = struct.Struct("=QQiI16s")
# dev, next
_NAME = struct.Struct("=QI")
# Python lets other threads run during an ioctl only when the buffer has at most 1024 bytes (fcntlmodule.c, 3.11)
_BUFFER_BYTES = 1024 - _HEADER.size
_MAX_BUFFER_BYTES = 4 * 1024 * 1024


class Reply(NamedTuple):
    """The kernel's answer; `number`: `major:minor` of the device, `data`: the part after the header."""

    flags: int
    open_count: int
    target_count: int
    number: str
    uuid: str
    data: bytes


class Control:
    """/dev/mapper/control, opened. OSError of the kernel (ENXIO: no such device), FileNotFoundError without it."""

    def __init__(self) -> None:
        self._file = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def call(
        self,
        command: int,
        name: str,
        flags: int = 0,
        uuid: str = "",
        targets: Sequence[Target] = (),
        event: int = 0,
    ) -> Reply:
        """One ioctl; repeated with a larger buffer when the answer does not fit."""
        buffer_bytes = _BUFFER_BYTES
        while True:
            message = pack_request(name, flags, uuid, targets, event, buffer_bytes)
            fcntl.ioctl(self._file, request_number(command), message)
            reply = unpack_reply(bytes(message))
            if not reply.flags & BUFFER_FULL_FLAG:
                return reply
            if buffer_bytes >= _MAX_BUFFER_BYTES:
                raise OSError(errno.EMSGSIZE, "the answer of the kernel is too long")
            buffer_bytes *= 4

    def names(self) -> List[str]:
        """Every device-mapper device."""
        return list(unpack_names(self.call(LIST_DEVICES, "").data))

    def status(self, name: str) -> Optional[Reply]:
        """A device without its table, or None."""
        try:
            return self.call(DEV_STATUS, name)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise

    def targets(self, name: str, flags: int) -> Tuple[Target, ...]:
        """The targets of the live table (or, by flag, of the inactive one), with parameters or status."""
        reply = self.call(TABLE_STATUS, name, flags)
        return tuple(unpack_targets(reply.data, reply.target_count))


def request_number(command: int) -> int:
    """_IOWR(DM_IOCTL, command, struct dm_ioctl)."""
    return 3 << 30 | _HEADER.size << 16 | 0xFD << 8 | command


def pack_request(
    name: str, flags: int, uuid: str, targets: Sequence[Target], event: int, buffer_bytes: int
) -> bytearray:
    """A request with at least `buffer_bytes` for data, and the targets of a table."""
    data = b"".join(pack_target(target) for target in targets)
    message = bytearray(_HEADER.size + max(buffer_bytes, len(data)))
    size, start = len(message), _HEADER.size
    _HEADER.pack_into(
        message, 0, 4, 0, 0, size, start, len(targets), 0, flags, event, 0, 0, name.encode(), uuid.encode()
    )
    message[start : start + len(data)] = data
    return message


def pack_target(target: Target) -> bytes:
    """A target: its parameters end with a zero byte, its length is a multiple of 8; the next one follows it."""
    parameters = target.parameters.encode() + b"\0"
    size = -(-(_TARGET.size + len(parameters)) // 8) * 8
    head = _TARGET.pack(target.start_sector, target.length_sectors, 0, size, target.target_type.encode())
    return (head + parameters).ljust(size, b"\0")


def unpack_reply(message: bytes) -> Reply:
    """The kernel's answer."""
    fields = _HEADER.unpack_from(message)
    size, start, rows, opened, flags = fields[3:8]
    number = fields[10]
    return Reply(
        flags, opened, rows, f"{os.major(number)}:{os.minor(number)}", _text(fields[12]), message[start:size]
    )


def unpack_targets(data: bytes, count: int) -> Iterator[Target]:
    """The targets of a table; `next` is relative to the first target."""
    at = 0
    for _ in range(count):
        start, length, _, following, kind = _TARGET.unpack_from(data, at)
        yield Target(start, length, _text(kind), _text(data[at + _TARGET.size :]))
        at = following


def unpack_names(data: bytes) -> Iterator[str]:
    """The names of a list; `next` is relative to each entry, 0 in the last. Without devices, `dev` is 0."""
    at = 0
    while len(data) >= at + _NAME.size:
        device, following = _NAME.unpack_from(data, at)
        if device != 0:
            yield _text(data[at + _NAME.size :])
        if following == 0:
            return
        at += following


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")
