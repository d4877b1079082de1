"""Distributions: built of rolls, served to hosts, and named in the database."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import BusyError, HostError, UserError
from rocks.core.files import PUBLIC, ensure_folders, sync_folder, write_file
from rocks.core.names import check_plain_name
from rocks.core.reproducible import run_tool
from rocks.core.version import ROLL_NAME
from rocks.install.profile_values import DEFAULT_ARCHITECTURE, ServedDistribution
from rocks.install.rolls import signatures
from rocks.install.rolls.content import DEBS, GRAPHS, INCLUDE, INSTALLER, NODES, RPMS
from rocks.install.rolls.folders import ROLLS, distribution_folder, sync_tree
from rocks.install.rolls.package_files import DEBIAN_ARCHITECTURES, newest_per_name, read_package
from rocks.install.rolls.signatures import export_key, public_key, record_public_key, sign_file, sign_release
from rocks.inventory import appliances
from rocks.inventory.address_records import find_private_address
from rocks.storage.broker.broker import node_authority

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rocks.database.connection import Database
    from rocks.install.rolls.package_files import Package
    from rocks.inventory.records import Host


# Distributions: one folder with repositories for apt and dnf, nodes and graphs, and the installer, of several rolls.
#
# It is built beside the one in use and exchanged with it at the end, in one step.


BUILD = "build"
"""Folder of a distribution with nodes, graphs, include, site-nodes and site-graphs, for basedir= of commands."""

KEY = "key.gpg"
"""Public key of a signed distribution, in its folder."""

_EXCHANGE = 2
_AT_FDCWD = -100


class DistributionPlan(NamedTuple):
    """What a distribution is made of: its name and architecture, the folders of rolls, and the site's own folders."""

    name: str
    arch: str
    rolls: Sequence[Path]
    ours: Sequence[Path]
    """Folders with `nodes` and `graphs` that are of no added roll."""
    site_nodes: Path
    site_graphs: Path


class DistributionReport(NamedTuple):
    """A built distribution: its folder, how many packages it has, and whether it has the installer of hosts."""

    folder: Path
    debs: int
    rpms: int
    has_installer: bool


def create_distribution(plan: DistributionPlan, place: Path) -> DistributionReport:
    """Build the folder NAME/ARCH in `place`; the one that was there is replaced when the new one is complete.

    UserError and StateError, with the distribution as before, for a damaged package and a missing program; BusyError
    during another run; HostError when the folder cannot be written.
    """
    base = place.absolute() / plan.name
    try:
        ensure_folders(base, 0o755)
        with _lock(base, plan):
            new = base / f".{plan.arch}.building"
            shutil.rmtree(new, ignore_errors=True)
            try:
                done = _build(plan, new, base / plan.arch)
                sync_tree(new)
                _exchange(new, done.folder)
            finally:
                shutil.rmtree(new, ignore_errors=True)  # the one before, or what fills a disk that is full
    except OSError as error:
        raise HostError(f"cannot build {base / plan.arch}: {error.strerror} ({error.filename})") from None
    return done


def _build(plan: DistributionPlan, new: Path, place: Path) -> DistributionReport:
    """Build the distribution in a new folder; the report names its later `place`."""
    new.mkdir(0o755)
    packages = _link_packages(plan, new)
    has_installer = _link_installer(plan, new)
    _copy_graph(plan, new / BUILD)
    debs, rpms = (sum(one.kind == kind for one in packages) for kind in ("deb", "rpm"))
    _index_debs(plan, new, debs)
    _index_rpms(new, rpms)
    if signatures.SIGNING_FOLDER.is_dir():
        export_key(new / KEY, signatures.SIGNING_FOLDER)
        record_public_key(signatures.SIGNING_FOLDER)
    return DistributionReport(place, debs, rpms, has_installer)


@contextlib.contextmanager
def _lock(base: Path, plan: DistributionPlan) -> Iterator[None]:
    """One run at a time for each architecture; the lock ends with its process."""
    descriptor = os.open(
        base / f".{plan.arch}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BusyError(
            f"another rocks create distro is building {base / plan.arch}; repeat this one when it has ended"
        ) from None
    finally:
        os.close(descriptor)


def _link_packages(plan: DistributionPlan, new: Path) -> list[Package]:
    """Link the newest packages of each name for this architecture; returns them."""
    files = (
        path
        for roll in plan.rolls
        for place in (DEBS, RPMS)
        for path in sorted((roll / place).glob("*.[dr][ep][bm]"))
    )
    packages = newest_per_name(one for one in map(read_package, files) if one.runs_on(plan.arch))
    for package in packages:
        folder = new / (f"{DEBS}/pool" if package.kind == "deb" else RPMS)
        folder.mkdir(parents=True, exist_ok=True)
        _link(package.path, folder / package.file_name)
    return packages


def _link_installer(plan: DistributionPlan, new: Path) -> bool:
    """Link the installer of the roll that has one; whether there is one. UserError when two rolls have one."""
    rolls = [roll for roll in plan.rolls if (roll / INSTALLER).is_dir()]
    if len(rolls) > 1:
        names = " and ".join(roll.parent.parent.name for roll in rolls)
        raise UserError(
            f"the rolls {names} each have an installer of hosts, and a distribution has one: rocks disable roll NAME"
        )
    for roll in rolls:
        (new / INSTALLER).mkdir()
        for path in _files(roll / INSTALLER):
            _link(path, new / INSTALLER / path.name)
    return bool(rolls)


def _link(path: Path, target: Path) -> None:
    """A hard link, or a copy where the file systems differ."""
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        shutil.copyfile(path, target)


def _copy_graph(plan: DistributionPlan, build: Path) -> None:
    """The nodes, graphs and included files of all; UserError for a file that two have with other content."""
    for name in (NODES, f"{GRAPHS}/default", INCLUDE, "site-nodes", "site-graphs"):
        (build / name).mkdir(parents=True)
    others = [roll for roll in plan.rolls if roll.parent.parent.name != ROLL_NAME]  # whose files are ours
    owners: dict[Path, Path] = {}
    for source in (*plan.ours, *others):
        for top in (NODES, GRAPHS, INCLUDE):
            for path in _files(source / top):
                target = build / path.relative_to(source)
                data = path.read_bytes()
                if target.exists() and target.read_bytes() != data:
                    raise UserError(
                        f"{path} and {owners[target]} have the same name and other content: disable one of the "
                        "rolls, or its author must rename it"
                    )
                owners.setdefault(target, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                write_file(target, data, mode=PUBLIC)
    for name, folder in (("site-nodes", plan.site_nodes), ("site-graphs", plan.site_graphs)):
        for path in _files(folder):
            target = build / name / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            # the site may have secrets in a file that only root reads
            write_file(target, path.read_bytes(), mode=path.stat().st_mode & PUBLIC)


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _index_debs(plan: DistributionPlan, new: Path, count: int) -> None:
    """A repository for apt: `deb URL/NAME/ARCH/Debian NAME main`, signed where the site has a key."""
    if not count:
        return
    arch = DEBIAN_ARCHITECTURES.get(plan.arch, plan.arch)
    root, index = new / DEBS, Path("dists", plan.name, "main", f"binary-{arch}")
    (root / index).mkdir(parents=True)
    program = ["env", "-C", str(root), "apt-ftparchive"]
    listed = run_tool([*program, "packages", "pool"], "apt-utils")
    write_file(root / index / "Packages", listed, mode=PUBLIC)
    write_file(
        root / index / "Packages.gz",
        run_tool(["gzip", "-9nc", str(root / index / "Packages")], "gzip"),
        mode=PUBLIC,
    )
    names = {
        "Origin": "Rocks",
        "Label": "Rocks",
        "Suite": plan.name,
        "Codename": plan.name,
        "Architectures": arch,
    }
    options = [
        f"APT::FTPArchive::Release::{name}={value}" for name, value in {**names, "Components": "main"}.items()
    ]
    options += [f"APT::FTPArchive::{name}=false" for name in ("MD5", "SHA1", "SHA512")]
    arguments = [word for option in options for word in ("-o", option)]
    release = run_tool([*program, *arguments, "release", f"dists/{plan.name}"], "apt-utils")
    place = root / "dists" / plan.name / "Release"
    write_file(place, release, mode=PUBLIC)
    if signatures.SIGNING_FOLDER.is_dir():
        sign_release(place, signatures.SIGNING_FOLDER)


def _index_rpms(new: Path, count: int) -> None:
    """A repository for dnf: baseurl=URL/NAME/ARCH."""
    if count:
        run_tool(
            ["createrepo_c", "--quiet", "--no-database", "--simple-md-filenames", str(new)], "createrepo-c"
        )
        if signatures.SIGNING_FOLDER.is_dir():
            sign_file(new / "repodata/repomd.xml", "asc", signatures.SIGNING_FOLDER)


def _replace(new: Path, target: Path) -> None:
    """As `_exchange`, in three steps, for file systems such as NFS that have no exchange. OSError."""
    before = new.with_name(f"{new.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    target.rename(before)
    try:
        new.rename(target)
    except OSError:
        before.rename(target)
        raise
    before.rename(new)


def _exchange(new: Path, target: Path) -> None:
    """Give two folders each other's name in one step (Linux 3.15, glibc 2.28), or the new one its name. OSError."""
    if not target.exists():
        new.rename(target)
    else:
        library = ctypes.CDLL(None, use_errno=True)
        if library.renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(target), _EXCHANGE) != 0:
            number = ctypes.get_errno()
            if number not in (errno.EINVAL, errno.ENOSYS):
                raise OSError(number, os.strerror(number), str(target))
            _replace(new, target)
    sync_folder(target.parent)


# Which distribution a host gets, and the frontend itself: what `rocks create distro` has built for the site.


INSTALL_HOST = "Kickstart_PrivateKickstartHost"
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


class Distributions:
    """The distributions of this frontend. The database is read when the object is made, and not later."""

    def __init__(self, database: Database, frontend: str) -> None:
        self._folder = distribution_folder(database)
        self._frontend = frontend
        self._address = ""
        if frontend and self._folder.is_dir():
            found = find_private_address(database, frontend)
            self._address = found.address if found else ""

    def of_host(self, host: Host, name: str) -> ServedDistribution:
        """What a host gets whose appliance has the distribution `name`; nothing where it is not built for the host."""
        packaging = host.attribute("packaging")
        arch = host.attributes.get("arch") or DEFAULT_ARCHITECTURE
        if not (_PART.fullmatch(name) and _PART.fullmatch(arch)):
            return ServedDistribution()
        folder = self._folder / name / arch
        if not _index(folder, name, packaging).is_file():
            return ServedDistribution()
        if host.name == self._frontend:
            return ServedDistribution(own_folder=str(folder.absolute()))
        server = host.attribute(INSTALL_HOST) or self._address
        if not _PART.fullmatch(server):
            return ServedDistribution(
                problem="the frontend has no address from which hosts get its distribution: rocks add host interface "
                f"{self._frontend} (on the network private), or rocks set attr {INSTALL_HOST}"
            )
        return self._served(server, f"{name}/{arch}", _signature(folder, name, packaging))

    def _served(self, server: str, place: str, signature: Path) -> ServedDistribution:
        try:
            authority = node_authority().certificate()
            key = public_key(signatures.SIGNING_FOLDER)
        except HostError as error:
            return ServedDistribution(problem=f"{error}; only root reads it")
        if not authority:
            return ServedDistribution(
                problem="the distribution is not served, for the frontend has no certificate: rocks add host "
                f"certificate {self._frontend}, then systemctl enable --now rocks-kickstart"
            )
        if key is not None and not (key and signature.is_file()):
            return ServedDistribution(
                problem=f"the distribution {place} is not signed, and this site has a key in "
                f"{signatures.SIGNING_FOLDER}: rocks create distro, in the folder of rocks report distro"
            )
        return ServedDistribution(server, place, authority, key=key or "")


def _index(folder: Path, name: str, packaging: str) -> Path:
    """The file that a repository has when it is complete."""
    if packaging == "rpm":
        return folder / "repodata" / "repomd.xml"
    return folder / DEBS / "dists" / name / "Release"


def _signature(folder: Path, name: str, packaging: str) -> Path:
    """The signature that hosts read, where the repository has one."""
    index = _index(folder, name, packaging)
    return index.with_name("InRelease" if index.name == "Release" else f"{index.name}.asc")


# Add and remove distributions in the database; rocks create distro makes their files.


_LONGEST = 32


def add_distribution(database: Database, name: str) -> None:
    """Add a distribution; UserError unless its name is valid and unused."""
    check_plain_name("distribution", name, _LONGEST)
    if name == ROLLS:
        raise UserError(
            f'distribution "{name}" is not valid: the folder of that name has the rolls; give another name'
        )
    if appliances.find_name(database, "distributions", name):
        raise UserError(f'distribution "{name}" already exists; rocks list distribution shows all')
    database.execute("INSERT INTO distributions (Name) VALUES (%s)", (name,))


def remove_distributions(database: Database, names: Sequence[str]) -> None:
    """Remove the distributions; UserError, and no change, when a membership uses one of them. Files stay."""
    used = _first_membership_of(database, names)
    if used is not None:
        raise UserError(
            f'cannot remove distribution "{used[0]}": hosts of the membership {used[1]} are installed from it; '
            "rocks list membership shows all memberships"
        )
    database.execute("DELETE FROM distributions WHERE Name IN %s", [names])


def _first_membership_of(database: Database, names: Sequence[str]) -> tuple[str, str] | None:
    """(distribution, membership) of one membership of the distributions; None when they have none."""
    rows = database.rows(
        "SELECT d.Name, m.Name FROM memberships m JOIN distributions d ON d.ID = m.Distribution"
        " WHERE d.Name IN %s ORDER BY m.ID LIMIT 1",
        [names],
    )
    return (str(rows[0][0]), str(rows[0][1])) if rows else None
