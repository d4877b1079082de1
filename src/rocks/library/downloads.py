"""Images of web servers: their parts are brought into the library, and imported as files are.

They stay there, with what the server states of them, until the image is complete: the same command continues.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rocks.core.downloads import ForbiddenFileError, MissingFileError, check_url, download, fetch
from rocks.core.errors import HostError, UserError
from rocks.core.files import ensure_folders, explain
from rocks.core.terminal import one_line
from rocks.library.conversion import SpaceWatch, check_space
from rocks.library.imports import download_folder
from rocks.library.progress import Meter, Progress
from rocks.library.sources import MAX_PARTS

SUMS = "SHA256SUMS"
"""File beside images with their digests, as sha256sum writes it."""

_MAX_SUMS_BYTES = 1024**2
_SUM = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


def read_urls(text: str) -> tuple[str, ...]:
    """The URLs of an image, or of its parts in their order, separated by commas. UserError."""
    urls = tuple(text.split(","))
    if len(urls) > MAX_PARTS:
        raise UserError(f"there are {len(urls)} parts, and at most {MAX_PARTS} are possible")
    for url in urls:
        check_url(url)
    if len(set(urls)) < len(urls):
        raise UserError("the same part is given twice")
    return urls


def download_image(
    library: Path, name: str, urls: Sequence[str], max_bytes: int, progress: Progress, has_checksum: bool
) -> tuple[tuple[Path, ...], str | None]:
    """The files of the URLs, in the library, and the SHA-256 that `SHA256SUMS` beside a single one states.

    Several parts are compared here, one by one. With `has_checksum` no `SHA256SUMS` is fetched. Errors as
    `rocks.core.downloads.download`, and UserError for a part that is not what is stated, which is fetched again next
    time.
    """
    folder = download_folder(library, name)
    try:
        ensure_folders(folder, 0o700)
        sums = {} if has_checksum else _read_sums(urls)
        files: list[Path] = []
        for number, url in enumerate(urls):
            files.append(folder / f"{number:05d}")
            left = max_bytes - sum(file.stat().st_size for file in files[:-1])
            _download(url, files[-1], left, progress)
            if len(urls) > 1 and url in sums:
                _check_part(url, files[-1], sums[url])
    except (HostError, UserError) as error:
        with contextlib.suppress(OSError):
            folder.rmdir()  # unless something has arrived
        raise type(error)(f"the image {name} is not imported: {error}") from None
    except OSError as error:
        raise HostError(
            f"the image {name} is not imported: {explain(error, folder)}; then repeat the command, which continues"
        ) from None
    return tuple(files), sums.get(urls[0]) if len(urls) == 1 else None


def remove_download(library: Path, name: str) -> None:
    """Remove what was brought for the image."""
    shutil.rmtree(download_folder(library, name), ignore_errors=True)


def _download(url: str, target: Path, max_bytes: int, progress: Progress) -> None:
    meters: list[Meter] = []
    # a server need not state a size
    space = SpaceWatch(lambda written: check_space(target.parent))

    def begins(done_bytes: int, size_bytes: int) -> None:
        check_space(target.parent, max(0, size_bytes - done_bytes))
        meters.append(Meter(progress, _base_name(url), size_bytes, done_bytes))

    def arrives(count: int) -> None:
        space.count(count)
        meters[0].count(count)

    download(url, target, max_bytes, begins, arrives)


def _read_sums(urls: Sequence[str]) -> dict[str, str]:
    """URL → SHA-256, for those that a `SHA256SUMS` beside them names; a folder without one is the usual case."""
    found: dict[str, str] = {}
    for sums in dict.fromkeys(map(_sums_url, urls)):
        try:
            text = fetch(sums, _MAX_SUMS_BYTES).decode("utf-8", "replace")
        except (MissingFileError, ForbiddenFileError):
            continue  # stores of objects forbid a file that is missing
        stated = {match[2]: match[1].lower() for line in text.splitlines() if (match := _SUM.fullmatch(line))}
        for url in urls:
            if _sums_url(url) == sums and _base_name(url) in stated:
                found[url] = stated[_base_name(url)]
    return found


def _sums_url(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rpartition('/')[0]}/{SUMS}", query="", fragment="").geturl()


def _base_name(url: str) -> str:
    return one_line(unquote(urlsplit(url).path.rpartition("/")[2]))


def _check_part(url: str, file: Path, expected: str) -> None:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != expected:
        file.unlink()
        raise UserError(f"the SHA-256 of {url} is {digest}, and {SUMS} beside it states {expected}")
