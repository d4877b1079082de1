"""Contract tests of devices, carried to a machine that has the devices, and run there by its own Python."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from lab.machines.remote import Remote
from rocks.core.process import Finished
from tests.patience import patience

CHECKOUT = Path(__file__).resolve().parents[2]
CONTRACTS = Path("tests/contract")
PARTS = ("storage", "network")
"""Folders of the contracts that a machine of the lab gets."""

_SHARED = (
    CONTRACTS / "outcomes.py",
    CONTRACTS / "worlds.py",
    Path("tests/waiting.py"),
    Path("tests/patience.py"),
)
_PLACE = "/root/contracts"
_DEADLINE_SECONDS = 600.0


def run_contract(machine: Remote, name: str, arguments: Sequence[str] = ()) -> Finished:
    """Run one file of the contracts on the machine, on its real devices; returns what pytest printed."""
    machine.run(["rm", "-rf", _PLACE])
    machine.write_file(f"{_PLACE}.tar", archive())
    machine.shell(f"mkdir -p {_PLACE}\ntar -xf {_PLACE}.tar -C {_PLACE}\n", 60)
    environment = [
        "env",
        "ROCKS_REAL_DEVICES=yes",
        "PYTHONDONTWRITEBYTECODE=1",
        f"PYTHONPATH={_PLACE}/src:{_PLACE}",
    ]
    pytest = ["python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", f"--rootdir={_PLACE}", "-ra"]
    return machine.run_any(
        [*environment, *pytest, *arguments, f"{_PLACE}/{CONTRACTS}/{name}"], patience(_DEADLINE_SECONDS)
    )


def archive() -> bytes:
    """A tar file of the contracts and all that they import."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as packed:
        for path in _SHARED:
            packed.add(CHECKOUT / path, str(path))
        for part in (Path("src/rocks"), Path("tests/fakes"), *(CONTRACTS / part for part in PARTS)):
            for path in sorted((CHECKOUT / part).rglob("*.py")):
                packed.add(path, str(path.relative_to(CHECKOUT)))
    return target.getvalue()
