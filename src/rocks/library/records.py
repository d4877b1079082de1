"""Images of the library: their names, files and records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal, NamedTuple

from rocks.core.errors import Code, HostError, IncoherentError, StateError
from rocks.core.files import PUBLIC, explain, remove_drafts, write_file
from rocks.core.near_names import did_you_mean
from rocks.core.terminal import one_line
from rocks.library.guest_images import Source, check_image_name

ImageFormat = Literal["raw", "iso"]
"""How an image is stored: the content of a disk, or an ISO."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_RECORD = ".json"
_DRAFT = re.compile(r"\.(.+)\.unfinished-[^/]*")
_LONGEST_RECORD_BYTES = 64 * 1024


class LibraryImage(NamedTuple):
    """An image: sizes in bytes, the digest of `rocks.core.image_blocks`, and the SHA-256 of the file it was made from.

    `source_digest` is empty where no checksum was given.
    """

    name: str
    format: ImageFormat
    size_bytes: int
    used_bytes: int
    digest: str
    source_digest: str = ""
    comment: str = ""


def image_file(library: Path, name: str) -> Path:
    """The file with the content of an image."""
    return library / f"{name}.img"


def damage_note(library: Path, name: str) -> Path:
    """The file that identifies the content which was found damaged."""
    return library / f".{name}.damaged"


def read_images(library: Path) -> list[LibraryImage]:
    """All images, by name. IncoherentError for a damaged record, HostError for a folder that cannot be read."""
    try:
        found = [path for path in library.glob(f"*{_RECORD}") if not path.name.startswith(".")]
    except OSError as error:
        raise HostError(f"the image library {library} cannot be read: {error.strerror}") from None
    return sorted(_read(path) for path in found)


def image_names(library: Path) -> list[str]:
    """The names of all images; their records are not read. None of a folder that cannot be read."""
    try:
        found = [path.name.removesuffix(_RECORD) for path in library.glob(f"*{_RECORD}")]
    except OSError:
        return []
    return sorted(name for name in found if not name.startswith("."))


def find_image(library: Path, name: str) -> LibraryImage | None:
    """The image of this name, or None. IncoherentError for a damaged record."""
    check_image_name(name)
    path = library / f"{name}{_RECORD}"
    return _read(path) if path.exists() else None


def existing_image(library: Path, name: str) -> LibraryImage:
    """The image of this name. StateError when there is none."""
    found = find_image(library, name)
    if found is None:
        raise StateError(
            f"there is no image {name} in the library {library}; {did_you_mean(name, image_names(library))}"
            f"rocks list image shows all, rocks add image {name} file=… adds one",
            code=Code.LIBRARY_IMAGE_UNKNOWN,
        )
    return found


def source_of(image: LibraryImage) -> Source:
    """The image as a source of disks. StateError for an ISO."""
    if image.format != "raw":
        raise StateError(
            f"the image {image.name} is an ISO, and disks are made from disk images only; rocks list image shows which "
            "are, rocks set host vm cdrom puts an ISO into a drive"
        )
    return Source(image.name, image.size_bytes, image.used_bytes, image.digest)


def write_record(library: Path, image: LibraryImage) -> None:
    """Store the record of an image whose file is complete. HostError."""
    text = json.dumps(image._asdict(), indent=1) + "\n"
    write_file(library / f"{image.name}{_RECORD}", text, mode=PUBLIC)


def check_new(library: Path, name: str) -> None:
    """StateError when there is an image of this name already, UserError for a name that is not valid."""
    if find_image(library, name) is not None:
        raise StateError(
            f"there is an image {name} already; give another name, or rocks remove image {name} first",
            code=Code.LIBRARY_IMAGE_EXISTS,
        )


def write_new_record(library: Path, image: LibraryImage) -> None:
    """Store the record of a new image. HostError; then there is no image either."""
    try:
        write_record(library, image)
    except HostError:
        image_file(library, image.name).unlink(missing_ok=True)
        raise


def remove_image_files(library: Path, name: str) -> None:
    """Remove the record, then the files; what is absent already is left so. HostError."""
    try:
        for path in (library / f"{name}{_RECORD}", image_file(library, name), damage_note(library, name)):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(f"the image {name} cannot be removed: {explain(error, library / name)}") from None


def remove_leftovers(library: Path) -> None:
    """Remove the unfinished files of imports that were killed; those of imports that run stay."""
    names = {match[1] for path in library.iterdir() if (match := _DRAFT.fullmatch(path.name))}
    for name in sorted(names):
        remove_drafts(library / name)


def _read(path: Path) -> LibraryImage:
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_LONGEST_RECORD_BYTES))
        image = LibraryImage(**values)
        texts = (image.name, image.format, image.digest, image.source_digest, image.comment)
        is_sound = all(isinstance(text, str) for text in texts) and image.format in ("raw", "iso")
        is_sound &= all(
            type(number) is int and number >= 0 for number in (image.size_bytes, image.used_bytes)
        )
        is_sound &= image.name == path.name.removesuffix(_RECORD) and bool(_DIGEST.fullmatch(image.digest))
    except OSError as error:
        raise HostError(f"the record {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        is_sound = False
    if not is_sound:
        name = one_line(path.name.removesuffix(_RECORD))
        raise IncoherentError(
            f"the record {one_line(str(path))} of the image library is damaged; remove it (rm) and add the image "
            f"again: rocks add image {name} file=…"
        )
    return image
