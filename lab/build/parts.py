"""The parts of a built lab, each in the cache under a key of its inputs, made in order and once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lab.build import own_packages, packages, settings, trees, workshop
from lab.build.cache import Cache, files_of, key_of
from lab.build.image import write_image
from lab.build.initramfs import write_initramfs
from lab.build.mirrors import RELEASE, sources
from lab.progress import Progress
from rocks.process import run_checked

_HERE = Path(__file__).absolute().parent
_INSTRUMENTS = _HERE.parent / "instruments"
_COPY_DEADLINE_SECONDS = 300.0
_KERNEL, _INITRAMFS = "vmlinuz", "initramfs"


class Built(NamedTuple):
    """Parts of a running lab: kernel, common initramfs, folder of images, the tree with QEMU, folder of instruments."""

    kernel: Path
    initramfs: Path
    images: Path
    qemu_tree: Path
    instruments: Path

    def image(self, role: str) -> Path:
        """The image from which machines of that role boot."""
        return self.images / f"{role}.img"


class Keys(NamedTuple):
    """The key of each part, and of our modules, which are in no part of their own; later keys include the keys of their
    inputs.
    """

    tree: str
    qemu: str
    workshop: str
    zfs: str
    instruments: str
    modules: str
    packages: str
    image: str


def keys(modules: str = "") -> Keys:
    """Keys of the parts from the present sources, not from the mirrors' contents: `build again` reads those anew.

    `modules` is the key of our modules, where they are not those of the present sources.
    """
    modules = modules or own_packages.modules_key()
    own = own_packages.packages_key(modules)
    tree = key_of(RELEASE, packages.TREE, packages.LEFT_OUT)
    shop = key_of(tree, packages.WORKSHOP, packages.ZFS_SOURCE)
    zfs = key_of(shop, workshop.ZFS_MODULES)
    image = key_of(
        zfs, own, files_of(_HERE / "settings.py", _HERE / "image.py", _HERE / "initramfs.py", _HERE / "init")
    )
    instruments = key_of(shop, files_of(*(_INSTRUMENTS / name for name in workshop.INSTRUMENT_SOURCES)))
    return Keys(tree, key_of(RELEASE, packages.QEMU), shop, zfs, instruments, modules, own, image)


def required(cache: Cache, now: Keys) -> Built:
    """The lab that was built under those keys. StateError when a part of it is missing."""
    image = cache.required("image", now.image)
    return Built(
        image / _KERNEL,
        image / _INITRAMFS,
        image,
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
    parts = _Parts(cache, progress, now)
    parts.qemu()
    parts.instruments()
    parts.image()
    cache.drop_others([cache.place(name, key) for name, key in zip(Keys._fields, now, strict=True)])
    return required(cache, now)


class _Parts:
    """Each method returns the folder of its part, which it makes when it is missing, after those that it needs."""

    def __init__(self, cache: Cache, progress: Progress, now: Keys) -> None:
        self._cache, self._progress, self._now = cache, progress, now

    def tree(self) -> Path:
        title = "Debian with kernel, ZFS, LIO, libvirt, QEMU: unpacked into a folder"
        return self._ensure("tree", title, _make_machine_tree)

    def qemu(self) -> Path:
        return self._ensure("qemu", "QEMU of the backports, in a folder of its own", _make_qemu_tree)

    def workshop(self) -> Path:
        title = "workshop: compiler, kernel headers, the source of ZFS"
        return self._ensure("workshop", title, _make_workshop, self.tree)

    def zfs(self) -> Path:
        return self._ensure(
            "zfs", "ZFS modules, compiled for that kernel", _build_zfs, self.workshop, self.tree
        )

    def instruments(self) -> Path:
        return self._ensure("instruments", "instruments", _build_instruments, self.workshop)

    def packages(self) -> Path:
        return self._ensure("packages", "our packages for hosts and NASes", own_packages.build_packages)

    def image(self) -> Path:
        title = "the machines' images: one of a NAS, one of a host"
        return self._ensure("image", title, _make_images, self.tree, self.zfs, self.packages)

    def _ensure(self, name: str, title: str, make: Callable[..., None], *needed: Callable[[], Path]) -> Path:
        """`make` gets the new folder and those of the needed parts."""
        key = getattr(self._now, name)
        if self._cache.has(name, key):
            return self._cache.place(name, key)
        folders = [part() for part in needed]
        with self._progress.step(title):
            return self._cache.ensure(name, key, lambda into: make(into, *folders))


def _make_machine_tree(into: Path) -> None:
    trees.make_tree(into, packages.TREE, sources(), packages.LEFT_OUT)


def _make_qemu_tree(into: Path) -> None:
    backports = f"{RELEASE}-backports"
    trees.make_tree(into, packages.QEMU, sources(backports=True), packages.LEFT_OUT, backports)


def _make_workshop(into: Path, tree: Path) -> None:
    workshop.make_workshop(into, trees.kernel_release(tree), sources())


def _build_zfs(into: Path, shop: Path, tree: Path) -> None:
    workshop.build_zfs(shop, trees.kernel_release(tree), into)


def _build_instruments(into: Path, shop: Path) -> None:
    workshop.build_instruments(shop, _INSTRUMENTS, into)


def _make_images(into: Path, tree: Path, modules: Path, own: Path) -> None:
    kernel = trees.kernel_release(tree)
    shutil.copyfile(tree / "boot" / f"vmlinuz-{kernel}", into / _KERNEL)
    for role in own_packages.PACKAGES:
        copy = into / "tree"
        _make_tree_of_role(tree, modules, own, role, copy)
        if not (into / _INITRAMFS).exists():
            write_initramfs(copy, kernel, into / _INITRAMFS)
        write_image(copy, into / f"{role}.img")
        shutil.rmtree(copy)


def _make_tree_of_role(tree: Path, modules: Path, own: Path, role: str, copy: Path) -> None:
    run_checked(
        ["cp", "--archive", "--reflink=auto", str(tree), str(copy)], deadline_seconds=_COPY_DEADLINE_SECONDS
    )
    kernel = trees.kernel_release(copy)
    extra = copy / "lib/modules" / kernel / "extra"
    extra.mkdir(exist_ok=True)
    for module in modules.glob("*.ko"):
        shutil.copyfile(module, extra / module.name)
    trees.run_inside(copy, "depmod", kernel)
    own_packages.install_packages(own, role, copy)
    settings.apply_settings(copy)
