"""Images on a NAS: create empty ones, clone, import files, restore snapshots, remove."""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.actions.storage_access import open_storage
from rocks.clock import Deadline, wait_seconds
from rocks.cluster.image_places import check_pool_name
from rocks.cluster.image_plan import check_volume_name
from rocks.errors import BusyError, StateError, ToolError, UserError
from rocks.imgstorage.client import questions
from rocks.imgstorage.client.asking import MAP_SECONDS
from rocks.process import run, run_checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rocks.database.connection import Database
    from rocks.imgstorage.client import Watcher


FORMATS = {"raw": "raw", "img": "raw", "qcow2": "qcow2"}
"""A file's suffix → its format; any other format must be stated."""

_BEGINNINGS = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "VMDK"),
    (0, b"# Disk DescriptorFile", "VMDK"),
    (0, b"vhdxfile", "VHDX"),
    (64, b"\x7f\x10\xda\xbe", "VDI"),
)
"""Where in a file of that format which bytes are. Source: QEMU's block drivers of these formats."""

_PROGRESS = re.compile(rb"\(\s*([0-9.]+)/100%\)")
"""How far `qemu-img convert -p` is (seen with 7.2), a carriage return behind each."""

_LOOK_SECONDS = 60.0
_CONVERT_SECONDS = 24 * 3600.0


class ImageFile(NamedTuple):
    """A file to be brought in. Its content, which a guest may have written, never decides its format."""

    path: Path
    format: str


def read_image_file(path: str, stated: str) -> ImageFile:
    """The file that a person named. UserError for one that is not there, or whose format is not known.

    A name that says raw is not believed where the content looks like another format: many qcow2 files are called .img.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"file={path} is no file on this machine")
    chosen = stated or FORMATS.get(file.suffix.lstrip("."), "")
    if chosen not in FORMATS.values():
        raise UserError(f"the format of {path} is not known by its name: say format=raw or format=qcow2")
    if chosen == "raw" and not stated:
        _check_raw(file)
    return ImageFile(file, chosen)


def add_empty_image(database: Database, nas: str, zpool: str, volume: str, size_bytes: int) -> None:
    """An empty volume. StateError when there is one of that name."""
    _check(zpool, volume, size_bytes)
    with open_storage(database) as storage:
        storage.ask(questions.add_image(nas, zpool, volume, size_bytes=size_bytes), MAP_SECONDS)


def add_clone(database: Database, nas: str, zpool: str, volume: str, origin: str) -> None:
    """A volume that shares with another one what both have in common; it takes no room of its own at first."""
    _check(zpool, volume, 1)
    check_volume_name(origin.partition("@")[0])
    with open_storage(database) as storage:
        storage.ask(questions.add_image(nas, zpool, volume, origin=origin), MAP_SECONDS)


def import_image(
    database: Database, nas: str, zpool: str, volume: str, file: ImageFile, watcher: Watcher
) -> str:
    """A volume with the content of a file; returns its digest. What an earlier attempt left is completed."""
    from rocks.actions.storage_access import open_transfer
    from rocks.imgstorage.client.importing import Destination, send_file
    from rocks.imgstorage.client.listing import transfer_line

    _check(zpool, volume, 1)
    converting = _converting(volume, watcher)
    with as_raw(file, converting) as (raw, size_bytes), open_storage(database) as storage:
        address, port, context = open_transfer(database, nas)
        wanted = questions.add_image(nas, zpool, volume, size_bytes=size_bytes, importing=True)
        made = storage.ask(wanted, MAP_SECONDS)
        destination = Destination(nas, address, port, f"{zpool}/{volume}", made.guid, made.size_bytes)
        return send_file(
            raw, destination, context, lambda progress: watcher.progress(transfer_line(volume, progress))
        )


@contextmanager
def as_raw(file: ImageFile, watch: Callable[[float], None] | None = None) -> Iterator[tuple[Path, int]]:
    """The content of a file as a raw file, and its size. UserError or StateError for a file that is not to be used.

    `watch` is told how many percent of a conversion, which may last hours, are done.
    """
    if file.format == "raw":
        size_bytes = file.path.stat().st_size
        if size_bytes == 0:
            raise UserError(f"{file.path} is empty")
        yield file.path, size_bytes
        return
    size_bytes = _virtual_size(file)
    with tempfile.TemporaryDirectory(prefix=".rocks-import-", dir=file.path.absolute().parent) as folder:
        raw = Path(folder) / "raw"
        words = ["qemu-img", "convert", "-p", "-f", file.format, "-O", "raw", str(file.path), str(raw)]
        printed = None if watch is None else _percent_for(watch)
        run_checked(words, deadline_seconds=_CONVERT_SECONDS, watch=printed)
        yield raw, size_bytes


def _check_raw(file: Path) -> None:
    """UserError for a file that looks like a format that its name does not say; this is all that a look may do."""
    try:
        with file.open("rb") as content:
            head = content.read(128)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    for offset, mark, kind in _BEGINNINGS:
        if head[offset:].startswith(mark):
            made = (
                f"make a qcow2 file of it (qemu-img convert -f {kind.lower()} -O qcow2) and say format=qcow2"
            )
            other = "format=qcow2 when it is one" if kind == "qcow2" else made
            raise UserError(
                f"{file} looks like {kind}, but its name says raw: say format=raw when the disk itself begins like "
                f"that, or {other}"
            )


def _converting(volume: str, watcher: Watcher) -> Callable[[float], None] | None:
    """Tells a person who sees it how far the conversion is."""
    if not watcher.wants_progress:
        return None
    return lambda percent: watcher.progress(f"{volume}: {percent:.0f} % converted")


def _percent_for(watch: Callable[[float], None]) -> Callable[[bytes], None]:
    def printed(output: bytes) -> None:
        found = _PROGRESS.findall(output)
        if found:
            watch(float(found[-1]))

    return printed


def _virtual_size(file: ImageFile) -> int:
    """Of a file in a format of QEMU's. One that refers to other files is refused: whoever wrote it chose which."""
    words = ["qemu-img", "info", "--output=json", "-f", file.format, str(file.path)]
    answer = run(words, deadline_seconds=_LOOK_SECONDS)
    if answer.exit_status != 0:
        raise UserError(f"{file.path} is no {file.format} file: {answer.error_text.splitlines()[-1][:200]}")
    try:
        said = json.loads(answer.text)
        size_bytes = int(said["virtual-size"])
    except (ValueError, KeyError):
        raise ToolError(f"qemu-img told nothing of {file.path} that can be used") from None
    details = said.get("format-specific", {}).get("data", {})
    if "backing-filename" in said or "data-file" in details:
        raise StateError(
            f"{file.path} refers to another file; make a whole one of it by `qemu-img convert` where you trust it"
        )
    return size_bytes


def _check(zpool: str, volume: str, size_bytes: int) -> None:
    check_pool_name(zpool)
    check_volume_name(volume)
    if size_bytes <= 0:
        raise UserError("size must be at least 1 (GB)")


GONE_SECONDS = 300.0
_UNMAP_LOOK_SECONDS = 0.5


def remove_image(database: Database, nas: str, zpool: str, volume: str, force: bool) -> None:
    """Destroy the volume with its snapshots; returns when it is gone.

    StateError while a host has it, others need it, or, without `force`, a host's copy has changes that the NAS has
    not; BusyError when it takes longer than we wait.
    """
    check_pool_name(zpool)
    check_volume_name(volume)
    with open_storage(database) as storage:
        storage.ask(questions.delete_image(nas, zpool, volume, force), MAP_SECONDS)
        deadline = Deadline(GONE_SECONDS)
        while not deadline.passed():
            row = next((row for row in storage.ask(questions.images_of(nas)) if row.zvol == volume), None)
            if row is None:
                return
            if row.state != "deleting":
                raise StateError(
                    f"ZVol {volume} is not destroyed, it is {row.state}: {row.reason or 'see its NAS'}"
                )
            wait_seconds(_UNMAP_LOOK_SECONDS)
    raise BusyError(
        f"ZVol {volume} is still being destroyed: rocks list host storagemap {nas} shows when it is gone"
    )


def restore_image(database: Database, nas: str, volume: str, snapshot: str, watcher: Watcher) -> None:
    """Make the snapshot the present content; what is there now is kept beside it. StateError unless unmapped."""
    check_volume_name(volume)
    if not snapshot:
        raise UserError(
            f"name the snapshot: snap=NAME, one of those that rocks list host storagesnap {nas} {volume} shows"
        )
    with open_storage(database) as storage:
        storage.wait(questions.restore_image(nas, volume, snapshot), MAP_SECONDS, watcher)
