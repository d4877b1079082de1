"""Whether guests run under KVM on a machine: its own agent finds that out, by booting one, and remembers it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

from lab.namespace import Machine
from rocks.core.errors import ToolError

AGENT = "/opt/rocks/libexec/rocks-agent"
_MEMORY = "/var/lib/rocks/kvm-probe.json"
_DEADLINE_SECONDS = 60.0


class Acceleration(NamedTuple):
    """`kvm_works`, and the reason that the agent states."""

    kvm_works: bool
    reason: str


def ask(machine: Machine, cache: Path) -> Acceleration:
    """The answer of the agent on the running machine, which takes up to 8 s the first time.

    Its result is stored in the folder `cache` as well, for the next machine made here: a result holds for one kernel
    and processor, and the agent judges that itself. ToolError when the agent fails.
    """
    memory, stored = machine.outside(_MEMORY), cache / Path(_MEMORY).name
    if stored.exists() and not memory.exists():
        shutil.copyfile(stored, memory)
    answer = machine.run_checked([AGENT, "probe"], _DEADLINE_SECONDS)
    acceleration = read_answer(answer.text)
    if memory.exists():
        cache.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(memory, stored)
    return acceleration


def read_answer(text: str) -> Acceleration:
    """What the agent printed: a JSON object with `accelerator` and `reason`. ToolError for anything else."""
    try:
        fact = json.loads(text)
        accelerator, reason = fact["accelerator"], fact["reason"]
    except (ValueError, KeyError, TypeError):
        accelerator = reason = None
    if accelerator not in ("kvm", "tcg") or not isinstance(reason, str):
        raise ToolError(f"the agent's answer about KVM cannot be read: {text.strip()[:200]!r}")
    return Acceleration(accelerator == "kvm", reason)
