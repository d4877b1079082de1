"""New images on a NAS: empty ones, clones of others, and files of an operator."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.actions.reach_storage import open_storage
from rocks.cluster.image_places import check_pool_name
from rocks.cluster.image_plan import check_volume_name
from rocks.errors import StateError, ToolError, UserError
from rocks.imgstorage.client import questions
from rocks.imgstorage.client.asking import MAP_SECONDS
from rocks.process import run, run_checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rocks.database.connection import Database
    from rocks.imgstorage.client import Watcher

FORMATS = {"raw": "raw", "img": "raw", "qcow2": "qcow2"}
"""A file's suffix → its format; any other format must be stated."""

_LOOK_SECONDS = 60.0
_CONVERT_SECONDS = 24 * 3600.0


class ImageFile(NamedTuple):
    """A file to be brought in. Its format is never guessed from its content, which a guest may have written."""

    path: Path
    format: str


def read_file_words(path: str, stated: str) -> ImageFile:
    """The file that a person named. UserError for one that is not there, or whose format is not known."""
    file = Path(path)
    if not file.is_file():
        raise UserError(f"file={path} is no file on this machine")
    chosen = stated or FORMATS.get(file.suffix.lstrip("."), "")
    if chosen not in FORMATS.values():
        raise UserError(f"the format of {path} is not known by its name: say format=raw or format=qcow2")
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
    from rocks.actions.reach_storage import open_transfer
    from rocks.imgstorage.client.importing import Destination, send_file
    from rocks.imgstorage.client.listing import transfer_line

    _check(zpool, volume, 1)
    with as_raw(file) as (raw, size_bytes), open_storage(database) as storage:
        wanted = questions.add_image(nas, zpool, volume, size_bytes=size_bytes, importing=True)
        made = storage.ask(wanted, MAP_SECONDS)
        address, port, context = open_transfer(database, nas)
        destination = Destination(nas, address, port, f"{zpool}/{volume}", made.guid, made.size_bytes)
        return send_file(
            raw, destination, context, lambda progress: watcher.progress(transfer_line(volume, progress))
        )


@contextmanager
def as_raw(file: ImageFile) -> Iterator[tuple[Path, int]]:
    """The content of a file as a raw file, and its size. UserError or StateError for a file that is not to be used."""
    if file.format == "raw":
        size_bytes = file.path.stat().st_size
        if size_bytes == 0:
            raise UserError(f"{file.path} is empty")
        yield file.path, size_bytes
        return
    size_bytes = _virtual_size(file)
    with tempfile.TemporaryDirectory(prefix=".rocks-import-", dir=file.path.absolute().parent) as folder:
        raw = Path(folder) / "raw"
        words = ["qemu-img", "convert", "-f", file.format, "-O", "raw", str(file.path), str(raw)]
        run_checked(words, deadline_seconds=_CONVERT_SECONDS)
        yield raw, size_bytes


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
