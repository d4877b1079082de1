"""`ZfsCommands` by the programs `zfs` and `zpool`: the command lines.

None has `-R` or `-F`: no dataset is destroyed as a side effect.
"""

from __future__ import annotations

import errno
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from typing import List, Mapping, Optional, Sequence, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, HostError, StateError, ToolError
from rocks.storage.zfs.commands import Transfer
from rocks.storage.zfs.facts import History, PoolFact, ReceiveSpec, SendSpec, TokenFact, VolumeFact
from rocks.storage.zfs.listing import (
    HISTORY_COLUMNS,
    VALUE_COLUMNS,
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
from rocks.storage.zfs.processes import receive_process, send_process
from rocks.storage.zfs.tool import (
    LONG_SECONDS,
    one_line,
    pool_of,
    zfs,
    zfs_finished,
    zfs_if_there,
    zfs_of_those_there,
    zfs_when_free,
    zpool_health,
    zpool_names,
    zpool_sync,
)

VOLUME_OPTIONS = ("-o", "volmode=dev")
"""Options of every new volume, of `zfs create`, `clone` and `receive`: no devices of a guest's partitions on the host.

The others are the pool's, compression among them. `volblocksize` and `refreservation` are those of the image.
"""

_SEND_FLAGS = ("-L", "-c", "-e")  # large, compressed and embedded blocks: the smallest stream
_LOG_HEADER_BYTES = 65536  # upper bound: two blocks of 16 KiB at most
_MAX_LISTINGS = 5
_EMPTY_STREAM_BYTES = 624  # BEGIN and END records of 312 bytes
_CLONES_AT_ONCE = 16
_FOLDER = "/dev/zvol"
_BLKZNAME = 0x8100127D  # _IOR(0x12, 125, char[256]) of OpenZFS's sys/fs/zfs.h: the name of the volume
_NAME_BYTES = 256
_POLL_SECONDS = 0.05


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
            wait_seconds(_POLL_SECONDS)
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
