"""The initramfs of the lab's machines: busybox, and the modules that lead to the root disk."""

from __future__ import annotations

import gzip
from pathlib import Path

from lab.guest import archive
from lab.guest.kernel import modules_in

MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
"""ext4 asks for a checksum by name at run time, which the dependencies of its module do not list."""

_INIT = Path(__file__).with_name("init")


def write_initramfs(tree: Path, kernel: str, target: Path) -> None:
    """Write it, compressed, for the kernel of the Debian tree. StateError when a module is missing there."""
    modules = modules_in(tree / "lib/modules" / kernel, MODULES)
    order = "".join(f"{name}.ko\n" for name in modules)
    entries = [
        *(archive.folder(name) for name in ("bin", "dev", "modules", "proc", "root")),
        archive.program("bin/busybox", (tree / "bin/busybox").read_bytes()),
        archive.character_device("dev/console", 5, 1),
        archive.program("init", _INIT.read_bytes()),
        archive.document("modules/order", order.encode()),
        *(archive.document(f"modules/{name}.ko", content) for name, content in modules.items()),
    ]
    target.write_bytes(gzip.compress(archive.write_archive(entries), compresslevel=1, mtime=0))
