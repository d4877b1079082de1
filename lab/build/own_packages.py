"""Our own packages for hosts and NASes: built from the checkout as it is, installed into the machines' trees.

The modules that every machine has are also what `bin/lab patch` copies over those of the packages.

The lab's machines have the packages that a site installs, under their hardened units, with real ZFS, LIO and
device-mapper; archives of modules were refused, since then no test ran the packages. There is an image for
each role, since both daemons are enabled by their packages.
"""

from __future__ import annotations

import compileall
import io
import py_compile
import shutil
import tarfile
import tempfile
from pathlib import Path

from lab.build.cache import files_of, key_of
from lab.build.trees import run_inside
from rocks.core.process import run_checked

CHECKOUT = Path(__file__).absolute().parent.parent.parent
MODULES_FOLDER = "/opt/rocks/lib/python"
"""Where the package rocks-common puts the modules."""

PACKAGES = {
    "nas": ("rocks-common", "rocks-imgstorage-nas"),
    "host": ("rocks-common", "rocks-agent", "rocks-imgstorage-host"),
}
"""Role of a machine → its packages of ours, in the order of their dependencies."""

_PACKAGING = CHECKOUT / "packaging"
_COMMON = _PACKAGING / "common-modules"
_SOURCES = CHECKOUT / "src"
_BUILD_DEADLINE_SECONDS = 600.0


def module_files() -> list[Path]:
    """The files of the modules that every machine has, relative to src, in a fixed order."""
    names = _COMMON.read_text(encoding="ascii").split()
    found = [path for name in names for path in _files(_SOURCES / "rocks" / name)]
    return sorted(path.relative_to(_SOURCES) for path in found)


def modules_key() -> str:
    """The key of the modules of the checkout as they are."""
    return key_of(*((str(path), (_SOURCES / path).read_bytes()) for path in module_files()))


def installed_modules_key(tree: Path) -> str:
    """The key of the modules that the package rocks-common has put into a Debian tree."""
    folder = tree / MODULES_FOLDER.lstrip("/")
    found = sorted(path.relative_to(folder) for path in folder.rglob("*.py"))
    return key_of(*((str(path), (folder / path).read_bytes()) for path in found))


def packages_key(modules: str) -> str:
    """The key of the packages, with modules of that key."""
    return key_of(modules, files_of(_PACKAGING, CHECKOUT / "version.mk"))


def build_packages(into: Path) -> None:
    """Build the deb packages of hosts and NASes into the folder. ToolError with debhelper's last output."""
    run_checked([str(_PACKAGING / "build-hosts"), str(into)], deadline_seconds=_BUILD_DEADLINE_SECONDS)


def install_packages(packages: Path, role: str, tree: Path) -> None:
    """Install the packages of the role into a Debian tree by its own dpkg, which starts nothing there.

    ToolError with dpkg's output, when the tree lacks a package that ours depend on.
    """
    place = tree / "var/tmp/rocks"
    place.mkdir()
    files = [next(packages.glob(f"{name}_*.deb")) for name in PACKAGES[role]]
    for file in files:
        shutil.copyfile(file, place / file.name)
    run_inside(tree, "dpkg", "--install", *(f"/var/tmp/rocks/{file.name}" for file in files))
    shutil.rmtree(place)


def modules_archive() -> bytes:
    """The modules as a tar file for `MODULES_FOLDER`, with byte code for this machine's Python, which is theirs."""
    target = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=target, mode="w") as archive:
        for path in module_files():
            copy = Path(folder) / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_SOURCES / path, copy)
        compileall.compile_dir(
            folder,
            quiet=1,
            stripdir=folder,
            prependdir=MODULES_FOLDER,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        archive.add(Path(folder) / "rocks", "rocks", filter=_owned_by_root)
    return target.getvalue()


def _files(place: Path) -> list[Path]:
    return list(place.rglob("*.py")) if place.is_dir() else [place]


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
