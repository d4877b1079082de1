"""Debian's kernel as unpacked by the set-up: its image, and the modules a guest needs, in the order to load them."""

from __future__ import annotations

import lzma
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rocks.core.errors import StateError

MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "button", "evdev")
"""Modules of the guest: disk, network, the guest agent's channel, power button. In the cloud kernel of
Debian 12 all are modules; that of 13 has some built in."""

CD_MODULES = ("ata_piix", "sr_mod", "isofs")
"""Further ones, for a CD in the IDE drive that virtual machines have."""

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


def find_kernel(unpacked: Path) -> Path:
    """The newest kernel image below `unpacked`. StateError when there is none."""
    images = sorted(unpacked.glob("boot/vmlinuz-*"), key=lambda image: image.stat().st_mtime)
    if not images:
        raise StateError(f"no kernel for guests below {unpacked}; run `make setup`")
    return images[-1]


def read_modules(unpacked: Path, kernel: Path, modules: Sequence[str] = MODULES) -> dict[str, bytes]:
    """Contents of the modules of `kernel` that a guest needs, by name, as of `modules_in`."""
    release = kernel.name.removeprefix("vmlinuz-")
    return modules_in(unpacked / "lib/modules" / release, modules)


def modules_in(folder: Path, modules: Sequence[str]) -> dict[str, bytes]:
    """Contents of these modules of a kernel's folder, by name, each after those that it depends on.

    Those that the kernel has built in are left out: kernels of Debian 12 and 13 differ in these. StateError for a
    missing one.
    """
    files = {
        _plain(path.name.partition(".")[0]): path
        for ending in (".ko", ".ko.xz")  # those of Debian 13 are compressed
        for path in folder.glob(f"kernel/**/*{ending}")
    }
    table = folder / "modules.builtin"
    built_in = (
        {_plain(Path(line).stem) for line in table.read_text("ascii").split()} if table.exists() else set()
    )
    modules = [name for name in modules if name not in built_in]
    contents: dict[str, bytes] = {}
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name not in contents:
            if name not in files:
                raise StateError(
                    f"the kernel has no module {name} in {folder}; make that folder anew: remove it and run "
                    "`make setup`, or `bin/lab build again` for that of the lab"
                )
            content = files[name].read_bytes()
            contents[name] = lzma.decompress(content) if files[name].suffix == ".xz" else content
            pending.extend(dependencies(contents[name]))
    order = load_order(modules, {name: dependencies(content) for name, content in contents.items()})
    return {name: contents[name] for name in order}


def dependencies(module: bytes) -> tuple[str, ...]:
    """Names of the modules that must be loaded before this one, as its own `.modinfo` section lists them."""
    found = _DEPENDS.search(module)
    names = found.group(1).decode() if found else ""
    return tuple(_plain(name) for name in names.split(",") if name)


def load_order(modules: Sequence[str], needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """`modules` and all they need, each once and after its own needs."""
    order: list[str] = []

    def add(name: str) -> None:
        for need in needs[name]:
            if need not in order:
                add(need)
        if name not in order:
            order.append(name)

    for name in modules:
        add(name)
    return tuple(order)


def _plain(name: str) -> str:
    return name.replace("-", "_")
