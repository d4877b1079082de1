"""Single `zfs` commands without checks, which `pool.py` makes: as a Protocol, and by the programs `zfs` and `zpool`.

Each raises ToolError with the message of `zfs`, BusyError when the dataset is in use, and StateError when the pool is
missing or full.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Dict, List, Mapping, Optional, Protocol, Sequence, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, Code, HostError, PoolFullError, RocksError, StateError, ToolError
from rocks.core.process import Finished, LateError, run, start_with_pipes
from rocks.storage.zfs.facts import (
    HISTORY_COLUMNS,
    VALUE_COLUMNS,
    History,
    PoolFact,
    ReceiveSpec,
    SendSpec,
    TokenFact,
    VolumeFact,
    held_names,
    own_properties,
    parse_estimate,
    parse_history,
    parse_holds,
    parse_token,
    parse_values,
    parse_volumes,
    volume_of,
)
from rocks.storage.zfs.silent_pools import SilentPools


class Transfer(Protocol):
    """One end of a running stream."""

    @property
    def stream(self) -> IO[bytes]:
        """The pipe to read from (send) or write to (receive). BrokenPipeError when the receiver has ended."""

    def finish(self, deadline: Deadline) -> None:
        """Close the stream and wait for the process. ToolError with the message of `zfs` when it failed.

        A receive of an incomplete stream fails, and keeps the received part.
        """

    def kill(self) -> None:
        """Kill the process and wait for its end. No effect when it has ended.

        A receive keeps the part that it has read, which may be empty: the pipe holds up to 1 MiB.
        HostError when the process cannot be killed.
        """


class ZfsCommands(Protocol):
    """`zfs` and `zpool`, or their fake. Snapshots and bookmarks are full names here."""

    def read_pool(self, pool: str) -> PoolFact:
        """As `PoolDriver.read_pool`."""

    def list_pools(self) -> Tuple[str, ...]:
        """As `PoolDriver.list_pools`."""

    def read_volume(self, volume: str) -> Optional[VolumeFact]:
        """As `PoolDriver.read_volume`."""

    def read_volumes(self, volumes: Sequence[str]) -> Mapping[str, VolumeFact]:
        """As `PoolDriver.read_volumes`."""

    def list_volumes(self, pool: str) -> Tuple[VolumeFact, ...]:
        """As `PoolDriver.list_volumes`."""

    def read_history(self, volume: str) -> History:
        """As `PoolDriver.read_history`."""

    def read_guids(self, snapshots: Sequence[str]) -> Mapping[str, str]:
        """As `PoolDriver.read_guids`."""

    def read_own(self, name: str) -> Mapping[str, str]:
        """The `imgstore:` properties of a snapshot."""

    def read_written(self, volume: str, snapshot_name: str) -> int:
        """Bytes written to the volume since that snapshot, as of the last `flush`."""

    def shows_snapshots(self, volume: str) -> bool:
        """Whether `snapdev` is visible."""

    def flush(self, volume: str) -> None:
        """Sync the open transaction group, so that `read_written` includes all writes."""

    def create(
        self,
        volume: str,
        size_bytes: int,
        block_bytes: int,
        reserve_bytes: int,
        properties: Mapping[str, str],
    ) -> None:
        """Create a sparse volume, which has these user properties from the beginning."""

    def clone_all(self, origins: Mapping[str, str], properties: Mapping[str, str]) -> None:
        """Clone snapshots: volume → its snapshot; all get the properties. After an error some of them may exist."""

    def set_values(self, name: str, values: Mapping[str, str]) -> None:
        """Set properties of a volume in one command."""

    def rename(self, volume: str, new_name: str) -> None:
        """Rename a volume; creates the parent file system."""

    def promote(self, volume: str) -> None:
        """Promote a clone."""

    def rollback(self, snapshot: str) -> None:
        """Roll a volume back to its newest snapshot."""

    def check_not_open(self, volume: str) -> None:
        """BusyError when the volume's device is opened exclusively."""

    def destroy(self, name: str) -> None:
        """Destroy a volume without snapshots, snapshots (`volume@one,two`, all or none), or a bookmark."""

    def snapshot(self, snapshot: str, properties: Mapping[str, str]) -> None:
        """Create a snapshot."""

    def hold(self, snapshot: str, tag: str) -> None:
        """Hold a snapshot."""

    def release(self, snapshot: str, tag: str) -> None:
        """Release a hold."""

    def bookmark(self, snapshot: str, bookmark: str) -> None:
        """Create a bookmark of a snapshot."""

    def decode_token(self, token: str) -> TokenFact:
        """As `PoolDriver.decode_token`."""

    def estimate(self, spec: SendSpec) -> int:
        """Estimated size of a stream in bytes."""

    def send(self, spec: SendSpec) -> Transfer:
        """Start a send."""

    def receive(self, spec: ReceiveSpec) -> Transfer:
        """Start a receive; creates the parent file system."""

    def abort_receive(self, volume: str) -> None:
        """Discard a partial receive."""

    def wait_for_device(self, name: str, deadline: Deadline) -> str:
        """As `PoolDriver.wait_for_device`."""


# --- run `zfs` and `zpool` with deadlines; turn their messages into errors -----------------------------------------
# Each function raises HostError when the pool does not answer: in time, or at once while others wait (`silent_pools`).


COMMAND_SECONDS = 60.0
"""For reads and small changes."""

LONG_SECONDS = 600.0
"""For commands that may free or write much data: destroy, rollback, sync, abort of a receive."""

_BUSY_SECONDS = 10.0
_POLL_SECONDS = 0.2
_MAX_LISTINGS = 5
_MISSING = "does not exist"
_SILENT_POOLS = SilentPools()
_QUOTED = re.compile(r"'([^']+)'")
_BUSY = ("is busy", "Device busy")
_FULL = (
    "out of space",
    "quota exceeded",
    "No space left",
    "exceeds available space",
    "greater than available",
)


def plain_environment() -> Dict[str, str]:
    """This process' environment with LC_ALL=C."""
    return {**os.environ, "LC_ALL": "C"}


def pool_of(name: str) -> str:
    """The pool of a dataset."""
    return name.split("/")[0].split("@")[0]


def zfs(*arguments: str, deadline_seconds: float = COMMAND_SECONDS) -> str:
    """Run `zfs`, return its output. ToolError, BusyError, HostError, PoolFullError, or StateError without the pool."""
    finished = _run("zfs", arguments, deadline_seconds)
    if finished.exit_status != 0:
        raise zfs_error(f"{arguments[0]} of {arguments[-1]}", finished.error_text)
    return finished.text


def zfs_if_there(*arguments: str) -> Optional[str]:
    """As `zfs`, None when the dataset (the last argument) does not exist but its pool does."""
    name = arguments[-1]
    for _ in range(_MAX_LISTINGS):
        finished = _run("zfs", arguments, COMMAND_SECONDS)
        if finished.exit_status == 0:
            return finished.text
        if _MISSING not in finished.error_text:
            break
        if f"'{name}'" in finished.error_text or f"'{name.partition('@')[0]}'" in finished.error_text:
            zpool_health(pool_of(name))
            return None
        # another dataset was destroyed during the listing: list again
    raise zfs_error(f"{arguments[0]} of {name}", finished.error_text)


def zfs_of_those_there(arguments: Sequence[str], names: Sequence[str]) -> str:
    """Run `zfs` for several datasets at once; those that do not exist are missing in its output, but their pools exist.

    Errors as of `zfs`.
    """
    if not names:
        return ""
    finished = _run("zfs", (*arguments, *names), COMMAND_SECONDS)
    if finished.exit_status == 0:
        return finished.text
    expected = {part for name in names for part in (name, name.partition("@")[0])}
    messages = finished.error_text.splitlines()
    for message in messages or [""]:
        quoted = _QUOTED.search(message)
        if _MISSING not in message or quoted is None or quoted.group(1) not in expected:
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise zfs_error(f"{arguments[0]} of {names[0]}{others}", finished.error_text)
    for pool in sorted({pool_of(name) for name in names}):
        zpool_health(pool)
    return finished.text


def zfs_when_free(*arguments: str) -> bytes:
    """As `zfs`, retried for ten seconds while the dataset is busy: udev opens devices after they are closed."""
    deadline = Deadline(_BUSY_SECONDS)
    while True:
        finished = _run("zfs", arguments, LONG_SECONDS)
        if finished.exit_status == 0:
            return finished.output
        error = zfs_error(f"{arguments[0]} of {arguments[-1]}", finished.error_text)
        if not isinstance(error, BusyError) or isinstance(error, PoolFullError) or deadline.passed():
            raise error
        wait_seconds(_POLL_SECONDS)


def zfs_finished(*arguments: str) -> Finished:
    """Run `zfs` and return output and exit status."""
    return _run("zfs", arguments, COMMAND_SECONDS)


def zpool_health(pool: str) -> str:
    """The health of the pool. StateError, which names this machine to a reader on another, when it has no such pool."""
    finished = _run("zpool", ("list", "-H", "-o", "health", pool), COMMAND_SECONDS)
    if finished.exit_status != 0:
        raise StateError(
            f"{os.uname().nodename} has no ZFS pool {pool}: there, `zpool list` shows imported pools, `zpool import` "
            f"others ({one_line(finished.error_text)})",
            code=Code.POOL_MISSING,
        )
    return finished.text.strip()


def zpool_names() -> Tuple[str, ...]:
    """The imported pools. ToolError when `zpool` fails."""
    finished = _run("zpool", ("list", "-H", "-o", "name"), COMMAND_SECONDS, about="")
    if finished.exit_status != 0:
        raise ToolError(f"zpool list: {one_line(finished.error_text)}")
    return tuple(sorted(finished.text.split()))


def zpool_sync(pool: str) -> None:
    """Write all data of the pool to its disks."""
    finished = _run("zpool", ("sync", pool), LONG_SECONDS)
    if finished.exit_status != 0:
        raise zfs_error(f"sync of the pool {pool}", finished.error_text)


def zfs_error(what: str, message: str) -> RocksError:
    """The error for a message of `zfs` or `zpool`. Existing programs match its first words, and those of `_run`."""
    error = f"Error executing zfs: {what} failed: {one_line(message) or 'it printed nothing'}"
    if any(text in message for text in _BUSY):
        return BusyError(error)
    if any(text in message for text in _FULL):
        return PoolFullError(f"{error}; the pool is full")
    return ToolError(error)


def one_line(text: str) -> str:
    """The text on one line, truncated to 400 characters."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())[:400]


def _run(
    program: str, arguments: tuple[str, ...], deadline_seconds: float, about: Optional[str] = None
) -> Finished:
    """Run `zfs` or `zpool` about the last argument, or what `about` names.

    HostError when the pool does not answer: it is awaited, as a host is.
    """

    def command() -> Finished:
        return run((program, *arguments), deadline_seconds=deadline_seconds, environment=plain_environment())

    try:
        return _SILENT_POOLS.ask(arguments[-1] if about is None else about, command)
    except LateError as late:
        raise HostError(f"Command {program} failed: {late}") from None
    except ToolError as error:
        raise ToolError(f"Command {program} failed: {error}") from None


# --- processes of `zfs send` and `zfs receive` ---------------------------------------------------------------------


_F_SETPIPE_SZ = 1031  # linux/fcntl.h; the module has it from Python 3.10
# the limit for unprivileged processes; with the default of 64 KiB the processes alternate too often
_PIPE_BYTES = 1 << 20
_STREAM_POLL_SECONDS = 0.02
_DEATH_SECONDS = 60.0  # a receive can be killed only between two transaction groups


class StreamProcess:
    """A `Transfer` by a process and one end of its pipe."""

    def __init__(self, process: Any, stream: IO[bytes], what: str) -> None:
        self.stream = stream
        self._process = process
        self._what = what
        self._was_killed = False
        fcntl.fcntl(stream.fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)

    def finish(self, deadline: Deadline) -> None:
        self._close_stream()
        while self._process.poll() is None:
            if deadline.passed():
                self.kill()
                raise ToolError(f"zfs {self._what} did not end in time and was killed")
            wait_seconds(_STREAM_POLL_SECONDS)
        message = self._error_text()
        status = self._process.returncode
        if self._was_killed:
            raise ToolError(f"zfs {self._what} was killed")
        if status < 0:
            raise ToolError(f"zfs {self._what} was ended by signal {-status}: {one_line(message)}")
        if status > 0:
            raise zfs_error(self._what, message)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._was_killed = True
            os.killpg(self._process.pid, signal.SIGKILL)
            deadline = Deadline(_DEATH_SECONDS)
            while self._process.poll() is None:
                if deadline.passed():
                    raise HostError(
                        f"zfs {self._what} cannot be killed: the pool may hang; see `zpool status`"
                    )
                wait_seconds(_STREAM_POLL_SECONDS)
        self._close_stream()
        self._error_text()

    def _error_text(self) -> str:
        if self._process.stderr.closed:
            return ""
        with self._process.stderr as errors:
            return bytes(errors.read()).decode("utf-8", "replace")

    def _close_stream(self) -> None:
        try:
            self.stream.close()
        except BrokenPipeError:
            pass  # zfs has ended; its exit status and message give the reason


def send_process(arguments: Sequence[str], name: str) -> StreamProcess:
    """A `zfs send`; its stream is read."""
    process: Any = start_with_pipes(("zfs", *arguments), plain_environment())
    process.stdin.close()
    return StreamProcess(process, process.stdout, f"send of {name}")


def receive_process(arguments: Sequence[str], name: str) -> StreamProcess:
    """A `zfs receive`; its stream is written."""
    process: Any = start_with_pipes(("zfs", *arguments), plain_environment())
    process.stdout.close()
    return StreamProcess(process, process.stdin, f"receive into {name}")


# --- `ZfsCommands` by the programs `zfs` and `zpool`: the command lines --------------------------------------------
# None has `-R` or `-F`: no dataset is destroyed as a side effect.


VOLUME_OPTIONS = ("-o", "volmode=dev")
"""Options of every new volume, of `zfs create`, `clone` and `receive`: no devices of a guest's partitions on the host.

The others are the pool's, compression among them. `volblocksize` and `refreservation` are those of the image.
"""

_SEND_FLAGS = ("-L", "-c", "-e")  # large, compressed and embedded blocks: the smallest stream
_LOG_HEADER_BYTES = 65536  # upper bound: two blocks of 16 KiB at most
_EMPTY_STREAM_BYTES = 624  # BEGIN and END records of 312 bytes
_CLONES_AT_ONCE = 16
_FOLDER = "/dev/zvol"
_BLKZNAME = 0x8100127D  # _IOR(0x12, 125, char[256]) of OpenZFS's sys/fs/zfs.h: the name of the volume
_NAME_BYTES = 256
_COMMAND_POLL_SECONDS = 0.05


def _options(properties: Mapping[str, str]) -> List[str]:
    return [word for it in properties.items() for word in ("-o", "=".join(it))]


class ZfsCommandLine:
    """`ZfsCommands` by the programs, and documented there."""

    def read_pool(self, pool: str) -> PoolFact:
        health = zpool_health(pool_of(pool))
        values = zfs("get", "-Hp", "-o", "value", "used,available", pool).split()
        return PoolFact(pool, int(values[0]) + int(values[1]), int(values[1]), health)

    def list_pools(self) -> Tuple[str, ...]:
        return zpool_names()

    def read_volume(self, volume: str) -> Optional[VolumeFact]:
        return self.read_volumes((volume,)).get(volume)

    def read_volumes(self, volumes: Sequence[str]) -> Mapping[str, VolumeFact]:
        found = parse_values(zfs_of_those_there(("get", "-Hp", "-o", VALUE_COLUMNS, "all"), volumes))
        for name, values in found.items():
            if values.get("type") != "volume":
                raise StateError(f"{name} is a {values.get('type')}, not a volume; rename or destroy it")
        return {name: volume_of(name, values) for name, values in found.items()}

    def list_volumes(self, pool: str) -> Tuple[VolumeFact, ...]:
        text = zfs_if_there("get", "-Hp", "-r", "-t", "volume", "-o", VALUE_COLUMNS, "all", pool)
        return parse_volumes(text or "")

    def read_history(self, volume: str) -> History:
        for _ in range(_MAX_LISTINGS):
            text = zfs_if_there(
                "list", "-Hp", "-d", "1", "-t", "snapshot,bookmark", "-o", HISTORY_COLUMNS, volume
            )
            held = held_names(text or "")
            holds = zfs_finished("holds", "-H", *held) if held else None
            if holds is None or holds.exit_status == 0:
                return parse_history(text or "", parse_holds(holds.text if holds else ""))
            # a held snapshot may have been released and destroyed meanwhile: list again
        raise ToolError(f"zfs holds of {volume} failed: {one_line(holds.error_text if holds else '')}")

    def read_guids(self, snapshots: Sequence[str]) -> Mapping[str, str]:
        text = zfs_of_those_there(("get", "-Hp", "-o", VALUE_COLUMNS, "guid"), snapshots)
        return {name: values["guid"] for name, values in parse_values(text).items()}

    def read_own(self, name: str) -> Mapping[str, str]:
        text = zfs_if_there("get", "-Hp", "-o", VALUE_COLUMNS, "all", name)
        return dict(own_properties(parse_values(text or "").get(name, {})))

    def read_written(self, volume: str, snapshot_name: str) -> int:
        written = int(zfs("get", "-Hp", "-o", "value", f"written@{snapshot_name}", volume))
        if 0 < written <= _LOG_HEADER_BYTES and _is_stream_empty(volume, snapshot_name):
            return 0
        return written

    def shows_snapshots(self, volume: str) -> bool:
        return zfs("get", "-Hp", "-o", "value", "snapdev", volume).strip() == "visible"

    def flush(self, volume: str) -> None:
        zpool_sync(pool_of(volume))

    def create(
        self,
        volume: str,
        size_bytes: int,
        block_bytes: int,
        reserve_bytes: int,
        properties: Mapping[str, str],
    ) -> None:
        block_size = ("-o", f"volblocksize={block_bytes}")
        reserve = ("-o", f"refreservation={reserve_bytes}") if reserve_bytes else ()
        options = [*block_size, *VOLUME_OPTIONS, *reserve, *_options(properties)]
        zfs("create", "-s", *options, "-V", str(size_bytes), volume)

    def clone_all(self, origins: Mapping[str, str], properties: Mapping[str, str]) -> None:
        """As `ZfsCommands.clone_all`; clones that are made at once share a transaction group of the pool."""
        options = [*VOLUME_OPTIONS, *_options(properties)]
        with ThreadPoolExecutor(_CLONES_AT_ONCE) as threads:
            for _ in threads.map(lambda volume: zfs("clone", *options, origins[volume], volume), origins):
                pass

    def set_values(self, name: str, values: Mapping[str, str]) -> None:
        zfs("set", *(f"{key}={value}" for key, value in values.items()), name)

    def rename(self, volume: str, new_name: str) -> None:
        _create_file_system_above(new_name)
        zfs("rename", volume, new_name)

    def promote(self, volume: str) -> None:
        zfs("promote", volume)

    def rollback(self, snapshot: str) -> None:
        zfs_when_free("rollback", snapshot)

    def check_not_open(self, volume: str) -> None:
        check_not_open(volume)

    def destroy(self, name: str) -> None:
        zfs_when_free("destroy", name)

    def snapshot(self, snapshot: str, properties: Mapping[str, str]) -> None:
        zfs("snapshot", *_options(properties), snapshot)

    def hold(self, snapshot: str, tag: str) -> None:
        zfs("hold", tag, snapshot)

    def release(self, snapshot: str, tag: str) -> None:
        zfs("release", tag, snapshot)

    def bookmark(self, snapshot: str, bookmark: str) -> None:
        zfs("bookmark", snapshot, bookmark)

    def decode_token(self, token: str) -> TokenFact:
        finished = zfs_finished("send", "-n", "-v", "-t", token)
        return parse_token(f"{finished.text}\n{finished.error_text}", one_line(finished.error_text))

    def estimate(self, spec: SendSpec) -> int:
        finished = zfs_finished("send", "-n", "-P", *_send_arguments(spec))
        if finished.exit_status != 0:
            raise ToolError(f"zfs send -n of {spec.volume} failed: {one_line(finished.error_text)}")
        return parse_estimate(f"{finished.text}\n{finished.error_text}")

    def send(self, spec: SendSpec) -> Transfer:
        return send_process(("send", *_send_arguments(spec)), f"{spec.volume}@{spec.to_name}")

    def receive(self, spec: ReceiveSpec) -> Transfer:
        _create_file_system_above(spec.volume)
        return receive_process(("receive", "-u", "-s", *VOLUME_OPTIONS, spec.volume), spec.volume)

    def abort_receive(self, volume: str) -> None:
        zfs("receive", "-A", volume, deadline_seconds=LONG_SECONDS)

    def wait_for_device(self, name: str, deadline: Deadline) -> str:
        """As `PoolDriver.wait_for_device`: once the device exists and belongs to that volume (no stale link)."""
        path = device_path(name)
        while device_name(path) != name:
            if deadline.passed():
                raise HostError(
                    f"the device {path} did not appear: `udevadm settle` and the log of systemd-udevd may show why"
                )
            wait_seconds(_COMMAND_POLL_SECONDS)
        return path


def _send_arguments(spec: SendSpec) -> List[str]:
    if spec.resume_token is not None:
        return ["-t", spec.resume_token]
    arguments = list(_SEND_FLAGS)
    if spec.from_bookmark is not None:
        arguments += ["-i", f"{spec.volume}#{spec.from_bookmark}"]
    elif spec.from_snapshot is not None:
        arguments += ["-i", f"{spec.volume}@{spec.from_snapshot}"]
    return [*arguments, f"{spec.volume}@{spec.to_name}"]


def _create_file_system_above(volume: str) -> None:
    above = volume.rpartition("/")[0]
    if "/" in above:
        zfs("create", "-p", "-o", "canmount=off", "-o", "mountpoint=none", above)


def _is_stream_empty(volume: str, snapshot_name: str) -> bool:
    """Whether the volume equals the snapshot although `written` is a few KiB.

    A rollback may write a new header of the intent log (OpenZFS 2.1: 8192 bytes), which a stream does not contain. A
    volume can be sent without a snapshot while its device is not open.
    """
    arguments = ("send", *_SEND_FLAGS, "-i", f"{volume}@{snapshot_name}", volume)
    try:
        check_not_open(volume)
        return len(zfs_when_free(*arguments)) == _EMPTY_STREAM_BYTES
    except BusyError:
        return False


def device_path(name: str) -> str:
    """The udev path of a volume's device, or of a visible snapshot's."""
    return f"{_FOLDER}/{name}"


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
