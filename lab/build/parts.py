"""The parts of a built lab, each in the cache under a key of its inputs, made in order and once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lab.build import packages, settings, trees, workshop
from lab.build.cache import Cache, files_of, key_of
from lab.build.image import write_image
from lab.build.initramfs import write_initramfs
from lab.build.mirrors import RELEASE, sources
from lab.progress import Progress
from rocks.process import run_checked

_HERE = Path(__file__).absolute().parent
_INSTRUMENTS = _HERE.parent / "instruments"
_COPY_DEADLINE_SECONDS = 300.0
_KERNEL, _INITRAMFS, _IMAGE = "vmlinuz", "initramfs", "root.img"


class Built(NamedTuple):
    """Parts of a running lab: kernel, common initramfs, image, the tree with QEMU, the instruments' folder."""

    kernel: Path
    initramfs: Path
    image: Path
    qemu_tree: Path
    instruments: Path


class Keys(NamedTuple):
    """The key of each part; later keys include the keys of their inputs."""

    tree: str
    qemu: str
    workshop: str
    zfs: str
    instruments: str
    image: str


def keys() -> Keys:
    """Keys of the parts from the present sources, not from the mirrors' contents: `build again` reads those anew."""
    tree = key_of(RELEASE, packages.TREE, packages.LEFT_OUT)
    shop = key_of(tree, packages.WORKSHOP, packages.ZFS_SOURCE)
    zfs = key_of(shop, workshop.ZFS_MODULES)
    image = key_of(
        zfs, files_of(_HERE / "settings.py", _HERE / "image.py", _HERE / "initramfs.py", _HERE / "init")
    )
    instruments = key_of(shop, files_of(*(_INSTRUMENTS / name for name in workshop.INSTRUMENT_SOURCES)))
    return Keys(tree, key_of(RELEASE, packages.QEMU), shop, zfs, instruments, image)


def required(cache: Cache) -> Built:
    """The built lab. StateError when a part of it is missing."""
    now = keys()
    image = cache.required("image", now.image)
    return Built(
        image / _KERNEL,
        image / _INITRAMFS,
        image / _IMAGE,
        cache.required("qemu", now.qemu),
        cache.required("instruments", now.instruments),
    )


def is_built(cache: Cache) -> bool:
    """Whether every part that a lab needs to run is there."""
    now = keys()
    needed = (("image", now.image), ("qemu", now.qemu), ("instruments", now.instruments))
    return all(cache.has(name, key) for name, key in needed)


def build(cache: Cache, progress: Progress) -> Built:
    """Make the missing parts, and remove parts of other keys. ToolError when a package mirror or a tool fails."""
    now = keys()
    backports = f"{RELEASE}-backports"

    def ensure(name: str, title: str, make: Callable[[Path], None]) -> Path:
        key = getattr(now, name)
        if cache.has(name, key):
            return cache.place(name, key)
        with progress.step(title):
            return cache.ensure(name, key, make)

    def tree() -> Path:
        return ensure(
            "tree",
            "Debian with kernel, ZFS, LIO, libvirt, QEMU: unpacked into a folder",
            lambda place: trees.make_tree(place, packages.TREE, sources(), packages.LEFT_OUT),
        )

    def shop() -> Path:
        kernel = trees.kernel_release(tree())
        return ensure(
            "workshop",
            "workshop: compiler, kernel headers, the source of ZFS",
            lambda place: workshop.make_workshop(place, kernel, sources()),
        )

    def zfs() -> Path:
        place, kernel = shop(), trees.kernel_release(tree())
        return ensure(
            "zfs",
            "ZFS modules, compiled for that kernel",
            lambda into: workshop.build_zfs(place, kernel, into),
        )

    ensure(
        "qemu",
        "QEMU of the backports, in a folder of its own",
        lambda place: trees.make_tree(
            place, packages.QEMU, sources(backports=True), packages.LEFT_OUT, backports
        ),
    )
    if not cache.has("instruments", now.instruments):
        place = shop()
        ensure(
            "instruments",
            "instruments",
            lambda into: workshop.build_instruments(place, _INSTRUMENTS, into),
        )
    if not cache.has("image", now.image):
        root, modules = tree(), zfs()
        ensure("image", "the machines' image", lambda into: _make_image(root, modules, into))
    cache.drop_others([cache.place(name, key) for name, key in zip(Keys._fields, now, strict=True)])
    return required(cache)


def _make_image(tree: Path, modules: Path, into: Path) -> None:
    copy = into / "tree"
    run_checked(
        ["cp", "--archive", "--reflink=auto", str(tree), str(copy)], deadline_seconds=_COPY_DEADLINE_SECONDS
    )
    kernel = trees.kernel_release(copy)
    extra = copy / "lib/modules" / kernel / "extra"
    extra.mkdir(exist_ok=True)
    for module in modules.glob("*.ko"):
        shutil.copyfile(module, extra / module.name)
    trees.run_inside(copy, "depmod", kernel)
    settings.apply_settings(copy)
    shutil.copyfile(tree / "boot" / f"vmlinuz-{kernel}", into / _KERNEL)
    write_initramfs(copy, kernel, into / _INITRAMFS)
    write_image(copy, into / _IMAGE)
    shutil.rmtree(copy)
