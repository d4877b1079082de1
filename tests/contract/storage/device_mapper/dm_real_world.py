"""A host's own device-mapper for the contract tests, over volumes of its ZFS pool `vmpool`."""

import contextlib
import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rocks.core.clock import Deadline
from rocks.core.errors import BusyError
from rocks.core.process import run_checked
from rocks.storage.device_mapper.dm_devices import DmDevices
from rocks.storage.device_mapper.ioctl import (
    DEV_CREATE,
    DEV_REMOVE,
    DEV_SUSPEND,
    SUSPEND_FLAG,
    TABLE_LOAD,
    Control,
)
from rocks.storage.device_mapper.tables import UUID_PREFIX, Linear, Switched, Table, Target, target_of
from rocks.storage.zfs.tool import zfs_when_free
from tests.contract.storage.device_mapper.dm_world import POOL, PREFIX
from tests.waiting import wait_until

_CHUNK = 8192
_SECONDS = 60.0


class _PatientDevices(DmDevices):
    """Tries a refused switch again, as the daemon does: the machine's disks may be slow. Unless the test slows them."""

    def __init__(self, is_slowed: Callable[[], bool]) -> None:
        super().__init__()
        self._is_slowed = is_slowed

    def switch(self, name: str, table: Table, live: Table) -> Switched:
        """As `DmDevices.switch`."""
        deadline = Deadline(_SECONDS)
        while True:
            try:
                return super().switch(name, table, live)
            except BusyError:
                if self._is_slowed() or deadline.passed():
                    raise
            time.sleep(0.5)


class RealWorld:
    """The kernel's device-mapper; volumes are ZFS's, for loop devices and files would bring a cache of their own."""

    def __init__(self) -> None:
        self.devices: DmDevices = _PatientDevices(lambda: self._restless is not None)
        self._volumes: list[str] = []
        self._opened: dict[str, int] = {}
        self._restless: tuple[str, threading.Thread] | None = None
        self.end()

    def volume(self, name: str, size_mb: int) -> str:
        dataset = f"{POOL}/{PREFIX}{name}"
        self._zfs("create", "-s", "-V", f"{size_mb}M", "-o", "volblocksize=8k", dataset)
        path = f"/dev/zvol/{dataset}"
        wait_until(lambda: Path(path).exists(), f"{path} did not come")
        return path

    def copy(self, volume: str, other: str) -> None:
        run_checked(
            ["dd", f"if={volume}", f"of={other}", "bs=1M", "iflag=direct", "oflag=direct", "conv=fsync"],
            deadline_seconds=_SECONDS,
        )

    def extend(self, volume: str, size_mb: int) -> None:
        self._zfs("set", f"volsize={size_mb}M", volume[len("/dev/zvol/") :])

    def write(self, path: str, chunk: int, text: str) -> None:
        with mmap.mmap(-1, _CHUNK) as buffer:
            buffer.write(text.encode().ljust(_CHUNK, b"\0"))
            _with_device(path, os.O_RDWR, lambda file: os.pwrite(file, buffer, chunk * _CHUNK))

    def read_chunk(self, path: str, chunk: int) -> str:
        with mmap.mmap(-1, _CHUNK) as buffer:
            _with_device(path, os.O_RDONLY, lambda file: os.preadv(file, [buffer], chunk * _CHUNK))
            return buffer[:].rstrip(b"\0").decode("ascii", "replace")

    def finish_merge(self, name: str) -> None:
        def is_merged() -> bool:
            fact = self.devices.read(name)
            return fact is not None and fact.status is not None and fact.status.is_merged

        wait_until(is_merged, f"{name} was not merged")

    def invalidate(self, name: str, cow: str) -> None:
        """The header's flag is what the kernel would clear; it is read when the device is created again."""
        fact = self.devices.read(name)
        self.devices.ensure_gone(name, Deadline(_SECONDS))
        with mmap.mmap(-1, 4096) as buffer:
            _with_device(cow, os.O_RDONLY, lambda file: os.preadv(file, [buffer], 0))
            buffer[4:8] = b"\0\0\0\0"
            _with_device(cow, os.O_RDWR, lambda file: os.pwrite(file, buffer, 0))
        self.devices.ensure(name, fact.table)  # type: ignore[arg-type]

    def open(self, name: str) -> None:
        self._opened[name] = os.open(f"/dev/mapper/{name}", os.O_RDWR)

    def close(self, name: str) -> None:
        os.close(self._opened.pop(name))

    def make_foreign(self, name: str, table: Linear) -> None:
        with Control() as control:
            control.call(DEV_CREATE, name, uuid="LVM-other")
            control.call(TABLE_LOAD, name, targets=[Target(0, table.length_sectors, *target_of(table))])
            control.call(DEV_SUSPEND, name)

    def leave_empty(self, name: str) -> None:
        with Control() as control:
            control.call(DEV_CREATE, name, uuid=UUID_PREFIX + name)

    def leave_loaded(self, name: str, loaded: Table) -> None:
        self.leave_empty(name)
        with Control() as control:
            control.call(TABLE_LOAD, name, targets=[Target(0, loaded.length_sectors, *target_of(loaded))])

    def leave_suspended(self, name: str, loaded: Table) -> None:
        with Control() as control:
            control.call(TABLE_LOAD, name, targets=[Target(0, loaded.length_sectors, *target_of(loaded))])
            control.call(DEV_SUSPEND, name, SUSPEND_FLAG)

    def make_restless(self, name: str, below: str) -> None:
        with Control() as control:
            control.call(DEV_SUSPEND, below, SUSPEND_FLAG)
        thread = threading.Thread(target=lambda: self.write(f"/dev/mapper/{name}", 1, "late"), daemon=True)
        thread.start()
        self._restless = below, thread
        time.sleep(1.0)  # until the write has got as far as it can

    def calm(self) -> None:
        assert self._restless is not None
        below, thread = self._restless
        with Control() as control:
            control.call(DEV_SUSPEND, below)
        thread.join(_SECONDS)
        assert not thread.is_alive()
        self._restless = None

    def end(self) -> None:
        if self._restless is not None:
            self.calm()
        for name in list(self._opened):
            self.close(name)
        wait_until(_are_devices_gone, "devices of these tests are in use")
        listed = run_checked(["zfs", "list", "-H", "-o", "name", "-t", "volume"], deadline_seconds=_SECONDS)
        for dataset in listed.text.split():
            if dataset.startswith(f"{POOL}/{PREFIX}"):
                zfs_when_free("destroy", dataset)

    def _zfs(self, *arguments: str) -> None:
        run_checked(["zfs", *arguments], deadline_seconds=_SECONDS)


def _are_devices_gone() -> bool:
    """Whether none is left; takes away those that are free, for an origin goes after what stands on it."""
    with Control() as control:
        for name in _own_devices(control):
            with contextlib.suppress(OSError):
                control.call(DEV_REMOVE, name)
        return not _own_devices(control)


def _own_devices(control: Control) -> list[str]:
    return [name for name in control.names() if name.startswith(PREFIX)]


def _with_device(path: str, flags: int, work: Callable[[int], int]) -> None:
    file = os.open(path, flags | os.O_DIRECT | os.O_SYNC)
    try:
        work(file)
    finally:
        os.close(file)
