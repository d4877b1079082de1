"""Which folders and device patterns a site may give to guests: never those of the host's own system. Pure."""

from __future__ import annotations

import re

from rocks.core.errors import UserError
from rocks.core.names import printable

SYSTEM_FOLDERS = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/run"),
    *("/sbin", "/sys", "/usr"),
    *("/var/backups", "/var/cache", "/var/lock", "/var/log", "/var/mail", "/var/run", "/var/spool"),
    *("/var/lib/dpkg", "/var/lib/mysql", "/var/lib/rabbitmq", "/var/lib/rocks", "/var/lib/rpm"),
    *("/var/lib/libvirt/qemu", "/var/lib/systemd"),
)
"""Folders whose files belong to the host, at any depth."""

_SHARED_FOLDERS = ("/home", "/opt", "/opt/rocks", "/tmp", "/var/tmp")
"""Folders that contain files of many: a folder below them may be for images."""

_WILDCARD = re.compile(r"[*?\[]")
_GUEST_DISKS = ("drbd", "rbd", "nbd", "zd")
"""How devices directly below /dev begin that are no disks of the host by their kind."""

_NAMES_OF_ALL = ("by-diskseq", "by-id", "by-path", "by-uuid")
"""Folders of /dev/disk in which the names of all disks begin alike."""


def is_system_folder(path: str) -> bool:
    """Whether the folder belongs to the host's system: it is, contains or is below one, or has `..` in its path."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    plain = "/" + "/".join(parts)
    if ".." in parts or plain == "/" or plain in _SHARED_FOLDERS:
        return True
    return any(f"{plain}/".startswith(f"{own}/") or own.startswith(f"{plain}/") for own in SYSTEM_FOLDERS)


def is_too_wide(pattern: str) -> bool:
    """Whether the pattern may name disks of the host that nobody meant.

    Only the last name may have a wildcard. Directly below /dev it is one of `_GUEST_DISKS`; in /dev/mapper and
    /dev/disk text precedes the wildcard; where all disks of the host have similar names there is none.
    """
    _, *parts, name = pattern.split("/")
    if parts[:1] != ["dev"] or {"", ".", ".."} & {*parts, name} or _WILDCARD.search("".join(parts)):
        return True
    found = _WILDCARD.search(name)
    if found is None:
        return False
    folders, before = parts[1:], name[: found.start()]
    if not folders:
        return not before.startswith(_GUEST_DISKS)
    if folders[0] in ("disk", "mapper"):
        return not before or folders == ["disk"] or folders[-1] in _NAMES_OF_ALL
    return folders[0] in ("block", "char")


def check_image_directory(path: str) -> None:
    """UserError unless the path is absolute and not a folder of the host's system."""
    if not path.startswith("/") or ".." in path.split("/") or not path.isprintable():
        raise UserError("it must be an absolute path")
    if is_system_folder(path):
        raise UserError(
            f"{printable(path)} belongs to the system of the host, and guests would get its files; make a folder for "
            "images alone, such as /var/lib/libvirt/images"
        )


def check_device_pattern(pattern: str) -> None:
    """UserError unless the pattern names devices below /dev, and not all disks of the host."""
    if not pattern.startswith("/dev/") or ".." in pattern.split("/"):
        raise UserError(
            "it must be patterns of devices below /dev, separated by commas: /dev/mapper/guests-*"
        )
    if is_too_wide(pattern):
        raise UserError(
            f"{printable(pattern)} may match disks of the host itself; name each device, or a pattern of guests' "
            "devices only: /dev/mapper/guests-*"
        )
