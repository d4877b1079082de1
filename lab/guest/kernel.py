"""Debian's kernel as unpacked by the set-up: its image, and the modules a guest needs, in the order to load them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rocks.core.errors import StateError

MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "button", "evdev")
"""Modules of the guest: disk, network, the guest agent's channel, power button. In Debian 12's cloud kernel all are
modules."""

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
    """Contents of the modules of `kernel` that a guest needs, by name, each after those that it depends on."""
    release = kernel.name.removeprefix("vmlinuz-")
    files = {_plain(path.stem): path for path in unpacked.glob(f"lib/modules/{release}/kernel/**/*.ko")}
    contents: dict[str, bytes] = {}
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name not in contents:
            contents[name] = _content(files, name)
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


def _content(files: Mapping[str, Path], name: str) -> bytes:
    if name not in files:
        raise StateError(f"the guest's kernel has no module {name}; remove its folder and run `make setup`")
    return files[name].read_bytes()
