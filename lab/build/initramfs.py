"""The initramfs of the lab's machines: busybox, and the modules that lead to the root disk."""

from __future__ import annotations

import gzip
from pathlib import Path

from lab.guest import archive
from lab.guest.kernel import dependencies, load_order
from rocks.core.errors import ToolError

MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
"""ext4 asks for a checksum by name at run time, which the dependencies of its module do not list."""

_INIT = Path(__file__).with_name("init")


def write_initramfs(tree: Path, kernel: str, target: Path) -> None:
    """Write it, compressed, for the kernel of the Debian tree. ToolError when a module is missing there."""
    modules = _modules(tree / "lib/modules" / kernel)
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


def _modules(folder: Path) -> dict[str, bytes]:
    """Contents of `MODULES` and of the modules they need, in the order to load them."""
    files = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
    contents: dict[str, bytes] = {}
    pending = list(MODULES)
    while pending:
        name = pending.pop()
        if name not in contents:
            if name not in files:
                raise ToolError(f"the kernel in {folder} has no module {name}")
            contents[name] = files[name].read_bytes()
            pending.extend(dependencies(contents[name]))
    order = load_order(MODULES, {name: dependencies(content) for name, content in contents.items()})
    return {name: contents[name] for name in order}
