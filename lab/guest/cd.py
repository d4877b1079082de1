"""A CD that installs a system as a distribution's does: it boots, asks on the console, writes the disk, restarts.

The machine's firmware boots it by emulating a hard disk (El Torito 1.0, "bootable CD-ROM format", hard disk emulation),
so that the boot program of the guests' disks serves here, too.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
from pathlib import Path

from lab.guest import disk_image, image, kernel
from rocks.core.process import run_checked

_BOOT_IMAGE = "boot.img"
_SYSTEM = "system.gz"
_DEADLINE_SECONDS = 120.0


def make_cd(unpacked_kernel: Path, iso: Path, system: Path) -> None:
    """The ISO of a CD that writes `system`, a raw disk, to a machine's first disk. ToolError when a tool fails."""
    image_kernel = kernel.find_kernel(unpacked_kernel)
    modules = kernel.read_modules(unpacked_kernel, image_kernel, (*kernel.MODULES, *kernel.CD_MODULES))
    with tempfile.TemporaryDirectory(dir=iso.parent, prefix=".new-cd-") as folder:
        initramfs, settings, content = (Path(folder, name) for name in ("initramfs", "settings", "content"))
        initramfs.write_bytes(image.initramfs_of(modules))
        settings.write_text(image.configuration("installer", "rocks_role=cd"), encoding="ascii")
        content.mkdir()
        files = {
            image.KERNEL_NAME: image_kernel,
            image.INITRAMFS_NAME: initramfs,
            disk_image.CONFIGURATION_NAME: settings,
        }
        disk_image.make_image(content / _BOOT_IMAGE, files)
        with system.open("rb") as source, gzip.open(content / _SYSTEM, "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target)
        boots = ("-b", _BOOT_IMAGE, "-hard-disk-boot")
        run_checked(
            [
                "xorriso",
                "-as",
                "mkisofs",
                "-quiet",
                "-R",
                "-V",
                "SYSTEM",
                "-o",
                str(iso),
                *boots,
                str(content),
            ],
            deadline_seconds=_DEADLINE_SECONDS,
        )
