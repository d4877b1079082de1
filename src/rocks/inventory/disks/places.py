"""Where disks of guests may be: image directories and device patterns, never those of the host's own system. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.errors import CLASSES, Code, StateError, UserError
from rocks.core.names import in_quotes, printable
from rocks.fleet.wire.requests import DiskSpec

if TYPE_CHECKING:
    from rocks.core.errors import RocksError
    from rocks.inventory.records import Disk, Host, VirtualMachine


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


# Where disks of guests may be on their host: image directories and device patterns of its attributes. Pure.


IMAGE_FOLDER = "kvm/disks"
"""The folder below a host's largest partition, when the site has no folder for images."""

DIRECTORIES, DEVICES = "vm_image_directories", "vm_disk_devices"
_MEDIA = ("/dev/cdrom", "/dev/sr[0-9]")


def image_directories(container: Host) -> tuple[str, ...]:
    """The folders for images on the host: where new ones go by default, and those of `vm_image_directories`.

    Folders of the host's system are left out, which an earlier release let a site set.
    """
    default = container.attribute("vm_image_directory")
    of_mounts = [] if default else [f"{mount.rstrip('/')}/{IMAGE_FOLDER}" for mount in container.mounts]
    texts = (text.strip() for text in [default, *container.attribute(DIRECTORIES).split(",")])
    of_site = [text for text in texts if text.startswith("/") and not is_system_folder(text)]
    return tuple(dict.fromkeys(place.rstrip("/") for place in [*of_mounts, *of_site]))


def device_patterns(container: Host) -> tuple[str, ...]:
    """The patterns of `vm_disk_devices`, without those that may match all disks of the host."""
    texts = (text.strip() for text in container.attribute(DEVICES).split(","))
    return tuple(text for text in texts if text and not is_too_wide(text))


def directory_of(container: Host, path: str) -> str | None:
    """The image directory that the file is below, the longest of several; None when there is none."""
    found = [place for place in image_directories(container) if path.startswith(f"{place}/")]
    return max(found, key=len) if found else None


def is_allowed_device(container: Host, path: str) -> bool:
    """Whether a pattern names the device; a `*` stands for a part of one name."""
    return any(_matches(path, pattern) for pattern in device_patterns(container))


_NOT_STARTED = "is not started"


def place_disk(
    vm: VirtualMachine, container: Host, disk: Disk, made: DiskSpec, outcome: str = _NOT_STARTED
) -> DiskSpec:
    """`made` with the machine that the disk must belong to. StateError for a place where no disk may be.

    `outcome` is what messages say of the machine.
    """
    if disk.is_mapped:
        return replace(made, is_mapped=True)
    if disk.is_block:
        if not is_allowed_device(container, disk.path):
            raise _no_device(
                vm, container, f"its disk, the device {disk.path},", _disk_there(vm, disk), outcome
            )
        return replace(made, machine=vm.uuid)
    directory = directory_of(container, disk.path)
    if directory is None:
        raise _no_directory(vm, container, f"its disk {disk.path}", _disk_there(vm, disk), outcome)
    return replace(made, machine=vm.uuid, directory=directory)


def medium_of(vm: VirtualMachine, container: Host, outcome: str = _NOT_STARTED) -> tuple[DiskSpec, ...]:
    """The CD image of the machine, if it has one. StateError as `place_disk`."""
    path = vm.cdrom_path
    if not path:
        return ()
    made = DiskSpec(path, "raw", 0, path.startswith("/dev/"), is_cdrom=True)
    if made.is_block:
        if not is_allowed_device(container, path) and not any(_matches(path, pattern) for pattern in _MEDIA):
            raise _no_device(vm, container, f"its CD, the device {path},", _cd_there(vm), outcome)
        return (made,)
    directory = directory_of(container, path)
    if directory is None:
        raise _no_directory(vm, container, f"its CD image {path}", _cd_there(vm), outcome)
    return (replace(made, directory=directory),)


def with_image_remedy(
    vm: VirtualMachine, error: RocksError, outcome: str = _NOT_STARTED, another: str = ""
) -> RocksError:
    """The error of a disk that is not the machine's, with the commands that settle it; `outcome` as of `place_disk`.

    `another` says how to use another disk, where the disk is not recorded yet.
    """
    host = vm.container.name if vm.container is not None else "HOST"
    disk = next((disk for disk in vm.disks if f"disk {disk.path} " in str(error)), None)
    word = "FILE" if disk is None else in_quotes(disk.path)
    another = another or another_disk(vm, disk)
    is_given = (
        f"it is the disk of {vm.name}"
        if error.code is Code.IMAGE_UNOWNED
        else f"that machine is removed and {vm.name} may have its content"
    )
    return CLASSES[error.family](
        f"{vm.name} {outcome}: {error}. rocks list host image {host} shows whose it is; if {is_given}: "
        f"rocks set host image {host} {word} vm={vm.name}; if it is not needed any more: rocks remove host image "
        f"{host} {word}; to use another disk: {another}",
        code=error.code,
    )


def _disk_there(vm: VirtualMachine, disk: Disk) -> str:
    """How the machine gets a disk in an allowed place, if the disk is its own; else where to name one."""
    return f"Give it a disk there: {another_disk(vm, disk)}" if disk in vm.disks else "Name one there"


def another_disk(vm: VirtualMachine, disk: Disk | None) -> str:
    """The commands by which the machine gets another disk for this one; None: for one that is not known.

    `set host vm` replaces all disks: with one of several it would take the others away.
    """
    if disk is not None and disk != vm.disks[0]:
        return (
            f"rocks remove host vm disk {vm.name} {disk.device}, then rocks add host vm disk {vm.name} disk=…"
        )
    others = " with all its disks" if len(vm.disks) > 1 else ""
    return f"rocks set host vm {vm.name} disk=…{others}"


def _cd_there(vm: VirtualMachine) -> str:
    return f"Give it a CD there: rocks set host vm cdrom {vm.name} cdrom=…"


def _no_directory(vm: VirtualMachine, container: Host, what: str, remedy: str, outcome: str) -> StateError:
    """The remedy names the attribute and no value: who copies a command would give the guest a file of the host."""
    there = ", ".join(image_directories(container)) or "it has none"
    texts = [container.attribute("vm_image_directory"), *container.attribute(DIRECTORIES).split(",")]
    ignored = [text.strip() for text in texts]
    ignored = [text for text in ignored if text.startswith("/") and is_system_folder(text)]
    return StateError(
        f"{vm.name} {outcome}: {what} is outside the image directories of {container.name} ({there}"
        f"{_ignored(ignored)}). {remedy}; to add a directory, see the attribute {DIRECTORIES}",
    )


def _no_device(vm: VirtualMachine, container: Host, what: str, remedy: str, outcome: str) -> StateError:
    """As `_no_directory`."""
    there = ", ".join(device_patterns(container)) or "it has none"
    ignored = [text.strip() for text in container.attribute(DEVICES).split(",")]
    ignored = [text for text in ignored if text and is_too_wide(text)]
    return StateError(
        f"{vm.name} {outcome}: {what} is not a device for guests of {container.name} ({there}{_ignored(ignored)}). "
        f"{remedy}; to add a device, see the attribute {DEVICES}",
    )


def _ignored(texts: list[str]) -> str:
    return f"; not counted, since it belongs to the host's system: {', '.join(texts)}" if texts else ""


def _matches(path: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase  # late: for block devices and drives

    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))
