"""The site's image library: images are added, described, checked and removed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import Code, HostError, StateError, UserError
from rocks.core.names import first_few, printable
from rocks.core.values import read_number
from rocks.inventory.attributes.records import members_with_values
from rocks.library.damaged_images import is_known_damaged, verified_image
from rocks.library.exports import EXPORT_FORMATS, export_image
from rocks.library.guest_images import CD_ATTRIBUTE, IMAGE_ATTRIBUTE, check_image_name, check_no_users
from rocks.library.imports import FORMATS, ImportRequest, find_leftovers, import_image, remove_leftover
from rocks.library.library_folder import library_folder, lock_images
from rocks.library.progress import Meter
from rocks.library.records import (
    LibraryImage,
    check_new,
    existing_image,
    find_image,
    image_file,
    read_images,
    remove_image_files,
    write_record,
)
from rocks.library.sources import find_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


LARGEST_IMAGE_GB = 65536
LONGEST_COMMENT = 200

DEFAULT_MAX_GB = 200
"""How large an image may become when it is imported, where the operator gives no other size."""

_SUFFIXES = {".qcow2": "qcow2", ".zst": "zstd"}
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


class AddedImage(NamedTuple):
    """The parameters of `rocks add image`, unparsed; None for parameters not given."""

    name: str
    file: str | None = None
    checksum: str | None = None
    format: str | None = None
    max_gb: str | None = None
    comment: str | None = None
    vm: str | None = None
    disk: str | None = None
    url: str | None = None
    clonezilla: str | None = None


def add_image(database: Database, added: AddedImage, progress: Callable[[str], None]) -> LibraryImage:
    """Import a file of the frontend or of a web server.

    Errors as `import_image` and `download_image`; UserError for an invalid parameter.
    """
    max_gb, comment = check_added(added)
    if bool(added.file) == bool(added.url) or added.disk is not None:
        raise UserError(
            "must supply the path of the file, or of its parts: file=PATH; or instead their URL: url=URL; "
            "disk= is for vm=NAME and clonezilla=FOLDER"
        )
    checksums = [] if added.checksum is None else [_read_checksum(one) for one in added.checksum.split(",")]
    request = ImportRequest(added.name, (), max_gb, None, _read_format(added.format), comment)
    library = library_folder(database)
    if added.url:
        return _add_from_web(database, library, request, added.url, checksums, progress)
    if "\0" in str(added.file):
        raise UserError(f"{printable(str(added.file))} is not the path of a file")
    files = find_parts(str(added.file))
    request = _with_checksums(request._replace(files=files), checksums, len(files))
    lock_images(database, [added.name])
    database.end_reading()  # an import may take hours
    return import_image(library, request, progress)


def check_added(added: AddedImage) -> tuple[int, str]:
    """The largest size in GB, and the comment. UserError for one that is not valid, and for such a name."""
    check_image_name(added.name)
    max_gb = (
        DEFAULT_MAX_GB
        if added.max_gb is None
        else read_number("size", added.max_gb, 1, LARGEST_IMAGE_GB, "GB")
    )
    return max_gb, _read_comment(added.comment or "")


def _add_from_web(
    database: Database,
    library: Path,
    request: ImportRequest,
    url: str,
    checksums: Sequence[str],
    progress: Callable[[str], None],
) -> LibraryImage:
    from rocks.library.downloads import download_image, read_urls, remove_download  # HTTP and TLS

    urls = read_urls(url)
    request = _with_checksums(request, checksums, len(urls))
    check_new(library, request.name)
    lock_images(database, [request.name])
    database.end_reading()  # a download may take hours
    files, stated = download_image(library, request.name, urls, request.max_bytes, progress, bool(checksums))
    request = request._replace(files=files, checksum=request.checksum or stated)
    try:
        image = import_image(library, request, progress)
    except UserError:
        remove_download(library, request.name)  # of the same content the next import would end so as well
        raise
    remove_download(library, request.name)
    return image


def list_library(database: Database) -> list[LibraryImage]:
    """All images, by name."""
    return read_images(library_folder(database))


def set_comment(database: Database, name: str, comment: str) -> None:
    """Give the image a comment. StateError when there is no such image, UserError for a text that is too long."""
    library = library_folder(database)
    check_image_name(name)
    lock_images(database, [name])
    image = existing_image(library, name)  # another command may just have replaced it
    write_record(library, image._replace(comment=_read_comment(comment)))


def check_image(database: Database, name: str, progress: Callable[[str], None]) -> None:
    """Read the whole image. IncoherentError when it is not what was imported, HostError when it cannot be read."""
    library = library_folder(database)
    image = existing_image(library, name)
    database.end_reading()
    remedy = f"remove it and add it again: rocks remove image {name}, rocks add image {name} file=…"
    try:
        with verified_image(library, image, Meter(progress, name, image.used_bytes).reach, remedy):
            pass
    except HostError as error:  # perhaps for a moment: one that machines need is not removed for it
        file = image_file(library, name)
        raise HostError(
            f"{error}; while machines need it, that is refused: if it can never be read, first rm {file}"
        ) from None


def save_image(
    database: Database, name: str, file: str, format_name: str | None, progress: Callable[[str], None]
) -> tuple[Path, int]:
    """Write the image to a new file; returns its path and the bytes that it takes. Errors as `export_image`."""
    if "\0" in file:
        raise UserError(f"{printable(file)} is not the path of a file")
    path = Path(file).absolute()
    chosen = _SUFFIXES.get(path.suffix, "raw") if format_name is None else format_name
    if chosen not in EXPORT_FORMATS:
        raise UserError(f'format must be {_choice(EXPORT_FORMATS)}, not "{printable(chosen)}"')
    library = library_folder(database)
    image = existing_image(library, name)
    database.end_reading()
    return path, export_image(library, image, path, chosen, progress)


def remove_image(database: Database, name: str, notify: Callable[[str], None]) -> str | None:
    """Remove the image, or its unfinished import; returns the digest that no image of the library has any more.

    StateError when virtual machines are to have their disks from it or have it in their drives, or there is none. One
    that was found damaged, or lacks its file, is removed all the same, with a line that it must be added again.
    """
    library = library_folder(database)
    check_image_name(name)
    lock_images(database, [name])
    image = find_image(library, name)
    if image is None:
        if not any(leftover.name == name for leftover in find_leftovers(library)):
            existing_image(library, name)
        remove_leftover(library, name)
        remove_image_files(library, name)
        return None
    users = [user for user, _ in members_with_values(database, IMAGE_ATTRIBUTE, [name])]
    drives = [drive for drive, _ in members_with_values(database, CD_ATTRIBUTE, [name])]
    if users or drives:
        # to read all of it may take minutes: that is for rocks check image
        if not is_known_damaged(library, name):
            check_no_users(name, users)
            _check_no_drives(name, drives)
        notify(
            f"{name} was damaged, and is removed although {first_few([*users, *drives], 5)} may need it; to add it "
            f"again: rocks add image {name} file=…"
        )
    remove_image_files(library, name)
    remove_leftover(library, name)
    is_elsewhere = any(other.digest == image.digest for other in read_images(library))
    return None if is_elsewhere or image.format != "raw" else image.digest


def _check_no_drives(name: str, drives: Sequence[str]) -> None:
    if drives:
        raise StateError(
            f"the image {name} is not removed: it is in the CD drive of {first_few(drives, 5)}; take it out first: "
            f"rocks set host vm cdrom {drives[0]} eject",
            code=Code.LIBRARY_IMAGE_IN_USE,
        )


def _with_checksums(request: ImportRequest, checksums: Sequence[str], count: int) -> ImportRequest:
    """The request with one SHA-256 of the whole, or one of each of so many parts. UserError for another number."""
    if len(checksums) <= 1:
        return request._replace(checksum=next(iter(checksums), None))
    if len(checksums) != count:
        raise UserError(
            f"checksum has {len(checksums)} values for {count} files; give one for each part, or one for all joined"
        )
    return request._replace(part_checksums=tuple(checksums))


def _read_checksum(text: str) -> str:
    match = _SHA256.fullmatch(text.strip())
    if match is None:
        raise UserError(
            f'checksum must be a SHA-256, 64 hexadecimal digits, not "{printable(text)}"; sha256sum FILE prints it'
        )
    return match[1].lower()


def _read_format(text: str | None) -> str | None:
    if text is not None and text not in FORMATS:
        raise UserError(f'format must be {_choice(FORMATS)}, not "{printable(text)}"')
    return text


def _read_comment(text: str) -> str:
    if len(text) > LONGEST_COMMENT or not text.isprintable():
        raise UserError(
            f"a comment has up to {LONGEST_COMMENT} printable characters, not {printable(text[:80])!r}"
        )
    return text


def _choice(values: Sequence[str]) -> str:
    return f"{', '.join(values[:-1])} or {values[-1]}"
