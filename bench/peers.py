"""Programs of others that figures stand beside: each below .state, fetched when a figure asks for it the first time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.site import CHECKOUT
from rocks.core.process import run_checked

_SECONDS = 900.0
_OVERLAY = 'mount -t overlay peer -o "lowerdir=$1:/usr" /usr && shift && exec "$@"'


def from_pypi(folder: str, program: str, *packages: str) -> Path:
    """A Python environment .state/FOLDER with these packages, the first of which has `program`; its programs.

    ToolError when pip cannot get them.
    """
    environment = CHECKOUT / ".state" / folder
    if not (environment / "bin" / program).exists():
        run_checked(["/usr/bin/python3", "-m", "venv", str(environment)], deadline_seconds=_SECONDS)
        pip = [str(environment / "bin" / "pip"), "install", "--quiet", *packages]
        run_checked(pip, deadline_seconds=_SECONDS)
    return environment / "bin"


def from_debian(folder: str, package: str) -> Path:
    """The files of a package, and of what it needs that this machine lacks, unpacked in .state/FOLDER, not installed.

    ToolError when apt cannot get them.
    """
    return _made(folder, lambda draft: _unpack_package(package, draft))


def archives_from_debian(folder: str, package: str) -> Path:
    """The packages themselves, as files in .state/FOLDER. ToolError when apt cannot get them."""
    return _made(folder, lambda draft: _download(package, draft))


def _made(folder: str, make: Callable[[Path], None]) -> Path:
    files = CHECKOUT / ".state" / folder
    if not files.exists():
        draft = files.with_name(f"{folder}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        make(draft)
        draft.rename(files)
    return files


def _unpack_package(package: str, draft: Path) -> None:
    archives = draft / "archives"
    archives.mkdir()
    (draft / "usr").mkdir()
    _download(package, archives)
    unpack(sorted(archives.glob("*.deb")), draft)
    shutil.rmtree(archives)


def _download(package: str, archives: Path) -> None:
    (archives / "partial").mkdir()
    options = [
        "-qq",
        "--yes",
        "--download-only",
        "--no-install-recommends",
        f"-oDir::Cache::archives={archives}",
    ]
    run_checked(["/usr/bin/apt-get", *options, "install", package], deadline_seconds=_SECONDS)


def unpack(archives: Sequence[Path], into: Path) -> None:
    """The files of Debian's packages; a file of /var that /usr has a link to is there instead of that link."""
    for archive in archives:
        run_checked(["/usr/bin/dpkg-deb", "-x", str(archive), str(into)], deadline_seconds=_SECONDS)
    for link in [path for path in (into / "usr").rglob("*") if path.is_symlink()]:
        target = into / str(link.readlink()).lstrip("/")
        if target.is_relative_to(into / "var") and target.is_file():
            target.replace(link)


def command_with(files: Path, arguments: Sequence[str]) -> list[str]:
    """A command that sees these files in /usr, besides those of this machine; nothing else sees them there."""
    return ["/usr/bin/unshare", "--mount", "--", "/bin/sh", "-c", _OVERLAY, "sh", f"{files}/usr", *arguments]
