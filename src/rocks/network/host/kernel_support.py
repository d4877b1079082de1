"""Whether the kernel supports 802.1Q and packet filters; cached, since loading pyroute2 takes time."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Callable, Dict

from rocks.core.files import text_if_readable, write_file
from rocks.fleet.host.state_folder import Place, ensure_folder, read_cache

_LOADED = Path("/proc/net/vlan")


def has_8021q(state_folder: Path, ask_kernel: Callable[[], bool]) -> bool:
    """Whether /proc shows 802.1Q, else the cached answer, else that of `ask_kernel`, cached until the next boot."""
    return _LOADED.is_dir() or _remembered(Place.VLAN_SUPPORT.below(state_folder), "has_8021q", ask_kernel)


def has_filters(state_folder: Path, ask_kernel: Callable[[], bool]) -> bool:
    """The cached answer, else that of `ask_kernel`; a yes is cached until the next boot. nft may be installed later."""
    return _remembered(Place.FILTER_SUPPORT.below(state_folder), "has_filters", ask_kernel, only_yes=True)


def _remembered(file: Path, name: str, ask_kernel: Callable[[], bool], only_yes: bool = False) -> bool:
    memory = read_cache(file)
    key = _key()
    if memory.get("key") == key and isinstance(memory.get(name), bool):
        return bool(memory[name])
    answer = ask_kernel()
    if only_yes and not answer:
        return False
    ensure_folder(file.parent)
    write_file(file, json.dumps({"key": key, name: answer}, indent=1) + "\n")
    return answer


def _key() -> Dict[str, str]:
    # installing a module changes modules.dep
    release = os.uname().release
    return {
        "kernel": release,
        "boot": text_if_readable(Path("/proc/sys/kernel/random/boot_id")),
        "modules": _changed(Path("/lib/modules") / release / "modules.dep"),
    }


def _changed(path: Path) -> str:
    try:
        return str(path.stat().st_mtime_ns)
    except OSError:
        return ""
