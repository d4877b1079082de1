"""Device-mapper devices: created, compared, switched below a running guest, and removed; on a host's kernel."""

from __future__ import annotations

import errno
import json
import os
import select
import struct
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    Iterator,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
)

import rocks
from rocks.core.clock import Deadline, monotonic_seconds, wait_seconds
from rocks.core.errors import BusyError, HostError, IncoherentError, StateError, ToolError
from rocks.core.process import start_with_pipes
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.device_mapper import ioctl
from rocks.storage.device_mapper.ioctl import (
    ACTIVE_PRESENT_FLAG,
    COOKIE,
    DEV_CREATE,
    DEV_REMOVE,
    DEV_SUSPEND,
    INACTIVE_PRESENT_FLAG,
    QUERY_INACTIVE_TABLE_FLAG,
    READONLY_FLAG,
    STATUS_TABLE_FLAG,
    SUSPEND_FLAG,
    TABLE_CLEAR,
    TABLE_LOAD,
    Control,
    Reply,
)
from rocks.storage.device_mapper.tables import (
    STALL_LIMIT_SECONDS,
    UUID_PREFIX,
    DmDeviceFact,
    ErrorTable,
    KnownTable,
    Linear,
    Overlay,
    SnapshotStatus,
    Switched,
    Table,
    Target,
    check_name,
    check_ours,
    check_reactivation,
    check_switch,
    check_table,
    describe,
    devices_of,
    needs_reactivation,
    no_device,
    not_extendable,
    not_suspended,
    other_table,
    parse_status,
    pieces_of,
    read_targets,
    shared_cow,
    still_open,
    target_of,
    too_short,
    with_devices,
)


class Switch(Protocol):
    """A prepared switch of tables."""

    def go(self) -> Optional[float]:
        """As `PreparedSwitch.go`."""


class DmKernel(Protocol):
    """Device-mapper, opened for one operation, and the block devices of a host.

    The numbers of block devices are `major:minor`.
    """

    def call(
        self,
        command: int,
        name: str,
        flags: int = 0,
        uuid: str = "",
        targets: Sequence[Target] = (),
        event: int = 0,
    ) -> Reply:
        """One ioctl. OSError of the kernel."""

    def names(self) -> Sequence[str]:
        """Every device-mapper device."""

    def status(self, name: str) -> Optional[Reply]:
        """A device without its table, or None."""

    def targets(self, name: str, flags: int) -> Tuple[Target, ...]:
        """The targets of the live table (or, by flag, of the inactive one), with parameters or status."""

    def device_number(self, path: str) -> str:
        """The number of a block device; StateError when there is none at that path."""

    def node_of(self, number: str) -> str:
        """The kernel node of a number, such as `/dev/zd16`; the number itself without a device."""

    def length_sectors(self, number: str) -> int:
        """Length of a block device."""

    def ensure_node(self, name: str, number: str) -> None:
        """Have /dev/mapper/<name> lead to the device of this number."""

    def ensure_no_node(self, name: str) -> None:
        """Have no /dev/mapper/<name>."""

    def ensure_valid(self, device: str) -> Change:
        """As the function `ensure_valid`."""

    def prepare_switch(self, name: str) -> ContextManager[Switch]:
        """A switch of the device to its inactive table."""


# --- devices as the kernel reports them ------------------------------------------------------------------------------


@contextmanager
def opened(open_kernel: Callable[[], ContextManager[DmKernel]], what: str) -> Iterator[DmKernel]:
    """The kernel, for one operation. HostError without device-mapper; ToolError for errors of the kernel."""
    try:
        opening = open_kernel()
    except FileNotFoundError:
        raise HostError("the kernel of this host has no device-mapper: load its module dm_mod") from None
    except OSError as error:
        raise ToolError(f"device-mapper cannot be opened, so it did not {what}: {error.strerror}") from None
    try:
        with opening as kernel:
            yield kernel
    except OSError as error:
        hint = " (see `dmesg`)" if error.errno == errno.EINVAL else ""
        raise ToolError(f"the kernel of this host did not {what}: {error.strerror}{hint}") from None


def read_device(kernel: DmKernel, name: str) -> Optional[DmDeviceFact]:
    """A device with its tables, or None."""
    try:
        reply = kernel.status(name)
        if reply is None:
            return None
        live = _read_table(kernel, name, 0) if reply.flags & ACTIVE_PRESENT_FLAG else None
        loaded = None
        if reply.flags & INACTIVE_PRESENT_FLAG:
            loaded = _read_table(kernel, name, QUERY_INACTIVE_TABLE_FLAG)
        status = _read_status(kernel, name) if isinstance(live, Overlay) else None
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
    suspended = bool(reply.flags & SUSPEND_FLAG)
    node = kernel.node_of(reply.number)
    return DmDeviceFact(name, reply.uuid, live, loaded, suspended, reply.open_count, status, node)


def read_ours(kernel: DmKernel, name: str) -> DmDeviceFact:
    """A device of this system; StateError when it is missing, IncoherentError when it is of another origin."""
    check_name(name)
    fact = read_device(kernel, name)
    if fact is None:
        raise no_device(name)
    check_ours(fact)
    return fact


def read_all_ours(kernel: DmKernel) -> Tuple[DmDeviceFact, ...]:
    """Every device of this system, by name."""
    facts = (read_device(kernel, name) for name in sorted(kernel.names()))
    return tuple(fact for fact in facts if fact is not None and fact.uuid == UUID_PREFIX + fact.name)


def with_kernel_nodes(kernel: DmKernel, table: Table) -> KnownTable:
    """The table with its devices as kernel nodes; StateError when one is missing."""
    return with_devices(table, lambda path: kernel.node_of(kernel.device_number(path)))


def check_devices(kernel: DmKernel, name: str, table: Table) -> None:
    """StateError unless all devices of the table exist and the first is long enough."""
    for place, device in enumerate(devices_of(table)):
        length = kernel.length_sectors(kernel.device_number(device))
        if place == 0 and length < table.length_sectors:
            raise too_short(name, device, length, table)


def check_cow_unshared(kernel: DmKernel, name: str, table: Table) -> None:
    """IncoherentError when another device uses the same COW, which the kernel does not prevent."""
    if not isinstance(table, Overlay):
        return
    cow = kernel.node_of(kernel.device_number(table.cow))
    for fact in read_all_ours(kernel):
        for other in (fact.table, fact.loaded_table):
            if fact.name != name and isinstance(other, Overlay) and other.cow == cow:
                raise shared_cow(table.cow, fact.name)


def base_of_origin(kernel: DmKernel, table: KnownTable) -> str:
    """The device below a snapshot's linear origin, else the origin itself; empty for other tables."""
    if not isinstance(table, Overlay):
        return ""
    for fact in read_all_ours(kernel):
        if fact.node == table.origin and isinstance(fact.table, Linear):
            return fact.table.device
    return table.origin


def _read_table(kernel: DmKernel, name: str, flags: int) -> KnownTable:
    return with_devices(read_targets(kernel.targets(name, flags | STATUS_TABLE_FLAG)), kernel.node_of)


def _read_status(kernel: DmKernel, name: str) -> Optional[SnapshotStatus]:
    rows = kernel.targets(name, 0)
    return parse_status(rows[0].parameters) if len(rows) == 1 else None


# --- the header of a snapshot's COW device, and how its flag `valid` is set again ------------------------------------
# Layout: struct disk_header in drivers/md/dm-snap-persistent.c: magic `SnAp`, valid, version 1, chunk size in sectors;
# all are little-endian numbers of 32 bits. The kernel clears `valid` when it invalidates a snapshot; the exceptions
# stay. After the flag was set again they were intact, both after a failed read of the origin and after a full COW.


_HEADER = struct.Struct("<4sIII")
_MAGIC = b"SnAp"
_VALID_AT = 4


class CowHeader(NamedTuple):
    """The header of a COW device."""

    is_valid: bool
    version: int
    chunk_sectors: int


def parse_header(data: bytes) -> Optional[CowHeader]:
    """The header in the first 16 bytes; None without the magic."""
    magic, valid, version, chunk = _HEADER.unpack_from(data)
    return CowHeader(valid == 1, version, chunk) if magic == _MAGIC else None


def ensure_valid(device: str) -> Change:
    """Set the flag `valid`.

    StateError while the device is in use; IncoherentError when it is not a COW device of version 1.
    """
    try:
        # O_EXCL on a block device fails while a device-mapper table uses it (blkdev_get_by_dev)
        file = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC | os.O_SYNC)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise StateError(
            f"{device} is in use, so it cannot be made valid; load the error target for its snapshot first"
        ) from None
    try:
        header = parse_header(os.pread(file, _HEADER.size, 0))
        if header is None or header.version != 1:
            raise IncoherentError(f"{device} is not a COW device (no header `SnAp`, version 1)")
        if header.is_valid:
            return UNCHANGED
        os.pwrite(file, struct.pack("<I", 1), _VALID_AT)
        os.fsync(file)
        return CHANGED
    finally:
        os.close(file)


# --- loading of tables -----------------------------------------------------------------------------------------------


def create(kernel: DmKernel, name: str) -> None:
    """Create a device without a table. BusyError when another process creates it."""
    try:
        kernel.call(DEV_CREATE, name, uuid=UUID_PREFIX + name)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise BusyError(f"another process is creating /dev/mapper/{name}; try again") from None
        raise


def activate(kernel: DmKernel, name: str, table: KnownTable) -> Change:
    """Load the first table and activate the device; the device is removed when the kernel rejects the table."""
    kernel.call(TABLE_CLEAR, name)
    try:
        _load(kernel, name, table)
        reply = kernel.call(DEV_SUSPEND, name, event=COOKIE)
    except OSError:
        kernel.call(DEV_REMOVE, name, event=COOKIE)
        raise
    kernel.ensure_node(name, reply.number)
    return CHANGED


def resume(kernel: DmKernel, fact: DmDeviceFact) -> Change:
    """Resume a device with its live table.

    An inactive table is cleared first: a resume would activate it, and a snapshot that is to hand its exceptions over
    to it would not resume alone (snapshot_preresume).
    """
    if fact.loaded_table is not None:
        kernel.call(TABLE_CLEAR, fact.name)
    if fact.is_suspended:
        kernel.call(DEV_SUSPEND, fact.name, event=COOKIE)
    reply = kernel.status(fact.name)
    if reply is not None:
        kernel.ensure_node(fact.name, reply.number)
    return Change(fact.loaded_table is not None or fact.is_suspended)


def swap(kernel: DmKernel, fact: DmDeviceFact, table: KnownTable) -> Tuple[float, float]:
    """Replace the live table; returns the duration of the stall and of the whole switch in seconds.

    BusyError as `switch`.
    """
    if fact.loaded_table is not None:
        # the kernel allows one table to wait for the exceptions of another (register_snapshot)
        kernel.call(TABLE_CLEAR, fact.name)
    try:
        _load(kernel, fact.name, table)
        with kernel.prepare_switch(fact.name) as prepared:
            now = read_ours(kernel, fact.name)
            if now.table != fact.table:
                raise IncoherentError(
                    f"/dev/mapper/{fact.name} has another table now: {describe(now.table)}; nothing was switched"
                )
            began = monotonic_seconds()
            stall = prepared.go()
    except BaseException:
        kernel.call(TABLE_CLEAR, fact.name)
        raise
    whole = monotonic_seconds() - began
    return _finish(kernel, fact.name, stall, whole), whole


def remove(kernel: DmKernel, name: str) -> bool:
    """Remove the device; False when it is open."""
    try:
        kernel.call(DEV_REMOVE, name, event=COOKIE)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENXIO):
            raise
        return error.errno == errno.ENXIO
    return True


def _load(kernel: DmKernel, name: str, table: KnownTable) -> None:
    """Load the inactive table; devices are specified by number, which needs no path lookup.

    The kernel opens devices for writing unless the table is read-only (dm_get_table_device). For a read-only device,
    such as the NAS's disk while its image is copied, the table is loaded read-only.
    """
    kind, parameters = target_of(with_devices(table, kernel.device_number))
    targets = [Target(start, length, kind, parameters) for start, length in pieces_of(table)]
    try:
        kernel.call(TABLE_LOAD, name, targets=targets)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        kernel.call(TABLE_LOAD, name, READONLY_FLAG, targets=targets)


def _finish(kernel: DmKernel, name: str, stall: Optional[float], elapsed_seconds: float) -> float:
    """The stall. After a timeout: BusyError if the old table is still live, else the elapsed time."""
    after = read_ours(kernel, name)
    if stall is None and after.loaded_table is not None:
        resume(kernel, after)
        raise not_suspended(name)
    if after.is_suspended:
        resume(kernel, after)
    return elapsed_seconds if stall is None else stall


# --- a prepared switch of tables: its process starts before the switch and is watched during it ----------------------


_START_SECONDS = 60.0
_END_SECONDS = 120.0
_POLL_SECONDS = 0.005


class PreparedSwitch:
    """A process that activates the inactive table of a device on request (`switch_process.py`).

    ToolError when it does not become ready. A context manager: the process ends with the block.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._unread = b""
        environment = dict(os.environ, PYTHONPATH=str(Path(rocks.__file__).parent.parent))
        program = [
            sys.executable or "/usr/bin/python3",
            "-m",
            "rocks.storage.device_mapper.switch_process",
            name,
        ]
        self._process = start_with_pipes(program, environment)
        if "ready" not in self._receive(Deadline(_START_SECONDS)):
            self._process.kill()
            _, errors = self._process.communicate()
            last = errors.decode("utf-8", "replace").strip().split("\n")[-1]
            raise ToolError(
                f"the switch of /dev/mapper/{name} could not be prepared: {last or 'it printed nothing'}"
            )

    def __enter__(self) -> PreparedSwitch:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        deadline = Deadline(_END_SECONDS)
        while self._process.poll() is None and not deadline.passed():
            wait_seconds(_POLL_SECONDS)  # the kernel may be closing a device whose pool does not respond
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def go(self) -> Optional[float]:
        """Switch. Returns the stall in seconds, None when it was aborted after `STALL_LIMIT_SECONDS`.

        Returns after the old table is destroyed and its devices are closed. OSError of the kernel.
        After None either table may be live: read the device.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()
        answer = self._receive(Deadline(STALL_LIMIT_SECONDS))
        if not answer:
            self._process.kill()
            self._receive(Deadline(_END_SECONDS))
            return None
        if "resumed" in answer:
            stall = float(answer["resumed"])
            answer = self._receive(Deadline(_END_SECONDS))
            if "ended" in answer:
                return stall
        reason = int(answer.get("errno", errno.ETIMEDOUT))
        raise OSError(reason, os.strerror(reason))

    def _receive(self, deadline: Deadline) -> Dict[str, Any]:
        """The next message of the process; empty at the deadline or when the process ends."""
        assert self._process.stdout is not None
        while b"\n" not in self._unread:
            readable, _, _ = select.select([self._process.stdout], [], [], deadline.remaining_seconds())
            more = os.read(self._process.stdout.fileno(), 4096) if readable else b""
            if not more:
                return {}
            self._unread += more
        line, self._unread = self._unread.split(b"\n", 1)
        answer: Dict[str, Any] = json.loads(line)
        return answer


# --- the operations --------------------------------------------------------------------------------------------------


_OPEN_POLL_SECONDS = 0.02


class HostKernel(Control):
    """Device-mapper's control file, opened, the block devices of sysfs, and the process that switches a table."""

    device_number = staticmethod(ioctl.device_number)
    node_of = staticmethod(ioctl.node_of)
    length_sectors = staticmethod(ioctl.length_sectors)
    ensure_node = staticmethod(ioctl.ensure_node)
    ensure_no_node = staticmethod(ioctl.ensure_no_node)
    ensure_valid = staticmethod(ensure_valid)
    prepare_switch = staticmethod(PreparedSwitch)

    def __enter__(self) -> HostKernel:
        return self


class DmDevices:
    """The device-mapper devices of a host.

    Tables name devices by any path. All methods raise UserError for invalid requests, StateError when another operation
    is needed first, IncoherentError when the device is of another origin, ToolError for errors of the kernel, HostError
    without device-mapper.
    """

    def __init__(self, open_kernel: Callable[[], ContextManager[DmKernel]] = HostKernel) -> None:
        self._open_kernel = open_kernel

    def read(self, name: str) -> Optional[DmDeviceFact]:
        """The device, of any origin, or None."""
        check_name(name)
        with opened(self._open_kernel, f"report /dev/mapper/{name}") as kernel:
            return read_device(kernel, name)

    def list(self) -> Tuple[DmDeviceFact, ...]:
        """All devices of this system by name."""
        with opened(self._open_kernel, "list its devices") as kernel:
            return read_all_ours(kernel)

    def is_live(self, name: str, table: Table) -> bool:
        """Whether this table is live, device by device; False when one of its devices is missing."""
        check_table(table)
        check_name(name)
        with opened(self._open_kernel, f"report /dev/mapper/{name}") as kernel:
            fact = read_device(kernel, name)
            try:
                return fact is not None and fact.table == with_kernel_nodes(kernel, table)
            except StateError:
                return False

    def ensure(self, name: str, table: Table) -> Change:
        """Create the device with this table, active, with its node in /dev/mapper.

        IncoherentError when it has another table, or another device uses the COW; StateError when a device of the table
        is missing or too short.
        """
        check_name(name)
        check_table(table)
        with opened(self._open_kernel, f"create /dev/mapper/{name}") as kernel:
            fact = read_device(kernel, name)
            if fact is not None:
                check_ours(fact)
            if fact is None or fact.table is None:
                check_devices(kernel, name, table)
                check_cow_unshared(kernel, name, table)
                if fact is None:
                    create(kernel, name)
                return activate(kernel, name, table)
            requested = with_kernel_nodes(kernel, table)
            if fact.table != requested:
                raise other_table(fact, requested)
            return resume(kernel, fact)

    def switch(self, name: str, table: Table, expected_live_table: Table) -> Switched:
        """Replace `expected_live_table` by `table` while the device is in use.

        Allowed: linear → linear (the caller guarantees equal content); snapshot → snapshot-merge of the same devices;
        snapshot-merge, once merged → linear on its target; placeholder → linear or snapshot. IncoherentError for any
        other switch, and when another table is live. BusyError when the device did not suspend within
        `STALL_LIMIT_SECONDS`: the live table stays, and the same call may succeed later.
        """
        check_table(table)
        check_table(expected_live_table)
        with opened(self._open_kernel, f"switch /dev/mapper/{name}") as kernel:
            fact = read_ours(kernel, name)
            requested = with_kernel_nodes(kernel, table)
            if fact.table == requested:
                return Switched(resume(kernel, fact).changed, 0.0)
            expected = with_kernel_nodes(kernel, expected_live_table)
            if fact.table is None or fact.table != expected:
                raise other_table(fact, expected)
            check_switch(name, fact.table, requested, fact.status, base_of_origin(kernel, fact.table))
            check_devices(kernel, name, table)
            return Switched(True, *swap(kernel, fact, table))

    def ensure_extended(self, name: str) -> Change:
        """Reload the same table: a grown COW is used completely, a failed merge is retried.

        StateError when the device is not a snapshot, or is in overflow or invalid; BusyError as `switch`.
        """
        with opened(self._open_kernel, f"reload the table of /dev/mapper/{name}") as kernel:
            fact = read_ours(kernel, name)
            if not isinstance(fact.table, Overlay) or needs_reactivation(fact):
                raise not_extendable(fact)
            swap(kernel, fact, fact.table)
            return CHANGED

    def ensure_reactivated(self, name: str, table: Table) -> Change:
        """Reactivate a snapshot in overflow or invalid, with all data of its COW.

        Extend the COW first. For a moment the device has the error target, so its user must be paused or pause at an
        I/O error. UNCHANGED when the snapshot works. May be repeated after a crash.
        """
        check_table(table)
        with opened(self._open_kernel, f"re-activate /dev/mapper/{name}") as kernel:
            fact = read_ours(kernel, name)
            overlay, error_table = check_reactivation(fact, table), ErrorTable(table.length_sectors)
            requested = with_kernel_nodes(kernel, overlay)
            if fact.table == requested and not needs_reactivation(fact):
                return resume(kernel, fact)
            if fact.table not in (requested, error_table):
                raise other_table(fact, requested)
            if fact.table == requested:
                # a reloaded table inherits the overflow; only after the error target the COW is read again
                swap(kernel, fact, error_table)
            kernel.ensure_valid(overlay.cow)
            swap(kernel, read_ours(kernel, name), overlay)
            return CHANGED

    def ensure_resumed(self, name: str) -> Change:
        """Resume a suspended device with its live table, and clear an inactive table."""
        with opened(self._open_kernel, f"resume /dev/mapper/{name}") as kernel:
            fact = read_ours(kernel, name)
            if fact.table is None:
                raise StateError(f"/dev/mapper/{name} has no table to resume")
            return resume(kernel, fact)

    def ensure_gone(self, name: str, deadline: Deadline) -> Change:
        """Remove the device. StateError when it is still open at the deadline."""
        check_name(name)
        with opened(self._open_kernel, f"remove /dev/mapper/{name}") as kernel:
            fact = read_device(kernel, name)
            if fact is not None:
                check_ours(fact)
            while fact is not None and not remove(kernel, name):
                if deadline.passed():
                    raise still_open(read_ours(kernel, name))
                wait_seconds(_OPEN_POLL_SECONDS)
            kernel.ensure_no_node(name)
        return UNCHANGED if fact is None else CHANGED
