"""The parts of a built lab, each in the cache under a key of its inputs, made in order and once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lab.build import iso_images, own_packages, packages, settings, trees, workshop
from lab.build.cache import Cache, files_of, key_of
from lab.build.image import write_image
from lab.build.initramfs import write_initramfs
from lab.build.mirrors import release, sources
from lab.progress import Progress
from rocks.core.process import run_checked

_HERE = Path(__file__).absolute().parent
_INSTRUMENTS = _HERE.parent / "instruments"
_COPY_DEADLINE_SECONDS = 300.0
_KERNEL, _INITRAMFS = "vmlinuz", "initramfs"
_ISO_IMAGE = "iso-image"
COMPILED_FOR_ROLL = own_packages.CHECKOUT / ".state/os-roll/zfs/compiled"
"""What `make os-roll` has compiled; it takes what the lab has compiled, in turn."""


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
    isos: str = ""
    """The key of the ISOs from which the machines are built; '' for machines from Debian's mirrors and our sources."""


def keys(modules: str = "", isos: str = "") -> Keys:
    """Keys of the parts from the present sources, not from the mirrors' contents: `build again` reads those anew.

    `modules` is the key of our modules, where they are not those of the present sources, `isos` that of the ISOs.
    """
    modules = modules or own_packages.modules_key()
    own = own_packages.packages_key(modules)
    of_release = release()
    tree = key_of(of_release, packages.TREE, packages.LEFT_OUT)
    shop = key_of(tree, packages.WORKSHOP, packages.ZFS_SOURCE)
    zfs = key_of(shop, files_of(workshop.COMPILE_ZFS))
    how = files_of(_HERE / "settings.py", _HERE / "image.py", _HERE / "initramfs.py", _HERE / "init")
    image = key_of(zfs, own, how)
    if isos:
        own = ""
        image = key_of(isos, packages.TOOLS, how, files_of(_HERE / "iso_images.py", _HERE / "rolls.py"))
    instruments = key_of(shop, files_of(*(_INSTRUMENTS / name for name in workshop.INSTRUMENT_SOURCES)))
    return Keys(tree, key_of(of_release, packages.QEMU), shop, zfs, instruments, modules, own, image, isos)


def required(cache: Cache, now: Keys) -> Built:
    """The lab that was built under those keys. StateError when a part of it is missing."""
    image = cache.required(_image_part(now), now.image)
    return Built(
        image / _KERNEL,
        image / _INITRAMFS,
        image,
        cache.required("qemu", now.qemu),
        cache.required("instruments", now.instruments),
    )


def modules_on_isos(cache: Cache, isos: str) -> str:
    """The key of our modules on the ISOs of that key, from which machines were built."""
    folder = cache.required(_ISO_IMAGE, keys(isos=isos).image)
    return (folder / iso_images.MODULES_RECORD).read_text(encoding="ascii")


def is_built(cache: Cache, isos: str = "") -> bool:
    """Whether every part that a lab needs to run is there, with machines from the ISOs of that key if it is given."""
    now = keys(isos=isos)
    needed = ((_image_part(now), now.image), ("qemu", now.qemu), ("instruments", now.instruments))
    return all(cache.has(name, key) for name, key in needed)


def build(cache: Cache, progress: Progress, isos: Sequence[Path] = ()) -> Built:
    """Make the missing parts, and remove parts of other keys. ToolError when a package mirror or a tool fails.

    With ISOs, the machines are made of these; what was made of mirrors stays, and the other way round.
    """
    now = keys(isos=iso_images.key_of_isos(isos) if isos else "")
    parts = _Parts(cache, progress, now)
    parts.qemu()
    parts.instruments()
    if isos:
        parts.iso_image(isos)
        cache.drop_others(_needed(cache, now, _ISO_IMAGE, ("image", "packages")))
    else:
        parts.image()
        cache.drop_others(_needed(cache, now, "image", (_ISO_IMAGE,)))
    return required(cache, now)


def _image_part(now: Keys) -> str:
    return _ISO_IMAGE if now.isos else "image"


def _needed(cache: Cache, now: Keys, image: str, others: Sequence[str]) -> list[Path]:
    """The places of the parts, and those of the other kind of machines, of any key."""
    named = now._asdict() | {image: now.image}
    beside = [place for name in others for place in cache.all_of(name)]
    return [*(cache.place(name, key) for name, key in named.items()), *beside]


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

    def iso_image(self, isos: Sequence[Path]) -> Path:
        return self._cache.ensure(
            _ISO_IMAGE, self._now.image, lambda into: iso_images.make_images(into, isos, self._progress)
        )

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
    backports = f"{release()}-backports"
    trees.make_tree(into, packages.QEMU, sources(backports=True), packages.LEFT_OUT, backports)


def _make_workshop(into: Path, tree: Path) -> None:
    workshop.make_workshop(into, trees.kernel_release(tree), sources())


def _build_zfs(into: Path, shop: Path, tree: Path) -> None:
    workshop.build_zfs(shop, tree, into, (COMPILED_FOR_ROLL,))


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
