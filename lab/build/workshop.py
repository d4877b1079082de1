"""The workshop: a Debian tree with compiler and kernel headers, where ZFS modules and instruments are made.

ZFS comes without DKMS: roll/os/compile-zfs compiles its package's source, as for the os roll; what that has compiled
for the same kernel is used, and the other way round.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.build import packages
from lab.build.trees import make_tree, run_inside
from rocks.core.errors import ToolError
from rocks.core.process import run_checked

COMPILE_ZFS = packages.COMPILERS.with_name("compile-zfs")
"""The program that compiles ZFS, for the os roll as for the lab."""

BOOT_SECTORS = ("counting_guest", "reading_guest")
INSTRUMENT_SOURCES = (*(f"{name}.S" for name in BOOT_SECTORS), "model_writer.c")
"""Files of lab/instruments that are compiled."""

_SOURCE_FOLDER = "/usr/src/lab"
_COMPILE_DEADLINE_SECONDS = 3600.0


def make_workshop(tree: Path, kernel: str, sources: str) -> None:
    """The tree with the headers of `kernel` and the package with the source of ZFS."""
    # apt downloads into the folder it stands in, as a user of its own unless configured otherwise
    fetch = (
        f"set -e; mkdir -p {_SOURCE_FOLDER}; cd {_SOURCE_FOLDER}; "
        f"apt-get -q -o APT::Sandbox::User=root download {packages.ZFS_SOURCE}"
    )
    make_tree(tree, [*packages.WORKSHOP, f"linux-headers-{kernel}"], sources, last_step=fetch)


def build_zfs(shop: Path, tree: Path, into: Path, compiled: Sequence[Path]) -> None:
    """Put the modules for the kernel of a tree into the folder `into`: compiled in the workshop, or those of an earlier
    compilation in one of the folders `compiled`. ToolError with the compiler's last output.
    """
    found = sorted((shop / _SOURCE_FOLDER.lstrip("/")).glob(f"{packages.ZFS_SOURCE}_*.deb"))
    if len(found) != 1:
        raise ToolError(
            f"the workshop {shop} has {len(found)} packages {packages.ZFS_SOURCE}; one was expected"
        )
    run_checked(
        [str(path) for path in (COMPILE_ZFS, tree / "var/lib/dpkg/status", found[0], shop, into, *compiled)],
        deadline_seconds=_COMPILE_DEADLINE_SECONDS,
    )


def build_instruments(tree: Path, sources: Path, into: Path) -> None:
    """Assemble the guests, link the model writer statically, and put all into the folder `into`."""
    place = tree / _SOURCE_FOLDER.lstrip("/")
    for name in INSTRUMENT_SOURCES:
        shutil.copyfile(sources / name, place / name)
    into.mkdir(parents=True, exist_ok=True)
    link = ("ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary")
    for name in BOOT_SECTORS:
        source = f"{_SOURCE_FOLDER}/{name}"
        run_inside(tree, "gcc", "-m32", "-c", f"{source}.S", "-o", f"{source}.o")
        run_inside(tree, *link, "-o", f"{source}.bin", f"{source}.o")
    compile_writer = ("gcc", "-std=c17", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread")
    run_inside(
        tree, *compile_writer, "-o", f"{_SOURCE_FOLDER}/model_writer", f"{_SOURCE_FOLDER}/model_writer.c"
    )
    for name in (*(f"{name}.bin" for name in BOOT_SECTORS), "model_writer"):
        shutil.copy(place / name, into / name)
