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
from lab.build.mirrors import names_of_releases, of_release, release, sources
from lab.progress import Progress
from rocks.core.process import run_checked

_FOLDER = Path(__file__).absolute().parent
_INSTRUMENTS = _FOLDER.parent / "instruments"
_COPY_DEADLINE_SECONDS = 300.0
_KERNEL, _INITRAMFS = "vmlinuz", "initramfs"
_ISO_IMAGE = "iso-image"
COMPILED_FOR_ROLL = own_packages.CHECKOUT / ".state/os-roll/zfs/compiled"
"""What `make os-roll` has compiled; it takes what the lab has compiled, in turn."""


class Built(NamedTuple):
    """Folders with the parts of a running lab: images, kernel and initramfs of the hosts, and of the NASes, which may
    be of another release; the tree with QEMU; the instruments.
    """

    of_hosts: Path
    of_nases: Path
    qemu_tree: Path
    instruments: Path

    def image(self, role: str) -> Path:
        """The image from which machines of that role boot."""
        return self._folder(role) / f"{role}.img"

    def kernel(self, role: str) -> Path:
        """Their kernel."""
        return self._folder(role) / _KERNEL

    def initramfs(self, role: str) -> Path:
        """Their initramfs, which does not have what differs from machine to machine."""
        return self._folder(role) / _INITRAMFS

    def _folder(self, role: str) -> Path:
        return self.of_nases if role == "nas" else self.of_hosts


class Releases(NamedTuple):
    """The names of the releases of Debian that the machines have, such as `bookworm`.

    '' stands for what tools/release prints.
    """

    hosts: str = ""
    nas: str = ""


OWN_RELEASE = Releases()


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

    nas_image: str = ""
    """The key of the NASes' image. `qemu` and `instruments` are of the carrying machine's release, the others are the
    hosts'.
    """

    releases: Releases = OWN_RELEASE


def keys(modules: str = "", isos: str = "", releases: Releases = OWN_RELEASE) -> Keys:
    """Keys of the parts from the present sources, not from the mirrors' contents: `build again` reads those anew.

    `modules` is the key of our modules, where they are not those of the present sources, `isos` that of the ISOs.
    """
    own = _keys_of_release(modules, isos)
    with of_release(releases.hosts):
        found = _keys_of_release(modules, isos) if releases.hosts else own
    with of_release(releases.nas):
        nas_image = _keys_of_release(modules, isos).image if releases.nas else own.image
    return found._replace(qemu=own.qemu, instruments=own.instruments, nas_image=nas_image, releases=releases)


def _keys_of_release(modules: str, isos: str) -> Keys:
    modules = modules or own_packages.modules_key()
    own = own_packages.packages_key(modules)
    name = release()
    tree = key_of(name, packages.TREE, packages.LEFT_OUT)
    shop = key_of(tree, packages.WORKSHOP, packages.ZFS_SOURCE)
    zfs = key_of(shop, files_of(workshop.COMPILE_ZFS))
    how = files_of(_FOLDER / "settings.py", _FOLDER / "image.py", _FOLDER / "initramfs.py", _FOLDER / "init")
    image = key_of(zfs, own, how)
    if isos:
        own = ""
        image = key_of(isos, packages.TOOLS, how, files_of(_FOLDER / "iso_images.py", _FOLDER / "rolls.py"))
    instruments = key_of(shop, files_of(*(_INSTRUMENTS / name for name in workshop.INSTRUMENT_SOURCES)))
    return Keys(tree, key_of(name, packages.QEMU), shop, zfs, instruments, modules, own, image, isos)


def required(cache: Cache, now: Keys) -> Built:
    """The lab that was built under those keys. StateError when a part of it is missing."""
    name = _image_part(now)
    return Built(
        cache.required(name, now.image),
        cache.required(name, now.nas_image),
        cache.required("qemu", now.qemu),
        cache.required("instruments", now.instruments),
    )


def modules_on_isos(cache: Cache, isos: str) -> str:
    """The key of our modules on the ISOs of that key, from which machines were built."""
    folder = cache.required(_ISO_IMAGE, keys(isos=isos).image)
    return (folder / iso_images.MODULES_RECORD).read_text(encoding="ascii")


def is_built(cache: Cache, isos: str = "", releases: Releases = OWN_RELEASE) -> bool:
    """Whether every part that a lab needs to run is there, with machines from the ISOs of that key if it is given."""
    now = keys(isos=isos, releases=releases)
    name = _image_part(now)
    needed = ((name, now.image), (name, now.nas_image), ("qemu", now.qemu), ("instruments", now.instruments))
    return all(cache.has(name, key) for name, key in needed)


def build(
    cache: Cache, progress: Progress, isos: Sequence[Path] = (), releases: Releases = OWN_RELEASE
) -> Built:
    """Make the missing parts, and remove parts of other keys. ToolError when a package mirror or a tool fails.

    With ISOs, the machines are made of these; what was made of mirrors stays, and the other way round. So do the parts
    of another release.
    """
    now = keys(isos=iso_images.key_of_isos(isos) if isos else "", releases=releases)
    own = _Parts(cache, progress, keys())
    own.qemu()
    own.instruments()
    if isos:
        _Parts(cache, progress, now).iso_image(isos)
    else:
        for name in dict.fromkeys(releases):
            with of_release(name or release()):
                _Parts(cache, progress, keys()).image()
    cache.drop_others(_needed(cache, now))
    return required(cache, now)


def qemu(cache: Cache, progress: Progress) -> Path:
    """The folder with the QEMU that runs the machines; it is made when it is missing."""
    return _Parts(cache, progress, keys()).qemu()


def _image_part(now: Keys) -> str:
    return _ISO_IMAGE if now.isos else "image"


def _needed(cache: Cache, now: Keys) -> list[Path]:
    """The places of the parts of each release, and those of the other kind of machines, of any key."""
    places = [cache.place(_ISO_IMAGE, now.image)] if now.isos else cache.all_of(_ISO_IMAGE)
    for name in names_of_releases():
        with of_release(name):
            places += [
                cache.place(part, key) for part, key in keys()._asdict().items() if isinstance(key, str)
            ]
    return [*places, *(cache.all_of("image") + cache.all_of("packages") if now.isos else ())]


class _Parts:
    """Each method returns the folder of its part, which it makes when it is missing, after those that it needs."""

    def __init__(self, cache: Cache, progress: Progress, now: Keys) -> None:
        self._cache, self._progress, self._now = cache, progress, now

    def tree(self) -> Path:
        title = "Debian with kernel, ZFS, LIO, libvirt, QEMU: unpacked into a folder"
        return self._ensure("tree", title, _make_machine_tree)

    def qemu(self) -> Path:
        return self._ensure(
            "qemu", "the QEMU that runs the machines, in a folder of its own", _make_qemu_tree
        )

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
    name = release()
    is_old = name in packages.RELEASES_WITH_OLD_QEMU
    preferred = f"{name}-backports" if is_old else ""
    trees.make_tree(into, packages.QEMU, sources(backports=is_old), packages.LEFT_OUT, preferred)


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
