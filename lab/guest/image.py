"""Disks for guests: one base image, built when kernel or contents change, and sparse copies that know their name."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from lab.guest import archive, disk_image, kernel
from rocks.core.errors import StateError, UserError

_BUSYBOX = Path("/bin/busybox")
_INIT = Path(__file__).with_name("init")
_ROLES = Path(__file__).with_name("roles")
KERNEL_NAME = "VMLINUZ"
INITRAMFS_NAME = "INITRD"
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")


def ensure_base_image(unpacked_kernel: Path, folder: Path) -> Path:
    """The base image in `folder`, built if it is not there yet; named by what it is made of, so a change rebuilds it.

    StateError when kernel or busybox are missing, ToolError when a tool fails. A build that was killed leaves no image.
    """
    image_kernel = kernel.find_kernel(unpacked_kernel)
    initramfs = initramfs_of(kernel.read_modules(unpacked_kernel, image_kernel))
    digest = hashlib.sha256(initramfs + image_kernel.name.encode() + configuration("").encode()).hexdigest()[
        :16
    ]
    base = folder / f"guest-{digest}.img"
    if not base.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _build(base, image_kernel, initramfs)
    return base


def make_disk(base: Path, disk: Path, name: str, size_bytes: int, parameters: str = "") -> None:
    """A sparse copy of `base` at `disk` that boots a guest called `name`; `parameters` are further ones for its kernel.

    `size_bytes` is the size of the disk that the guest sees. UserError when the name cannot stand on a kernel's
    command line or the size is too small; StateError when there is a disk already: it is left as it is.
    """
    if not name or not _NAME_CHARACTERS.issuperset(name):
        raise UserError(f'"{name}" cannot be the name of a guest: letters, digits and - only')
    if size_bytes < disk_image.IMAGE_BYTES:
        raise UserError(f"a guest's disk has at least {disk_image.IMAGE_BYTES} bytes, not {size_bytes}")
    with tempfile.TemporaryDirectory(dir=disk.parent, prefix=".new-disk-") as folder:
        draft = Path(folder, "disk")
        _copy_sparse(base, draft, size_bytes)
        text = Path(folder, "configuration")
        text.write_text(configuration(name, parameters), encoding="ascii")
        disk_image.write_file(draft, disk_image.CONFIGURATION_NAME, text)
        try:
            os.link(draft, disk)  # fails when there is one, which renaming would not
        except FileExistsError:
            raise StateError(f"there is a disk at {disk} already; it is left as it is") from None


def make_frontend_disk(base: Path, unpacked_kernel: Path, disk: Path, name: str, system: Path) -> None:
    """A disk that boots the frontend of a virtual cluster, which installs its computes with what `system` holds.

    Kernel and initramfs of the installer, and `system`, lie behind the partition, as a tar archive. The guest's command
    line says where it begins and how long it is: a disk onto which this one is copied may be much larger, and is not
    read to its end.
    """
    image_kernel = kernel.find_kernel(unpacked_kernel)
    with tempfile.TemporaryFile() as cargo:
        with tarfile.open(fileobj=cargo, mode="w") as archived:
            archived.add(image_kernel, "vmlinuz")
            archived.add(system, "system")
            initramfs = initramfs_of(kernel.read_modules(unpacked_kernel, image_kernel))
            header = tarfile.TarInfo("initrd")
            header.size = len(initramfs)
            archived.addfile(header, io.BytesIO(initramfs))
        sector, sectors = (size // disk_image.SECTOR_BYTES for size in (disk_image.IMAGE_BYTES, cargo.tell()))
        size_bytes = disk_image.IMAGE_BYTES + cargo.tell()
        make_disk(base, disk, name, size_bytes, f"rocks_role=frontend rocks_cargo={sector},{sectors}")
        with disk.open("r+b") as whole:
            whole.seek(disk_image.IMAGE_BYTES)
            cargo.seek(0)
            shutil.copyfileobj(cargo, whole)


def configuration(name: str, parameters: str = "") -> str:
    """Configuration of syslinux: boot at once, print on the serial line, pass the name and parameters to the guest."""
    return (
        "SERIAL 0 115200\n"
        "DEFAULT linux\n"
        "LABEL linux\n"
        f"  KERNEL /{KERNEL_NAME}\n"
        f"  INITRD /{INITRAMFS_NAME}\n"
        "  APPEND console=ttyS0 loglevel=4 mitigations=off audit=0 net.ifnames=0 no_timer_check panic=-1 "
        f"{f'rocks_name={name} {parameters}'.strip()}\n"
    )


def initramfs_of(modules: dict[str, bytes]) -> bytes:
    """The initramfs of a guest: busybox, `init`, all roles, these modules in order. StateError without busybox."""
    if not _BUSYBOX.exists():
        raise StateError(f"{_BUSYBOX} is missing; run `make setup`")
    order = "".join(f"{name}.ko\n" for name in modules)
    return archive.write_archive(
        [
            archive.folder("bin"),
            archive.program("bin/busybox", _BUSYBOX.read_bytes()),
            archive.folder("dev"),
            archive.character_device("dev/console", 5, 1),
            archive.program("init", _INIT.read_bytes()),
            archive.folder("roles"),
            *(archive.program(f"roles/{role.name}", role.read_bytes()) for role in sorted(_ROLES.iterdir())),
            archive.folder("modules"),
            archive.document("modules/order", order.encode()),
            *(archive.document(f"modules/{name}.ko", content) for name, content in modules.items()),
        ]
    )


def _build(base: Path, image_kernel: Path, initramfs: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=base.parent, prefix=".new-image-") as folder:
        initramfs_file = Path(folder, "initramfs")
        initramfs_file.write_bytes(initramfs)
        text = Path(folder, "configuration")
        text.write_text(configuration("unnamed"), encoding="ascii")
        draft = Path(folder, "image")
        disk_image.make_image(
            draft,
            {
                KERNEL_NAME: image_kernel,
                INITRAMFS_NAME: initramfs_file,
                disk_image.CONFIGURATION_NAME: text,
            },
        )
        draft.rename(base)


def _copy_sparse(source: Path, target: Path, size_bytes: int) -> None:
    with source.open("rb") as original, target.open("xb") as copy:
        copy.truncate(size_bytes)
        position = 0
        end = os.fstat(original.fileno()).st_size
        while position < end:
            try:
                start = os.lseek(original.fileno(), position, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                return
            position = os.lseek(original.fileno(), start, os.SEEK_HOLE)
            _copy_range(original.fileno(), copy.fileno(), start, position)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    os.lseek(target, start, os.SEEK_SET)
    while start < end:
        sent = os.sendfile(target, source, start, end - start)
        if sent == 0:
            return
        start += sent
