"""The driver of the first generation: a folder of programs with a fixed order of arguments.

    fix_images VC_IN FOLDER NODE_TYPES           prepare the images in FOLDER, once; NODE_TYPES is frontend,compute
    allocate CPUS VC_IN VC_OUT FOLDER KEY_FILE   reserve what the cluster needs, once, and write VC_OUT
    boot IMAGE FQDN FOLDER VC_OUT IPOP_URL 0     start a machine, the frontend first

The first generation could do no more. `status`, `shutdown` and `clean` are ours, each with FOLDER VC_OUT; `status`
prints `NAME STATE` for each machine, active or nostate.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.errors import BusyError, HostError, RocksError, StateError, ToolError, UserError
from rocks.core.files import ensure_folders, explain, write_file
from rocks.core.process import run_checked
from rocks.core.terminal import one_line
from rocks.core.version import guide_page

from .documents import MAX_BYTES, read_document, read_file
from .drivers import Allocated, BootRequest, Machine, UnknownClusterError, check_supported, read_key
from .repository import library_images, locked, read_request
from .vc_in import FileDisk

if TYPE_CHECKING:
    from rocks.commands import Command

    from .site import Settings
    from .vc_in import Node

_FOLDERS, _VC_OUT = ".clusters", "vc-out.xml"
_UNFINISHED = ".unfinished"
"""A file in a folder whose boot has not ended: the next boot removes it.

It has names, one a line, that `allocate` must not give: of machines that a program `clean` removes while it runs.
"""
_REMOVED = ".removed"
"""How the name of a folder ends that is being removed, of which no file says any more what it was."""
_SECONDS, _GIVE_BACK_SECONDS = 3600.0, 600.0
"""How long a program runs at most; so `clean` for a boot that failed or was killed, for which a boot waits."""
_STATUS_SECONDS, _STATUS_AT_ONCE = 10.0, 8
"""How long `status` runs at most, for each of so many clusters at the same time."""
_MAX_OUTPUT_BYTES = 1 << 24
"""Far more than a program prints that shows its progress; all is in memory until it ends."""


class _Cluster(NamedTuple):
    """What `allocate` wrote: the public name and address of the frontend, and the names of the computes."""

    folder: Path
    fqdn: str
    address: str
    computes: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.fqdn.partition(".")[0]


class Executables:
    """Clusters that the programs of a folder run; each has a folder of its own below that of the repository."""

    continuation = "rocks pragma shutdown"

    def __init__(self, command: Command, settings: Settings) -> None:
        self._command, self._settings = command, settings
        self._folders = settings.repository / _FOLDERS
        self._started: set[str] = set()

    def allocate(self, request: BootRequest) -> Allocated:
        """Copy the images, prepare them, and let `allocate` reserve. What an error leaves, `clean` removes."""
        check_supported(request, "a driver of programs", request.frontend_memory_mb)
        read_key(request.key)
        described, file = read_request(self._settings, request)
        images = library_images(self._command, self._settings, request.vc, described, file)
        nodes = [("frontend", described.frontend, images.frontend)]
        if request.cpus and described.compute is not None:
            nodes.append(("compute", described.compute, images.compute))
        with self._new_folder(request.vc) as folder:
            for name, image in _file_names(nodes).items():
                self._command.command("save.image", [image, f"file={folder / name}", "format=raw"])
            self._run("fix_images", file, folder, ",".join(kind for kind, _, _ in nodes))
            with locked(self._folders):
                at_work = [
                    name for one in self._others(folder) if _is_locked(one) and (name := _name_in(one))
                ]
                write_file(folder / _UNFINISHED, "".join(f"{name}\n" for name in at_work))
            self._run("allocate", request.cpus, file, folder / _VC_OUT, folder, str(request.key))
            cluster = _read(folder)
            with locked(self._folders):  # of two boots with one name, the second finds the first
                self._check_name(folder, cluster.name)
                (folder / _UNFINISHED).unlink()
        return Allocated(cluster.name, cluster.fqdn, cluster.address, cluster.computes, described)

    def requested(self, name: str) -> list[str]:
        """None: requests are not known."""
        return []

    def start(self, cluster: Allocated, with_computes: bool) -> None:
        """Run `boot` for each machine that it was not run for."""
        folder = self._find([cluster.name])[0].folder
        described = cluster.described
        for name in (cluster.fqdn, *cluster.computes * with_computes):
            if name not in self._started:
                node = described.frontend if name == cluster.fqdn else described.compute
                assert node is not None and isinstance(node.disk, FileDisk)
                self._run("boot", folder / Path(node.disk.file).name, name, folder, folder / _VC_OUT, "", 0)
                self._started.add(name)

    def status(self, names: Sequence[str] = ()) -> list[Machine]:
        """As `status` of the driver prints; `unknown` for a machine that it does not print, and a broken folder.

        Where it fails, or does not end in time, this is printed, and all machines are `unknown`.
        """
        found = [Machine(name, "", "unknown", "") for name in self._clusters()[1] if not names]
        clusters = self._find(names)
        for one, printed in zip(clusters, self._ask(clusters), strict=True):
            if isinstance(printed, ToolError):
                self._command.notify(f"Warning: the state of {one.name} is unknown: {one_line(str(printed))}")
                printed = ""
            lines = [line.split() for line in printed.splitlines()]
            states = {line[0]: one_line(line[1]) for line in lines if len(line) == 2}
            found.append(Machine(one.name, "", states.get(one.name, "unknown"), one.address))
            found += [Machine(one.name, name, states.get(name, "unknown"), "") for name in one.computes]
        return found

    def shutdown(self, name: str) -> None:
        """Run `shutdown` of the driver, which returns when the machines are off."""
        folder = self._find([name])[0].folder
        if not dry_run.would(dry_run.HERE, f"run {self._settings.driver}/shutdown for {name}"):
            self._run("shutdown", folder, folder / _VC_OUT)

    def check_own(self, name: str, verb: str) -> None:
        """It knows no others."""

    def clean(self, name: str) -> None:
        """Run `clean` of the driver, then remove the folder of the cluster. BusyError while another command does it."""
        folder, program = self._find([name])[0].folder, f"{self._settings.driver}/clean"
        if dry_run.would(dry_run.HERE, f"run {program} for {name}; remove {folder}"):
            return
        with ExitStack() as locks:
            with locked(self._folders):
                lock = locks.enter_context(locked(folder, is_waiting=False))
                if lock is None or not folder.is_dir():
                    raise BusyError(
                        f"another command removes {name}, or {program} of one that was killed still runs; "
                        "repeat the command when it has ended"
                    )
                self._forbid(name, folder)
            self._run("clean", folder, folder / _VC_OUT, lock=lock)
            _remove(folder)

    def _ask(self, clusters: Sequence[_Cluster]) -> list[str | ToolError]:
        """What `status` prints about each cluster, or why it does not; one that hangs delays no other for long."""
        vectors = [self._vector("status", one.folder, one.folder / _VC_OUT) for one in clusters]
        pool = ThreadPoolExecutor(_STATUS_AT_ONCE)
        try:
            return list(pool.map(_printed, vectors))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # an interrupt waits for no cluster

    def _give_back(self, folder: Path, lock: int, left: Collection[Path] = ()) -> bool:
        """Have the driver remove what `allocate` has reserved for the folder, if its vc-out.xml says what that is.

        Nothing with the name of another cluster, or of one that another boot is adding: it would be that one's. `left`
        are folders of boots that were killed, which are locked here. False when it is not done, and the next boot
        repeats it: `clean` has failed, or another command is at work with this name.
        """
        try:
            name = _read(folder).name
        except HostError:
            return True
        try:
            with locked(self._folders):
                others = [one for one in self._others(folder) if one not in left and _name_in(one) == name]
                if any(map(_is_locked, others)):
                    return False
                if not all(map(_is_unfinished, others)):
                    return True
                self._forbid(name, folder)
            self._run("clean", folder, folder / _VC_OUT, seconds=_GIVE_BACK_SECONDS, lock=lock)
        except RocksError as error:
            self._command.notify(
                f"Warning: {error}; look what {self._settings.driver}/allocate has left in its engine"
            )
            return isinstance(error, StateError)  # there is no such program
        return True

    def _forbid(self, name: str, folder: Path) -> None:
        """Let no other boot that goes on take the name: `clean`, which is about to run, would remove its machines."""
        for one in self._others(folder):
            with suppress(FileNotFoundError):  # its boot has ended
                write_file(one / _UNFINISHED, f"{(one / _UNFINISHED).read_text()}{name}\n")

    def _check_name(self, folder: Path, name: str) -> None:
        """HostError for the name of a cluster, and for one whose machines were removed while `allocate` ran."""
        given = f"{self._settings.driver}/allocate has given the name {name}"
        if any(one.name == name for one in self._clusters()[0]):
            raise HostError(f"{given}, which a cluster has already")
        if name in (folder / _UNFINISHED).read_text().splitlines():
            raise HostError(
                f"{given}, and {self._settings.driver}/clean was at work on machines of this name; repeat the command"
            )

    def _clusters(self) -> tuple[list[_Cluster], dict[str, HostError]]:
        """The clusters, and name → error of each folder whose cluster cannot be read, and may run."""
        found: list[_Cluster] = []
        broken: dict[str, HostError] = {}
        for folder in self._folders_here():
            try:
                if not _is_unfinished(folder):
                    found.append(_read(folder))
            except HostError as error:
                remedy = f"restore it, or stop its machines in the engine, then: rm -r {folder}"
                broken[folder.name] = HostError(f"{error}; {remedy}")
        return found, broken

    def _folders_here(self) -> list[Path]:
        return sorted(path for path in self._folders.glob("*") if path.is_dir())

    def _others(self, folder: Path) -> list[Path]:
        return [one for one in self._folders_here() if one != folder and not one.name.endswith(_REMOVED)]

    def _find(self, names: Sequence[str]) -> list[_Cluster]:
        clusters, broken = self._clusters()
        for name in names:
            if name in broken:
                raise broken[name]
        known = {one.name: one for one in clusters}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UnknownClusterError(
                f"there is no cluster {one_line(unknown[0])[:80]}; rocks pragma list cluster lists all"
            )
        return [known[name] for name in names or sorted(known)]

    @contextmanager
    def _new_folder(self, vc: str) -> Iterator[Path]:
        """A folder for a cluster, locked while the block runs, and removed after an error.

        Those of boots that were killed, and that the driver could not clean, are removed first.
        """
        try:
            ensure_folders(self._folders, 0o711)
            self._remove_left()
            with locked(self._folders):
                folder = Path(tempfile.mkdtemp(prefix=f"{vc}-", dir=self._folders))
                (folder / _UNFINISHED).touch()
                lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
                fcntl.flock(lock, fcntl.LOCK_EX)
            folder.chmod(0o711)  # the guests of an engine may run as another user
        except OSError as error:
            raise HostError(f"no folder for the cluster: {explain(error, self._folders)}") from None
        try:
            yield folder
        except BaseException:
            if self._give_back(folder, lock):
                _remove(folder)
            raise
        finally:
            os.close(lock)

    def _remove_left(self) -> None:
        """Remove what boots have left, except that of which another boot does it; none waits for it. OSError."""
        with ExitStack() as locks:
            left: dict[Path, int] = {}
            with locked(self._folders):  # each folder of a boot that goes on is locked then
                for folder in filter(_is_unfinished, self._folders_here()):
                    with suppress(FileNotFoundError):  # another command has removed it meanwhile
                        found = locks.enter_context(locked(folder, is_waiting=False))
                        if found is not None:
                            left[folder] = found
            for folder, lock in left.items():
                if not (folder / _UNFINISHED).exists() or self._give_back(folder, lock, left):
                    with suppress(FileNotFoundError):
                        _remove(folder)

    def _run(
        self, program: str, *arguments: object, seconds: float = _SECONDS, lock: int | None = None
    ) -> None:
        """Run a program; a folder's lock lasts as long as it, also when this process is killed."""
        run_checked(
            self._vector(program, *arguments),
            deadline_seconds=seconds,
            max_bytes=_MAX_OUTPUT_BYTES,
            descriptors=() if lock is None else (lock,),
        )

    def _vector(self, program: str, *arguments: object) -> list[str]:
        """The program with its arguments, which is about to run. StateError when there is none."""
        path = Path(self._settings.driver, program)
        if not os.access(path, os.X_OK):
            raise StateError(
                f"the driver has no program {path}; {guide_page('pragma.md')} lists what it needs"
            )
        self._command.db.commit()  # nobody waits for a transaction while a program runs
        return [str(path), *map(str, arguments)]


def _printed(vector: Sequence[str]) -> str | ToolError:
    try:
        with dry_run.reading():
            return run_checked(vector, deadline_seconds=_STATUS_SECONDS, max_bytes=_MAX_OUTPUT_BYTES).text
    except ToolError as error:
        return error


def _file_names(nodes: Sequence[tuple[str, Node, str]]) -> dict[str, str]:
    """Name of a file for the programs → image of the library. UserError for names that programs take for another."""
    found: dict[str, str] = {}
    for _, node, image in nodes:
        if not isinstance(node.disk, FileDisk):
            raise StateError(
                f"{image} is on a NAS, and the programs of the driver take files; save it as one"
            )
        name = Path(node.disk.file).name
        if name == _VC_OUT or found.setdefault(name, image) != image:
            raise UserError(
                f"the image {one_line(node.disk.file)[:80]} has the name of another file in the folder for the driver; "
                "rename it in vc-in.xml"
            )
    return found


def _is_unfinished(folder: Path) -> bool:
    """Whether no cluster is there. HostError when that cannot be known: a cluster may run."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:  # another command has removed it
        return True
    except OSError as error:
        raise HostError(explain(error, folder)) from None
    return folder.name.endswith(_REMOVED) or _UNFINISHED in names or not names


def _is_locked(folder: Path) -> bool:
    """Whether another command is at work with it."""
    try:
        with locked(folder, is_waiting=False) as lock:
            return lock is None
    except FileNotFoundError:  # it has removed the folder
        return False


def _name_in(folder: Path) -> str:
    """The name of the folder's cluster, as far as `allocate` has written it; else an empty text."""
    try:
        return _read(folder).name
    except HostError:
        return ""


def _remove(folder: Path) -> None:
    """Remove it. After a death in the middle, the next boot removes the rest."""
    gone = folder if folder.name.endswith(_REMOVED) else folder.rename(f"{folder}{_REMOVED}")
    shutil.rmtree(gone, ignore_errors=True)


def _read(folder: Path) -> _Cluster:
    """The cluster of a folder. HostError where no valid vc-out.xml is."""
    path = folder / _VC_OUT
    try:
        root = read_document(read_file(path, MAX_BYTES), _VC_OUT)
        public = root.find("frontend/public")
        names = tuple(node.get("name", "") for node in root.findall("compute/node"))
        if public is None or not public.get("fqdn") or not all(names):
            raise UserError("it does not name all machines")
    except (OSError, UserError) as error:
        problem = explain(error, path) if isinstance(error, OSError) else f"{path}: {error}"
        raise HostError(f"the driver has no valid vc-out.xml there ({one_line(problem)[:200]})") from None
    return _Cluster(folder, public.get("fqdn", ""), public.get("ip", ""), names)
