"""Image files and block devices of guests: opened safely, with their owners, formats and users."""

from __future__ import annotations

import contextlib
import errno
import grp
import hashlib
import json
import os
import pwd
import re
import shlex
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.core.files import remove_drafts, text_if_readable, write_file
from rocks.core.image_blocks import QCOW2
from rocks.fleet.host.state_folder import (
    Place,
    RecordKind,
    damaged,
    ensure_folder,
    read_json_record,
    remove_record,
)
from rocks.machine.host.libvirt.driver import DomainDriver

# The user and group under which libvirt starts QEMU on this host.

CONFIGURATION = Path("/etc/libvirt/qemu.conf")
_DEFAULT_USERS = ("libvirt-qemu", "qemu")
_SETTING = re.compile(r'^[ \t]*(user|group)[ \t]*=[ \t]*"([^"\n]+)"', re.MULTILINE)


class QemuOwner(NamedTuple):
    """`uid` of QEMU, and a group of it; each None where it is not known."""

    uid: Optional[int]
    gid: Optional[int]


def qemu_owner() -> QemuOwner:
    """From libvirt's configuration, else the account that a distribution makes for it."""
    try:
        settings = dict(_SETTING.findall(CONFIGURATION.read_text("utf-8", "replace")))
    except OSError:
        settings = {}
    users = (settings["user"],) if "user" in settings else _DEFAULT_USERS
    user = next((found for found in map(_user, users) if found is not None), None)
    if user is None:
        return QemuOwner(None, None)
    uid, name = user
    return QemuOwner(uid, _group(settings["group"]) if "group" in settings else _group_of(uid, name))


def _user(text: str) -> "Optional[tuple[int, str]]":
    try:
        if text.lstrip("+").isdigit():
            return int(text.lstrip("+")), ""
        return pwd.getpwnam(text).pw_uid, text
    except (KeyError, ValueError):
        return None


def _group(text: str) -> Optional[int]:
    try:
        return int(text.lstrip("+")) if text.lstrip("+").isdigit() else grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        return None


def _group_of(uid: int, name: str) -> Optional[int]:
    """The group of the same name if the user is a member: Debian's primary group of it, kvm, has other members too."""
    try:
        own = grp.getgrnam(name)
        if name in own.gr_mem or pwd.getpwuid(uid).pw_gid == own.gr_gid:
            return own.gr_gid
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return None


# Opens files of guests so that no local user can lead this system, or QEMU after it, to another file.
#
# Every folder on the way belongs to root, and nobody else may change its entries. So no name on the way can change
# between a check here and the moment when QEMU opens the path. Below the image directory no symbolic link is followed.

FOLDER_MODE = 0o711
_QEMU_ONLY_MODE = 0o710
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_LINKS = 16
_MAX_PLACING_SECONDS = 1.0
_STICKY = stat.S_ISVTX
_FSTAB = Path("/etc/fstab")
_MOUNTED = Path("/proc/self/mountinfo")


def check_path(path: str) -> str:
    """The path itself. UserError unless it is absolute and normalized."""
    if not path.startswith("/") or "\0" in path or path != os.path.normpath(path):
        raise UserError(f"{path[:200]!r} is not an absolute, normalized path of a disk")
    return path


@contextmanager
def opened_folder(directory: str, below: str = "", *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder `below` the image directory; `make` creates what is missing.

    StateError when somebody other than root can change a name on the way, or for a symbolic link below the
    directory; OSError when a folder is missing.
    """
    descriptor = _open_directory(check_path(directory), make)
    try:
        where = directory
        for name in [part for part in below.split("/") if part]:
            where = f"{where.rstrip('/')}/{name}"
            if _target(descriptor, name) is not None:
                raise _is_link(where)
            descriptor = _enter(descriptor, name, where, make, is_image_folder=True)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_image_folder(path: str, directory: str, *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder of an image, in which only root changes names.

    `directory` is the image directory above it, '' for the folder itself. StateError for a path that is not below it;
    otherwise as `opened_folder`.
    """
    folder = check_path(path).rpartition("/")[0]
    directory = check_path(directory or folder or "/").rstrip("/")
    if not f"{folder}/".startswith(f"{directory}/"):
        raise StateError(f"{path} is not below the image directory {directory or '/'}")
    with opened_folder(directory or "/", folder[len(directory) :], make=make) as descriptor:
        check_closed(descriptor, folder or "/")
        yield descriptor


def open_file(folder: int, name: str, path: str) -> Optional[int]:
    """A descriptor of the regular file, opened to read; None when there is no such name.

    Drafts that killed writers left as its second name are removed.

    StateError for a symbolic link, for another kind of file, and for a file with more than one name.
    """
    try:
        before = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(before.st_mode):
        raise _is_link(path)
    if not stat.S_ISREG(before.st_mode):
        raise StateError(f"{path} is not an image file")
    descriptor = os.open(name, _FILE_FLAGS, dir_fd=folder)
    try:
        status = _status_with_one_name(descriptor, path)
        if (status.st_dev, status.st_ino) != (before.st_dev, before.st_ino):
            raise StateError(f"{path} was replaced while it was opened; try again")
        if status.st_nlink > 1:
            raise StateError(
                f"{path} is linked: the file has {status.st_nlink} names, so others can reach it; copy it to a file of "
                "its own"
            )
        _check_same(path, status)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _status_with_one_name(descriptor: int, path: str) -> os.stat_result:
    """The file's status, after a moment in which another process may be between link(2) and unlink(2) of its draft.

    A process that was killed between them has left its draft as a second name, which is removed.
    """
    end_at = monotonic_seconds() + _MAX_PLACING_SECONDS
    while (status := os.fstat(descriptor)).st_nlink > 1 and monotonic_seconds() < end_at:
        remove_drafts(Path(path))
        time.sleep(0.02)
    return status


def check_mounted(path: str) -> None:
    """StateError for a missing file where a file system of /etc/fstab is not mounted: the file may be on it."""
    if os.path.lexists(path):
        return
    place = os.path.realpath(path)
    mounted = {_unescaped(line.split()[4]) for line in _lines(_MOUNTED)}
    for fields in (line.split() for line in _lines(_FSTAB)):
        if len(fields) < 3 or fields[0].startswith("#") or not fields[1].startswith("/"):
            continue
        point = _unescaped(fields[1])
        if (point.rstrip("/") or "/") in mounted:
            continue  # not touched: the server of another file system may not answer
        folder = os.path.realpath(point)
        if folder != "/" and place.startswith(f"{folder}/") and folder not in mounted:
            raise StateError(
                f"{path} is not created: the file system of {point} is not mounted, and may have it; run "
                f"`mount {shlex.quote(point)}` on the host"
            )


def _unescaped(point: str) -> str:
    """A mount point as both tables have it: `\\040` is a space (fstab(5), proc_pid_mountinfo(5))."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)


def _lines(table: Path) -> "list[str]":
    try:
        return table.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def check_owner(path: str, status: os.stat_result) -> None:
    """StateError unless the file belongs to root or to QEMU's user."""
    if status.st_uid not in (*_trusted(), qemu_owner().uid):
        raise StateError(f"{path} belongs to user {status.st_uid}, who may have it open; copy it as root")


def _check_same(path: str, status: os.stat_result) -> None:
    """QEMU will open the path itself, as the kernel resolves it."""
    named = Path(path).stat()
    if (named.st_dev, named.st_ino) != (status.st_dev, status.st_ino):
        raise StateError(f"{path} leads to another file than its folders do; give the path without links")


def _open_directory(path: str, make: bool) -> int:
    """Follow the path from the root; a symbolic link in it starts again with its target."""
    for _ in range(_MAX_LINKS):
        found = _follow(path, make)
        if isinstance(found, int):
            return found
        path = found
    raise StateError(f"{path[:200]} has too many symbolic links")


def _follow(path: str, make: bool) -> "int | str":
    """A descriptor of the folder, or the path to follow instead after the first symbolic link."""
    parts = [part for part in path.split("/") if part]
    descriptor = os.open("/", _FOLDER_FLAGS)
    try:
        for number, name in enumerate(parts):
            where = "/" + "/".join(parts[: number + 1])
            target = _target(descriptor, name)
            if target is not None:
                _check_entry(descriptor, name, where)
                beside = Path(where).parent
                os.close(descriptor)
                descriptor = -1
                return os.path.normpath(beside.joinpath(target, *parts[number + 1 :]))
            descriptor = _enter(descriptor, name, where, make, is_image_folder=number == len(parts) - 1)
        found, descriptor = descriptor, -1
        return found
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _enter(folder: int, name: str, where: str, make: bool, *, is_image_folder: bool) -> int:
    """A descriptor of the folder inside, instead of that of the one around it, which is closed on success."""
    try:
        inner = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
        inner = _create_folder(folder, name, is_image_folder)
    try:
        _check_entry(folder, name, where)
    except BaseException:
        os.close(inner)
        raise
    os.close(folder)
    return inner


def _create_folder(folder: int, name: str, is_image_folder: bool) -> int:
    """Make it so that only QEMU enters a folder of images. One that exists is the site's own, and stays as it is."""
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return os.open(name, _FOLDER_FLAGS, dir_fd=folder)  # another process has just made it
    inner = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
    group = qemu_owner().gid if is_image_folder else None
    if group is None:
        os.fchmod(inner, FOLDER_MODE)
    else:
        os.fchown(inner, -1, group)
        os.fchmod(inner, _QEMU_ONLY_MODE)
    os.fsync(folder)
    return inner


def _target(folder: int, name: str) -> Optional[str]:
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _is_link(path: str) -> StateError:
    return StateError(
        f"{path} is a symbolic link, and disks are taken from image directories only; give its target"
    )


def _check_entry(folder: int, name: str, where: str) -> None:
    """StateError when somebody other than root can replace this entry of the folder."""
    around, entry = os.fstat(folder), os.stat(name, dir_fd=folder, follow_symlinks=False)
    is_sticky = bool(around.st_mode & _STICKY) and entry.st_uid in _trusted()
    is_open = around.st_mode & 0o002 or (around.st_mode & 0o020 and around.st_gid != 0)
    if around.st_uid not in _trusted() or (is_open and not is_sticky):
        raise _unsafe(str(Path(where).parent), around)


def check_closed(folder: int, path: str) -> None:
    """StateError when somebody other than root can change the entries of the folder itself."""
    status = os.fstat(folder)
    if (
        status.st_uid not in _trusted()
        or status.st_mode & 0o002
        or (status.st_mode & 0o020 and status.st_gid != 0)
    ):
        raise _unsafe(path, status)


def _unsafe(path: str, status: os.stat_result) -> StateError:
    return StateError(
        f"{path} is not safe for disk images: others than root can change its entries (owner {status.st_uid}, mode "
        f"{stat.S_IMODE(status.st_mode):04o}); make it root's and writable by root only, or use another folder"
    )


def _trusted() -> "tuple[int, ...]":
    """Root; a test without root trusts itself."""
    return (0, os.geteuid())


# The machine that an image file or block device belongs to: its UUID, which only root can write.
#
# A file has it in the extended attribute `trusted.rocks.machine`, which goes along when the file is renamed or copied
# by root with its attributes. The kernel lets only the superuser of the host read or write attributes of that kind. A
# file system without them (NFS) has a record in the state folder, valid for that path and inode. A block device has a
# record under its stable identity.

ATTRIBUTE = "trusted.rocks.machine"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_WITHOUT = (errno.ENOTSUP, errno.EPERM, errno.ENOSPC)


def is_uuid(text: str) -> bool:
    """Whether the text is a UUID in lower case."""
    return _UUID.match(text) is not None


_KIND = RecordKind(
    "the record of an image's owner",
    "`rocks list host image HOST` on the frontend shows whose image it is; remove the file when that is settled",
)


class ImageOwners:
    """Owners of files, and the folder `images` of the state folder."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = Place.IMAGES.below(state_folder)

    def of_file(self, descriptor: int, path: str) -> Optional[str]:
        """The UUID, None for a file that nobody is known to own. HostError for a mark that cannot be read."""
        try:
            return os.getxattr(descriptor, ATTRIBUTE).decode("ascii", "replace")
        except OSError as error:
            if error.errno not in (errno.ENODATA, *_WITHOUT):
                raise HostError(f"the owner of the image {path} cannot be read: {error.strerror}") from None
        record = _read(self._record("file", path))
        is_same = record.get("inode") == os.fstat(descriptor).st_ino
        return str(record["machine"]) if is_same and "machine" in record else None

    @staticmethod
    def has_owner_attributes(descriptor: int) -> bool:
        """Whether the file system keeps marks, so that a file without one has never had one here. OSError."""
        try:
            os.getxattr(descriptor, ATTRIBUTE)
        except OSError as error:
            return error.errno == errno.ENODATA
        return True

    def set_file(self, descriptor: int, path: str, machine: str) -> None:
        """Record that the file belongs to the machine. OSError, HostError."""
        try:
            os.setxattr(descriptor, ATTRIBUTE, machine.encode())
        except OSError as error:
            if error.errno not in _WITHOUT:
                raise
            self._write(
                "file", path, {"path": path, "inode": os.fstat(descriptor).st_ino, "machine": machine}
            )

    def of_device(self, identity: str) -> Optional[str]:
        """The UUID of the machine that a block device belongs to. IncoherentError for a damaged record."""
        machine = _read(self._record("device", identity)).get("machine")
        return None if machine is None else str(machine)

    def set_device(self, identity: str, path: str, machine: str) -> None:
        """Record that the device belongs to the machine. HostError."""
        self._write("device", identity, {"path": path, "identity": identity, "machine": machine})

    def forget(self, kind: str, key: str) -> None:
        """Remove the record of a file's path (`file`) or a device's identity (`device`), if there is one. HostError."""
        remove_record(self._record(kind, key))

    def devices(self) -> List[Dict[str, str]]:
        """The records of block devices: path, identity, machine. Damaged ones are left out."""
        if not self._folder.is_dir():
            return []
        found = []
        for path in sorted(self._folder.glob("device-*.json")):
            with contextlib.suppress(RocksError):
                found.append({key: str(value) for key, value in _read(path).items()})
        return [record for record in found if "machine" in record]

    def _write(self, kind: str, key: str, record: "Dict[str, object]") -> None:
        ensure_folder(self._folder)
        write_file(self._record(kind, key), json.dumps(record) + "\n")

    def _record(self, kind: str, key: str) -> Path:
        return self._folder / f"{kind}-{hashlib.sha256(os.fsencode(key)).hexdigest()[:40]}.json"


def _read(path: Path) -> Dict[str, Any]:
    """The record; empty when there is none. IncoherentError for a damaged one: its image would count as nobody's."""
    value = read_json_record(path, _KIND)
    if value is None:
        return {}
    if not isinstance(value, dict) or not isinstance(value.get("machine"), str):
        raise damaged(path, _KIND, "field machine: missing")
    return value


# Headers of images: no image of a guest refers to another file.

_QED = b"QED\0"
_QCOW2_EXTERNAL_DATA = 1 << 2
_QED_BACKING = 1


def check_refers_to_nothing(descriptor: int, path: str, format: str) -> None:
    """StateError when the image has a backing file or an external data file, or is not of its format.

    QEMU would open the other file with the rights that libvirt gives it. The first bytes of a raw image are the
    guest's own, and mean nothing: its format is fixed in the XML.
    """
    header = os.pread(descriptor, 80, 0)
    if format == "qcow2":
        if header[:4] != QCOW2:
            raise StateError(f"{path} is not a qcow2 image; its type in disk= must be that of the file")
        backing, version = _number(header[8:16]), _number(header[4:8])
        features = _number(header[72:80]) if version >= 3 else 0
        if backing or features & _QCOW2_EXTERNAL_DATA:
            raise _refers(path)
    if format == "qed":
        if header[:4] != _QED:
            raise StateError(f"{path} is not a qed image; its type in disk= must be that of the file")
        if int.from_bytes(header[16:24], "little") & _QED_BACKING:
            raise _refers(path)


def qcow2_bytes(path: Path) -> int:
    """The size of a qcow2 image as its guest sees it. OSError."""
    with path.open("rb") as image:
        return _number(image.read(32)[24:])


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _refers(path: str) -> StateError:
    return StateError(
        f"the image {path} refers to another file (a backing file or a data file), which guests may not have; make it "
        f"whole: qemu-img convert -O qcow2 {path} NEW"
    )


# Block devices of guests: nothing that the host itself uses, under an identity that outlives a boot.

_SYSFS = Path("/sys/dev/block")
_ZFS_LINKS = Path("/dev/zvol")
_UNSTABLE = "name="
_SERIALS = ("dm/uuid", "wwid", "device/wwid", "serial", "device/serial", "loop/backing_file", "dm/name")
_FLAGS = os.O_RDONLY | os.O_EXCL | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class BlockDevice(NamedTuple):
    """A block device: its number, its size, and its stable identity."""

    number: int
    size_bytes: int
    identity: str


def check_device(path: str, *, is_mapped: bool = False) -> BlockDevice:
    """The device, which nothing on the host uses. StateError otherwise, and when there is none.

    udev's names below /dev are symbolic links and are followed. The device of an image that image storage has mapped
    (`is_mapped`) is exempt: device-mapper may hold it for the guest.
    """
    real = os.path.realpath(check_path(path))
    try:
        status = Path(real).stat()
    except OSError:
        raise StateError(f"there is no block device {path} on this host") from None
    if not stat.S_ISBLK(status.st_mode):
        raise StateError(f"{path} is not a block device")
    number = status.st_rdev
    if is_mapped:
        return BlockDevice(number, 0, "")
    if not real.startswith("/dev/"):
        raise StateError(f"{path} leads to {real}, outside of /dev; give the name of the device in /dev")
    with opened_folder(str(Path(real).parent)):
        pass  # only root may change a name on the way
    holder = _holder(number)
    if holder:
        raise _in_use(path, f"{holder} is built on it")
    return BlockDevice(number, _size_of_free(path, real, number), identity_of(number))


def identity_of(number: int) -> str:
    """A text that names the same device after a boot: UUID, WWID, serial number or ZFS volume, with the partition.

    A device that has none of them gets its name, which another device may have after a boot (`check_identity`).
    """
    folder = _folder(number)
    partition = text_if_readable(folder / "partition")
    base = folder.resolve().parent if partition else folder
    for name in _SERIALS:
        value = text_if_readable(base / name)
        if value:
            return f"{name}={value}" + (f",partition={partition}" if partition else "")
    name = folder.resolve().name
    volume = _zfs_volume(name)
    return f"zvol={volume}" if volume else f"{_UNSTABLE}{name}"


def check_identity(device: BlockDevice, path: str) -> None:
    """StateError for a device that may be another one after a boot: no record can say whose it is."""
    if device.identity.startswith(_UNSTABLE):
        raise StateError(
            f"the block device {path} has no UUID, WWID or serial number, so another device may have its name after a "
            "boot; give it a serial number, or use a volume of LVM or ZFS, or an image file"
        )


def _zfs_volume(name: str) -> Optional[str]:
    """The volume of a device of ZFS, from udev's links, which have the names of volumes."""
    for link in sorted(_ZFS_LINKS.rglob("*")):
        if os.path.realpath(link) == f"/dev/{name}":
            return str(link.relative_to(_ZFS_LINKS))
    return None


def _size_of_free(path: str, real: str, number: int) -> int:
    """The size. The kernel opens a device exclusively only if nothing has claimed it: mounts, swap, md, LVM, ZFS."""
    try:
        descriptor = os.open(real, _FLAGS)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _in_use(
                path, "it is mounted, used as swap, or part of LVM, md, device-mapper or ZFS"
            ) from None
        raise StateError(f"the block device {path} cannot be opened: {error.strerror}") from None
    try:
        if os.fstat(descriptor).st_rdev != number:
            raise StateError(f"{path} was replaced while it was opened; try again")
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def _in_use(path: str, why: str) -> StateError:
    return StateError(f"the host itself uses the block device {path}: {why}; give the machine another disk")


def _holder(number: int) -> Optional[str]:
    """A device built on this one or on a partition of it."""
    folder = _folder(number)
    names = [entry.name for entry in folder.glob("holders/*")]
    names += [entry.name for entry in folder.glob("*/holders/*")]
    return sorted(names)[0] if names else None


def _folder(number: int) -> Path:
    return _SYSFS / f"{os.major(number)}:{os.minor(number)}"


# Who uses an image: a domain that is defined with it, or a process that has it open.

_PROCESSES = Path("/proc")
ImageKey = Tuple[int, int]
"""Device and inode of a file; the number of a block device and -1."""


def key_of(status: os.stat_result) -> ImageKey:
    """The key under which every name of the image is the same."""
    return (status.st_rdev, -1) if stat.S_ISBLK(status.st_mode) else (status.st_dev, status.st_ino)


def users_of_images(domains: DomainDriver) -> Dict[ImageKey, str]:
    """Image → its user, for all domains, running or not, and all processes but this one. ToolError."""
    found: Dict[ImageKey, str] = dict(_open_files())
    for fact in domains.facts():
        try:
            paths = domains.document(fact.name).disks_and_cds
        except StateError:
            continue  # the domain has ended since
        found.update(dict.fromkeys(_keys(paths), fact.name))
    return found


def _keys(paths: Iterable[str]) -> List[ImageKey]:
    keys = []
    for path in paths:
        try:
            keys.append(key_of(Path(path).stat()))
        except OSError:
            continue  # the disk is gone
    return keys


def _open_files() -> List[Tuple[ImageKey, str]]:
    found = []
    for process in _PROCESSES.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        statuses = _statuses(process / "fd")
        kinds = [
            status for status in statuses if stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)
        ]
        found += [(key_of(status), f"process {process.name}") for status in kinds]
    return found


def _statuses(folder: Path) -> List[os.stat_result]:
    """The statuses of a process's open files; none when it ends.

    One that is closed meanwhile does not hide the others.
    """
    found: List[os.stat_result] = []
    try:
        entries = list(folder.iterdir())
    except OSError:
        return found
    for entry in entries:
        with contextlib.suppress(OSError):
            found.append(entry.stat())
    return found
