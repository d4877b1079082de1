"""Whether this host's kernel has 802.1Q, without loading netlink's library each time."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Callable, Dict

from rocks.devices.state_folder import ensure_folder, read_json, write_whole

_FILE = "vlan-support.json"
_LOADED = Path("/proc/net/vlan")


def has_8021q(state_folder: Path, ask_kernel: Callable[[], bool]) -> bool:
    """What the kernel shows, else what it said before, else what it says now, which is remembered for this boot."""
    if _LOADED.is_dir():
        return True
    memory = read_json(state_folder / _FILE)
    key = _key()
    if memory.get("key") == key and isinstance(memory.get("has_8021q"), bool):
        return bool(memory["has_8021q"])
    answer = ask_kernel()
    ensure_folder(state_folder)
    write_whole(state_folder / _FILE, json.dumps({"key": key, "has_8021q": answer}, indent=1) + "\n")
    return answer


def _key() -> Dict[str, str]:
    # a module that is installed later changes the list of modules
    release = os.uname().release
    return {
        "kernel": release,
        "boot": _text(Path("/proc/sys/kernel/random/boot_id")),
        "modules": _changed(Path("/lib/modules") / release / "modules.dep"),
    }


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""


def _changed(path: Path) -> str:
    try:
        return str(path.stat().st_mtime_ns)
    except OSError:
        return ""
