"""The root folder of a machine of the lab: built in its new mount namespace, so that no program inside writes to the
machine outside.

| folders | inside |
|---|---|
| those of FOLDERS | stored in the state folder |
| `/dev`, `/proc`, `/sys`, `/run` | the machine's own: few devices, its processes, its network (read-only) |
| `/usr`, `/boot` and the like | read-only |
| `/home`, `/root`, `/tmp`, `/mnt`, `/media`, the checkout, the state folder | as outside: the user's files |
| every other folder, `/etc` and `/var` among them | as outside when the machine starts; changes end with the machine |
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab import system_calls
from rocks.core.errors import HostError

FOLDERS: Mapping[str, int] = {
    "/var/lib/rocks": 0o700,
    "/etc/libvirt": 0o755,
    "/etc/rocks": 0o755,
    "/opt/rocks": 0o755,
    "/run/libvirt": 0o755,
    "/run/sshd": 0o755,
    "/var/cache/libvirt": 0o711,
    "/var/lib/libvirt": 0o711,
    "/var/lib/rocks-images": 0o711,
    "/var/log/libvirt": 0o700,
    "/var/opt/rocks": 0o755,
}
"""Folders that a machine has in its state folder, and their modes."""

_KERNEL = ("dev", "proc", "sys", "run")
_READ_ONLY = ("usr", "boot", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_USER = ("home", "root", "tmp", "mnt", "media")
_IGNORED = ("lost+found",)
_DEVICES = ("full", "null", "random", "tty", "urandom", "zero", "kvm", "net/tun", "vhost-net")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "fd/0",
    "stdout": "fd/1",
    "stderr": "fd/2",
    "ptmx": "pts/ptmx",
}


def build(place: Path, state_root: Path, visible: Iterable[Path]) -> None:
    """Make the root folder at `place`, an empty folder, from the present one. HostError when a mount fails.

    `state_root` has the machine's folders; each of `visible` is seen inside where it is outside, and writable.
    The caller is in a mount namespace of its own and changes to `place` afterwards.
    """
    os.umask(0o022)
    system_calls.mount("rocks-root", place, "tmpfs", options="mode=755")
    layers = place / ".layers"
    layers.mkdir(mode=0o700)
    with os.scandir("/") as entries:
        for entry in entries:
            _add(place, layers, entry)
    _add_kernel_folders(place)
    for path in visible:
        _show(place, path)
    for folder in FOLDERS:
        target = place / folder.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        system_calls.bind(state_root / folder.lstrip("/"), target)


def _add(place: Path, layers: Path, entry: os.DirEntry[str]) -> None:
    target = place / entry.name
    if entry.is_symlink():
        target.symlink_to(Path(entry.path).readlink())
    elif entry.is_dir() and entry.name not in (*_KERNEL, *_IGNORED):
        target.mkdir()
        if entry.name in _USER:
            system_calls.bind(entry.path, target)
        elif entry.name in _READ_ONLY:
            _bind_read_only(entry.path, target)
        else:
            _add_layered(entry.path, place, layers)


def _add_layered(folder: str, place: Path, layers: Path) -> None:
    """The folder and each file system mounted below it, with changes that stay in memory."""
    for number, point in enumerate((folder, *system_calls.mount_points_below(folder))):
        target = place / point.lstrip("/")
        if not target.is_dir() or not Path(point).is_dir():
            if target.exists():
                _bind_read_only(point, target)
            continue
        upper, work = (layers / f"{Path(folder).name}-{number}-{kind}" for kind in ("upper", "work"))
        upper.mkdir()
        work.mkdir()
        status = Path(point).stat()
        os.chown(upper, status.st_uid, status.st_gid)
        upper.chmod(status.st_mode & 0o7777)
        options = f"lowerdir={_option(point)},upperdir={_option(str(upper))},workdir={_option(str(work))}"
        try:
            system_calls.mount("overlay", target, "overlay", options=options)
        except HostError:
            if point == folder:
                raise  # without overlayfs, or on a root file system that cannot be a lower layer
            _bind_read_only(point, target)


def _bind_read_only(source: str, target: Path) -> None:
    system_calls.bind(source, target)
    for point in (str(target), *system_calls.mount_points_below(str(target))):
        system_calls.make_read_only(point)


def _add_kernel_folders(place: Path) -> None:
    for name in _KERNEL:
        (place / name).mkdir()
    system_calls.mount("proc", place / "proc", "proc")
    _protect_kernel_settings(place / "proc")
    system_calls.mount("sysfs", place / "sys", "sysfs", system_calls.READ_ONLY)
    system_calls.mount("run", place / "run", "tmpfs", options="mode=755")
    (place / "run/lock").mkdir()  # /var/lock, where virsh locks a guest's console
    (place / "run/lock").chmod(0o1777)
    system_calls.mount("dev", place / "dev", "tmpfs", options="mode=755")
    _add_devices(place / "dev")


def _protect_kernel_settings(proc: Path) -> None:
    """Make what belongs to the machine outside read-only; `/proc/sys/net` is that of the machine's own network."""
    system_calls.bind(proc / "sys/net", proc / "sys/net")
    for name in ("sys", "sysrq-trigger"):
        if (proc / name).exists():
            system_calls.bind(proc / name, proc / name)
            system_calls.make_read_only(proc / name)


def _add_devices(devices: Path) -> None:
    (devices / "net").mkdir()
    for name in _DEVICES:
        if Path("/dev", name).exists():
            (devices / name).touch()
            system_calls.bind(f"/dev/{name}", devices / name)
    for name, destination in _DEVICE_LINKS.items():
        (devices / name).symlink_to(destination)
    (devices / "pts").mkdir()
    system_calls.bind(
        "/dev/pts", devices / "pts"
    )  # those of the user's terminal, for commands that ask there
    _make_ptmx_usable(devices)
    (devices / "shm").mkdir()
    system_calls.mount("shm", devices / "shm", "tmpfs", options="mode=1777")


def _make_ptmx_usable(devices: Path) -> None:
    """Offer /dev/ptmx as outside, where it may be a node of its own that all users may open."""
    if not Path("/dev/ptmx").is_symlink():
        (devices / "ptmx").unlink()
        os.mknod(devices / "ptmx", 0o020666, os.makedev(5, 2))
        (devices / "ptmx").chmod(0o666)


def _show(place: Path, path: Path) -> None:
    target = place / str(path).lstrip("/")
    if not (target.exists() and target.samefile(path)):
        target.mkdir(parents=True, exist_ok=True)
        system_calls.bind(path, target)


def _option(path: str) -> str:
    """A path as a value in the options of overlayfs, where comma and colon part values."""
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")
