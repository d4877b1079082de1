"""The workshop: a Debian tree with compiler and kernel headers, where ZFS modules and instruments are made.

ZFS comes without DKMS: its package's source is configured against the headers, and only the modules that a machine
loads are stored.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.build import packages
from lab.build.trees import make_tree, run_inside
from rocks.errors import ToolError

ZFS_MODULES = ("spl", "zavl", "icp", "zcommon", "znvpair", "zunicode", "zlua", "zzstd", "zfs")
"""Those that ZFS 2.1 consists of."""

BOOT_SECTORS = ("counting_guest", "reading_guest")
INSTRUMENT_SOURCES = (*(f"{name}.S" for name in BOOT_SECTORS), "model_writer.c")
"""Files of lab/instruments that are compiled."""

_SOURCE_FOLDER = "/usr/src/lab"


def make_workshop(tree: Path, kernel: str, sources: str) -> None:
    """The tree with the headers of `kernel` and the unpacked source of ZFS."""
    # apt downloads into the folder it stands in, as a user of its own unless configured otherwise
    fetch = (
        f"set -e; mkdir -p {_SOURCE_FOLDER}; cd {_SOURCE_FOLDER}; "
        f"apt-get -q -o APT::Sandbox::User=root download {packages.ZFS_SOURCE}; "
        f"dpkg-deb -x {packages.ZFS_SOURCE}_*.deb zfs"
    )
    make_tree(tree, [*packages.WORKSHOP, f"linux-headers-{kernel}"], sources, last_step=fetch)


def build_zfs(tree: Path, kernel: str, into: Path) -> None:
    """Compile the modules for `kernel`, strip them, and put them into the folder `into`."""
    found = sorted((tree / _SOURCE_FOLDER.lstrip("/") / "zfs/usr/src").glob("zfs-*"))
    if len(found) != 1:
        raise ToolError(f"{packages.ZFS_SOURCE} brought {len(found)} folders of source; one was expected")
    source = "/" + str(found[0].relative_to(tree))
    # not the tree of the flavour, which lacks source
    common = f"/usr/src/linux-headers-{kernel.rpartition('-')[0]}-common"
    configure = (
        f"./configure --prefix=/usr --with-config=kernel --with-linux={common} "
        f"--with-linux-obj=/usr/src/linux-headers-{kernel}"
    )
    processors = len(os.sched_getaffinity(0))
    run_inside(tree, "sh", "-c", f"cd {source} && {configure} >/configure.log 2>&1")
    run_inside(tree, "sh", "-c", f"cd {source} && make -j{processors} >/make.log 2>&1")
    into.mkdir(parents=True, exist_ok=True)
    for name in ZFS_MODULES:
        module = next((found[0] / "module").rglob(f"{name}.ko"), None)
        if module is None:
            raise ToolError(f"the source of ZFS made no module {name}; see make.log in {tree}")
        run_inside(tree, "strip", "--strip-debug", "/" + str(module.relative_to(tree)))
        shutil.copyfile(module, into / module.name)


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
