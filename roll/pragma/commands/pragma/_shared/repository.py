"""The repository of cluster images: `vcdb.txt`, a folder for each image, and what the site's library has of them.

An image of the library has a name with a digest of the SHA-256 that vc-in.xml states, else of what its file is: on a
web server its ETag, time of change and size, on this machine its size and time of change. So a changed file becomes a
new image, and machines of the old one go on.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from rocks.core.downloads import ask, fetch
from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.core.files import PUBLIC, ensure_folders, explain, write_file
from rocks.core.terminal import one_line

from .cluster_list import LIST, MAX_LIST_BYTES, read_list, read_list_file
from .documents import read_file
from .preparation import prepare_image
from .site import REPOSITORY, URL, rows
from .vc_in import MAX_BYTES, FileDisk, Node, VcIn, check_volumes, digest_of, read_vc_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.commands import Command

    from .drivers import BootRequest
    from .site import Settings

_IMAGES = "images.json"
"""End of the name of a file beside a vc-in.xml of a web server: digest of a vc-in.xml → its images in the library."""
_DIGEST_LENGTH = 12
_VOLUME = "volume:"
"""Before the name of a volume of a NAS, in the place of an image."""
_NEW = "not looked into yet"
"""Comment of an image until it is known whether it must be prepared."""
_LOCK, _LOCK_SECONDS = "pragma images {}", 600.0
"""Of who brings or adds the images of a cluster; how long another command waits for it."""


class Images(NamedTuple):
    """The images of the library for a cluster; that of computes is empty where the cluster has none."""

    frontend: str
    compute: str = ""


def known_clusters(settings: Settings) -> dict[str, Path]:
    """Name → its vc-in.xml on this machine. StateError without a list; UserError for one that is not valid."""
    file = settings.repository / LIST
    remedy = (
        "rocks pragma sync repository"
        if settings.url
        else f"rocks set attr {REPOSITORY} FOLDER names another, rocks set attr {URL} URL a web server's"
    )
    try:
        known = read_list_file(file)
    except OSError as error:
        raise StateError(f"the repository has no list {file}: {error.strerror}; {remedy}") from None
    return {name: settings.repository / path for name, path in known.items()}


def read_description(settings: Settings, name: str) -> tuple[VcIn, Path]:
    """The description of a cluster of the repository, and its file. UserError for a name that is not listed."""
    known = known_clusters(settings)
    if name not in known:
        raise unknown_cluster(name)
    try:
        return read_vc_in(read_file(known[name], MAX_BYTES), str(known[name])), known[name]
    except OSError as error:
        remedy = "rocks pragma sync repository" if settings.url else f"correct {LIST}"
        raise StateError(f"{known[name]} cannot be read: {error.strerror}; {remedy}") from None


def unknown_cluster(name: str) -> UserError:
    """The error for a name that is not listed."""
    return UserError(
        f"the repository has no cluster {one_line(name)[:80]}; rocks pragma list repository lists all"
    )


def read_request(settings: Settings, request: BootRequest) -> tuple[VcIn, Path]:
    """`read_description` for a boot. UserError for computes of a cluster that has none."""
    described, file = read_description(settings, request.vc)
    if request.cpus and described.compute is None:
        raise UserError(f"{request.vc} is a frontend alone; give 0 CPUs")
    return described, file


def library_images(command: Command, settings: Settings, name: str, described: VcIn, file: Path) -> Images:
    """The images of a cluster in the library; files of this machine are added if they are not there, or have changed.

    StateError for one of a web server that was not fetched, or is a machine's disk; BusyError where another command
    adds them for long; the errors of `rocks add image`.
    """
    is_copy = _images_file(file, name).exists()
    if settings.url or is_copy:
        check_volumes(described)
    if settings.url:
        try:
            return Images(**_stated_images(file, name)[described.digest])
        except (KeyError, TypeError):
            raise StateError(f"the images of {name} are not here yet; rocks pragma sync repository") from None
    with _only_here(command, name):
        remedy = "put it there, or correct vc-in.xml"
        if is_copy:
            remedy = (
                f"its description is a copy of a web server's: rocks set attr {URL} URL, or replace {LIST}"
            )
        return _add_images(command, settings, name, described, partial(_local_file, file.parent, remedy))


def sync_repository(command: Command, settings: Settings) -> tuple[list[str], dict[str, RocksError]]:
    """Bring list, descriptions and images here, or add the images of a local repository.

    Returns a line about each cluster that is here, and cluster → error for the others, whose path and description stay
    as they were. The list comes last, unless all have failed. The errors of the list itself are raised.
    """
    lines: list[str] = []
    failures: dict[str, RocksError] = {}
    known = _fetch_list(settings) if settings.url else known_clusters(settings)
    for name, path in known.items():
        try:
            if settings.url:
                images = _fetch_cluster(command, settings, name, str(path))
            else:
                images = library_images(command, settings, name, *read_description(settings, name))
        except RocksError as error:
            failures[name] = error
        else:
            lines.append(_line(name, images))
    if settings.url and lines:
        _write_list(settings.repository / LIST, {name: str(path) for name, path in known.items()}, failures)
    return lines, failures


def _fetch_list(settings: Settings) -> dict[str, str]:
    """The web server's list. StateError for a URL without one.

    HostError for one without clusters: some servers answer so when they fail.
    """
    url = f"{settings.url}/{LIST}"
    try:
        data = fetch(url, MAX_LIST_BYTES)
    except UserError as error:
        raise StateError(f"the repository cannot be fetched: {error}; rocks set attr {URL} URL") from None
    if not (known := read_list(data, url)):
        raise HostError(
            f"{url} names no cluster; nothing is changed here: correct it, then repeat the command"
        )
    return known


def _write_list(file: Path, known: dict[str, str], failed: Collection[str]) -> None:
    """Write the list; a cluster that failed keeps the path that it had here.

    An absolute path has failed, too: it would name any file of this machine.
    """
    earlier: dict[str, str] = {}
    with suppress(OSError, UserError):
        earlier = read_list_file(file)
    paths = {name: path for name, path in known.items() if not path.startswith("/")}
    paths |= {name: earlier[name] for name in failed if name in earlier}
    _write(file, "".join(f"{name},{path}\n" for name, path in paths.items()).encode())


def _fetch_cluster(command: Command, settings: Settings, name: str, path: str) -> Images:
    """Bring the images of a cluster to the library, then its description. BusyError as `library_images`."""
    if path.startswith("/"):
        raise UserError(
            f"{settings.url}/{LIST} has the absolute path {one_line(path)[:100]} of {name}; it must be below the URL"
        )
    # to the end: of two syncs, the second one would write the images of its own version beside the first one's
    with _only_here(command, name):
        return _fetch_version(command, settings, name, path)


def _fetch_version(command: Command, settings: Settings, name: str, path: str) -> Images:
    url = f"{settings.url}/{quote(path)}"
    data = fetch(url, MAX_BYTES)
    described, base = read_vc_in(data, url), url.rpartition("/")[0]
    images = _add_images(command, settings, name, described, partial(_remote_file, base))
    file = settings.repository / path
    stated: dict[str, Any] = {}
    former = images
    # boots have the version that is here, and its images, until the description is replaced
    with suppress(OSError, UserError, KeyError, TypeError):
        here = digest_of(read_file(file, MAX_BYTES))
        former = Images(**_stated_images(file, name)[here])
        stated[here] = former._asdict()
    stated[described.digest] = images._asdict()
    _write(_images_file(file, name), json.dumps(stated).encode())
    _write(file, data)
    for image in sorted(set(former) - {*images, ""}):
        if not image.startswith(_VOLUME):
            command.notify(
                f"{name}: {image} is replaced; when no machine needs it: rocks remove image {image}"
            )
    return images


def _images_file(file: Path, name: str) -> Path:
    return file.parent / f".{name}.{_IMAGES}"


def _stated_images(file: Path, name: str) -> dict[str, Any]:
    """Digest of a description → images; none where the file is missing, or is not valid."""
    try:
        found = json.loads(_images_file(file, name).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class _Source(NamedTuple):
    """A file of an image: its path or URL, the parameter of `rocks add image`, a text that changes with its content.

    `age` is its time of change and size where a web server states them: servers behind one name may state an ETag each.
    """

    place: str
    parameter: str
    version: str
    age: str


def _local_file(folder: Path, remedy: str, name: str) -> _Source:
    path = folder / name
    try:
        status = path.stat()
    except OSError as error:
        raise StateError(f"the image {path} cannot be read: {error.strerror}; {remedy}") from None
    version = f"{status.st_size} {status.st_mtime_ns}"
    return _Source(str(path), "file", version, version)


def _remote_file(base: str, path: str) -> _Source:
    url = f"{base}/{quote(path)}"
    remote = ask(url)
    age = f"{remote.modified or remote.etag} {remote.size_bytes}"
    return _Source(url, "url", f"{remote.etag} {remote.modified} {remote.size_bytes}", age)


@contextmanager
def copied_image(command: Command, settings: Settings, image: str) -> Iterator[Path]:
    """A raw copy of an image of the library, for as long as it is needed; one at a time. StateError for a volume."""
    if image.startswith(_VOLUME):
        raise StateError(
            f"{image} is on a NAS, and is neither checked nor copied; make an image of it (rocks add image NAME vm=VM)"
        )
    folder = settings.repository / ".check"
    _create_folder(folder, 0o700)
    with locked(folder):
        for left in folder.iterdir():  # by a command that was killed
            left.unlink()
        copy = folder / image
        try:
            command.command("save.image", [image, f"file={copy}", "format=raw"])
            command.db.commit()
            yield copy
        finally:
            copy.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, is_waiting: bool = True) -> Iterator[int | None]:
    """The descriptor that locks the folder, None where another process has it; a process that dies unlocks it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if is_waiting else fcntl.LOCK_NB))
        is_locked = True
    except BlockingIOError:
        is_locked = False
    try:
        yield descriptor if is_locked else None
    finally:
        os.close(descriptor)


@contextmanager
def _only_here(command: Command, name: str) -> Iterator[None]:
    """One command at a time brings or adds the images of a cluster. BusyError where another one does it for long."""
    lock = _LOCK.format(name)
    command.db.lock(lock, _LOCK_SECONDS)
    try:
        yield
    finally:
        command.db.unlock(lock)


def _add_images(
    command: Command, settings: Settings, name: str, described: VcIn, source_of: Callable[[str], _Source]
) -> Images:
    """The images of a cluster; those that are not in the library are added."""
    listed = rows(command, "list.image")
    there = {str(row["owner"]): str(row["comment"] or "") for row in listed if row["format"] == "raw"}
    frontend = _add_image(command, settings, f"{name}-frontend", described.frontend, source_of, there)
    if described.compute is None:
        return Images(frontend)
    if described.compute.disk == described.frontend.disk:
        return Images(frontend, frontend)
    return Images(
        frontend, _add_image(command, settings, f"{name}-compute", described.compute, source_of, there)
    )


def _add_image(
    command: Command,
    settings: Settings,
    stem: str,
    node: Node,
    source_of: Callable[[str], _Source],
    there: dict[str, str],
) -> str:
    """The image of a node, prepared once, or its volume; `there` has the library's images with their comments."""
    if not isinstance(node.disk, FileDisk):
        return f"{_VOLUME}{node.disk.volume}"
    sources = [source_of(part) for part in node.disk.sources]
    # what states a SHA-256 that it did not state before is compared, and becomes an image of its own; nothing else
    # counts then: servers behind one name may state an ETag each
    text = "\n".join(node.disk.checksums or [f"{source.place} {source.version}" for source in sources])
    image = _name(stem, text)
    prepared = _name(stem, f"{text}\nprepared")
    if prepared in there:
        if image in there and not command.is_dry:  # by a command that was killed
            command.command("remove.image", [image])
            del there[image]
        return prepared
    if image not in there:
        if command.is_dry:
            raise StateError(
                f"the image {image} is not in the library yet, and a dry run adds none; "
                "rocks pragma sync repository"
            )
        places = ",".join(source.place for source in sources)
        checksum = [f"checksum={','.join(node.disk.checksums)}"] * bool(node.disk.checksums)
        command.command(
            "add.image", [image, f"{sources[0].parameter}={places}", *checksum, f"comment={_NEW}"]
        )
        ages = [source.age for source in sources]
        if not checksum and len(ages) > 1 and ages != [source_of(part).age for part in node.disk.sources]:
            command.command("remove.image", [image])
            raise HostError(
                f"the parts of {node.disk.file} may be of two versions: they have changed meanwhile, or their server "
                "states another one each time; repeat the command, or state the sha256 of each part"
            )
        there[image] = _NEW
    if there[image] != _NEW or command.is_dry:
        return image
    found = _prepare(command, settings, image, prepared)
    there[found] = ""
    return found


def _name(stem: str, text: str) -> str:
    return f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]}"


def _prepare(command: Command, settings: Settings, image: str, prepared: str) -> str:
    """Prepare a new image for guests without cloud-init. The name of what is there then; the same command continues."""
    with copied_image(command, settings, image) as copy:
        try:
            is_prepared = prepare_image(copy)
        except OSError as error:
            place = os.environ.get("TMPDIR", "/tmp")
            raise HostError(
                f"{image} cannot be prepared: {error.strerror or error}; free space in {place}, then repeat the command"
            ) from None
        if not is_prepared:
            command.command("set.image", [image, "comment="])
            return image
        command.command("add.image", [prepared, f"file={copy}", f"comment=of {image}, without cloud-init"])
    command.command("remove.image", [image])
    return prepared


def _write(path: Path, data: bytes) -> None:
    _create_folder(path.parent, 0o755)
    write_file(path, data, mode=PUBLIC)


def _create_folder(folder: Path, mode: int) -> None:
    try:
        ensure_folders(folder, mode)
    except OSError as error:
        raise HostError(f"cannot create {folder}: {explain(error, folder)}") from None


def _line(name: str, images: Images) -> str:
    return f"{name}: {' '.join(dict.fromkeys(image for image in images if image))}"
