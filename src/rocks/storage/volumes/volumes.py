"""Images on a NAS: create empty ones, clone, import files, restore snapshots, remove."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from rocks.core import dry_run
from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, HostError, StateError, ToolError, UserError
from rocks.core.process import run
from rocks.core.units import size_text
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.records import resolve_attributes
from rocks.library.conversion import SpaceError, check_space, opened, write_raw
from rocks.library.safe_folders import open_folder
from rocks.storage.client import questions
from rocks.storage.limits import LONGEST_GRACE_HOURS, MAP_SECONDS
from rocks.storage.volumes.access import open_storage
from rocks.storage.volumes.machine_locks import lock_for_removal, lock_machine_of
from rocks.storage.volumes.places import check_pool_name
from rocks.storage.volumes.plan import check_volume_name
from rocks.storage.wire.base_names import is_base
from rocks.storage.wire.requests import AddZvol, DelCopy, DelZvol, RestoreZvol, UndeleteZvol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rocks.database.connection import Database
    from rocks.storage.client import Watcher


FORMATS = {"raw": "raw", "img": "raw", "qcow2": "qcow2"}
"""A file's suffix → its format; any other format must be stated."""

_BEGINNINGS = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "VMDK"),
    (0, b"# Disk DescriptorFile", "VMDK"),
    (0, b"vhdxfile", "VHDX"),
    (64, b"\x7f\x10\xda\xbe", "VDI"),
)
"""Signatures of formats: offset, bytes, name of the format. Source: QEMU's block drivers of these formats."""

_LOOK_SECONDS = 60.0
_CONVERT_SECONDS = 24 * 3600


class ImageFile(NamedTuple):
    """A file to import. Its content, which a guest may have written, never determines its format."""

    path: Path
    format: str


def read_image_file(path: str, stated: str) -> ImageFile:
    """The file at `path`. UserError when it does not exist, or its format is unknown.

    UserError also when its name means raw but its content looks like another format: many qcow2 files end in .img.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"file={path} is not a file on this machine")
    chosen = stated or FORMATS.get(file.suffix.lstrip("."), "")
    if chosen not in FORMATS.values():
        raise UserError(f"the format of {path} is not clear from its name: give format=raw or format=qcow2")
    if chosen == "raw" and not stated:
        _check_raw(file)
    return ImageFile(file, chosen)


def add_empty_image(database: Database, nas: str, zpool: str, volume: str, size_bytes: int) -> None:
    """Create an empty volume. StateError when a volume of that name exists."""
    _check(zpool, volume, size_bytes)
    with open_storage(database) as storage:
        storage.ask(questions.question(nas, AddZvol(zpool, volume, size_bytes)), MAP_SECONDS)


def add_clone(database: Database, nas: str, zpool: str, volume: str, origin: str) -> None:
    """Create a clone of a volume; it shares its blocks and uses no space of its own at first."""
    _check(zpool, volume, 1)
    check_volume_name(origin.partition("@")[0])
    with open_storage(database) as storage:
        storage.ask(questions.question(nas, AddZvol(zpool, volume, origin=origin)), MAP_SECONDS)


def import_image(
    database: Database, nas: str, zpool: str, volume: str, file: ImageFile, watcher: Watcher
) -> str:
    """Create a volume with the content of a file; returns its digest. An interrupted earlier import is completed."""
    from rocks.storage.client.importing import Destination, send_file
    from rocks.storage.client.listing import transfer_line
    from rocks.storage.volumes.access import open_transfer

    _check(zpool, volume, 1)
    converting = _converting(volume, watcher)
    database.end_reading()  # a conversion may take hours
    with as_raw(file, converting) as (raw, size_bytes), open_storage(database) as storage:
        address, port, context = open_transfer(database, nas)
        request = AddZvol(zpool, volume, size_bytes, importing=True)
        made = storage.ask(questions.question(nas, request), MAP_SECONDS)
        destination = Destination(nas, address, port, f"{zpool}/{volume}", made.guid, made.size_bytes)
        return send_file(
            raw, destination, context, lambda progress: watcher.progress(transfer_line(volume, progress))
        )


@contextmanager
def as_raw(file: ImageFile, watch: Callable[[float], None] | None = None) -> Iterator[tuple[BinaryIO, int]]:
    """The content of a file as an open raw file, and its size. UserError or StateError for an unusable file.

    `watch` receives the percentage of a conversion, which may take hours.
    """
    if file.format == "raw":
        with _open(file.path) as content:
            size_bytes = os.fstat(content.fileno()).st_size
            if size_bytes == 0:
                raise UserError(f"{file.path} is empty")
            yield content, size_bytes
        return
    own = _own_file(file.path)
    size_bytes = _virtual_size(ImageFile(own, file.format))
    folder = own.parent

    def watched(percent: float) -> None:
        try:
            check_space(folder)
        except SpaceError:
            raise HostError(
                f"{folder} has too little free space for the content of {file.path.name}, "
                f"{size_text(size_bytes)} at most; move the file to a larger file system"
            ) from None
        if watch is not None:
            watch(percent)

    # it has no name: nothing remains of it, also after a kill
    with tempfile.TemporaryFile(dir=folder) as raw:
        done = write_raw(own, opened(raw.fileno()), size_bytes, watched, _CONVERT_SECONDS)
        if done.exit_status:
            raise ToolError(f"qemu-img failed with exit status {done.exit_status}: {done.error_text}")
        yield raw, size_bytes


def _open(path: Path) -> BinaryIO:
    """A plain file that no link of another user has led to. UserError for what cannot be read."""

    def opener(name: str, flags: int) -> int:
        folder = open_folder(path.absolute().parent)
        try:
            return os.open(path.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)

    try:
        content = open(path, "rb", buffering=0, opener=opener)  # noqa: PTH123, SIM115 - the caller's `with`
    except OSError as error:
        reason = "it is a symbolic link; give its target" if error.errno == errno.ELOOP else error.strerror
        raise UserError(f"{path} cannot be read: {reason}") from None
    if not stat.S_ISREG(os.fstat(content.fileno()).st_mode):
        content.close()
        raise UserError(f"file={path} is not a file on this machine")
    return content


def _own_file(path: Path) -> Path:
    """The file behind all links. UserError unless only this user can change it and its way.

    qemu-img reads it twice, by its name: who could change it in between would choose which files of this machine are
    read.
    """
    file = path.resolve()
    for place in (file, *file.parents):
        found = place.stat()
        others = found.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if found.st_gid else 0))
        is_sticky = place != file and found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()) or (others and not is_sticky):
            raise UserError(
                f"other users can change {place} while {path} is read; copy the file to a folder of root's first"
            )
    return file


def _check_raw(file: Path) -> None:
    """UserError when a file looks like another format than raw; its content is used for nothing else."""
    try:
        with file.open("rb") as content:
            head = content.read(128)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    for offset, signature, kind in _BEGINNINGS:
        if head[offset:].startswith(signature):
            convert = f"convert it (qemu-img convert -f {kind.lower()} -O qcow2) and give format=qcow2"
            other = "give format=qcow2" if kind == "qcow2" else convert
            raise UserError(
                f"{file} looks like {kind}, but its name means raw. {other[0].upper()}{other[1:]}, or give format=raw "
                "if this header belongs to the content of the disk"
            )


def _converting(volume: str, watcher: Watcher) -> Callable[[float], None] | None:
    """A function that reports the progress of the conversion; None when it is not displayed."""
    if not watcher.displays_progress:
        return None
    return lambda percent: watcher.progress(f"{volume}: {percent:.0f} % converted")


def _virtual_size(file: ImageFile) -> int:
    """The virtual size of a file. StateError when it refers to other files, which its author could choose freely."""
    command = ["qemu-img", "info", "--output=json", "-f", file.format, str(file.path)]
    answer = run(command, deadline_seconds=_LOOK_SECONDS)
    if answer.exit_status != 0:
        raise UserError(
            f"{file.path} is not a {file.format} file: {answer.error_text.splitlines()[-1][:200]}"
        )
    try:
        info = json.loads(answer.text)
        size_bytes = int(info["virtual-size"])
    except (ValueError, KeyError):
        raise ToolError(f"qemu-img printed no usable information about {file.path}") from None
    details = info.get("format-specific", {}).get("data", {})
    if "backing-filename" in info or "data-file" in details:
        raise StateError(
            f"{file.path} refers to another file; if you trust it, make a whole file of it with `qemu-img convert`"
        )
    return size_bytes


def _check(zpool: str, volume: str, size_bytes: int) -> None:
    check_pool_name(zpool)
    check_volume_name(volume)
    if size_bytes <= 0:
        raise UserError("size must be at least 1 (GiB)")


GONE_SECONDS = 300.0
_UNMAP_LOOK_SECONDS = 0.5


GRACE_ATTRIBUTE = "img_grace_hours"


def grace_hours(database: Database, nas: str) -> int:
    """For how long a removed image of the NAS can be restored. StateError when its attribute is no number."""
    found = resolve_attributes(database, [nas], GRACE_ATTRIBUTE).get(nas, {})
    text = found[GRACE_ATTRIBUTE].value if GRACE_ATTRIBUTE in found else KNOWN[GRACE_ATTRIBUTE].default
    if not text.isascii() or not text.isdigit() or int(text) > LONGEST_GRACE_HOURS:
        raise StateError(
            f"the attribute {GRACE_ATTRIBUTE} of {nas} is {text[:40]!r}; set hours, 0 to {LONGEST_GRACE_HOURS}, by "
            f"rocks set host attr {nas} {GRACE_ATTRIBUTE} HOURS"
        )
    return int(text)


def remove_image(
    database: Database, nas: str, zpool: str, volume: str, force: bool, *, now: bool = False
) -> int:
    """Destroy the volume with its snapshots after its grace period; returns the hours of that.

    0 with `now`, or where the NAS has none: it is gone then, with `force` and `now` also if its machine has snapshots.
    StateError while it is mapped, has clones or is what machines get their disks from, or, without `force`, while the
    copy of a host has changes that the NAS lacks; BusyError when the destruction takes longer than `GONE_SECONDS`.
    """
    check_pool_name(zpool)
    check_volume_name(volume)
    # the base of an image has no content of its own, and no grace period
    hours = 0 if now or is_base(volume) else grace_hours(database, nas)
    lock_machine_of(database, nas, volume)
    lock_for_removal(database, [(nas, zpool, volume)])
    with open_storage(database) as storage:
        request = DelZvol(zpool, volume, force, hours * 3600, with_snapshots=force and now)
        storage.ask(questions.question(nas, request), MAP_SECONDS)
        if hours or dry_run.is_on():  # a dry run destroys nothing, and need not wait until it is gone
            return hours
        deadline = Deadline(GONE_SECONDS)
        while not deadline.passed():
            row = next((row for row in storage.ask(questions.images_of(nas)) if row.zvol == volume), None)
            if row is None:
                return 0
            if row.state != "deleting":
                raise StateError(
                    f"ZVol {volume} is not destroyed; it is {row.state}: {row.reason or 'see the log of its NAS'}"
                )
            wait_seconds(_UNMAP_LOOK_SECONDS)
    raise BusyError(
        f"ZVol {volume} is still being destroyed: rocks list host storagemap {nas} shows when it is gone"
    )


def undelete_image(database: Database, nas: str, volume: str) -> None:
    """Restore an image that was removed. StateError unless it is in its grace period."""
    check_volume_name(volume)
    with open_storage(database) as storage:
        storage.ask(questions.question(nas, UndeleteZvol(volume)), MAP_SECONDS)


def remove_copy(database: Database, host: str, volume: str, force: bool) -> None:
    """Destroy a copy that no guest uses, by its whole name. StateError when its NAS does not have all of it."""
    pool, _, name = volume.partition("/")
    check_pool_name(pool)
    check_volume_name(name)
    with open_storage(database) as storage:
        storage.ask(questions.question(host, DelCopy(volume, force)), MAP_SECONDS)


def restore_image(database: Database, nas: str, volume: str, snapshot: str, watcher: Watcher) -> None:
    """Make the snapshot the present content; the old content is preserved in a clone. StateError unless unmapped."""
    check_volume_name(volume)
    lock_machine_of(database, nas, volume)
    with open_storage(database) as storage:
        storage.wait(questions.question(nas, RestoreZvol(volume, snapshot)), MAP_SECONDS, watcher)
