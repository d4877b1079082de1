"""The contracts of devices (tests/contract/devices), held on real ZFS, LIO, open-iscsi, device-mapper, SR-IOV, netlink.

The same cases run on the fakes in `make check`. Here all machines work at the same time, each on other contracts.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from lab.machines.lab import Lab
from tests.lab.device_contracts import CHECKOUT, CONTRACTS, run_contract

_PLACES = {
    "nas": ("test_targets.py", "test_pools.py"),
    "vmh1": ("test_sessions.py",),
    "vmh2": ("test_mappings.py", "test_functions.py", "test_filters.py", "test_links.py"),
}
"""Machine → the contracts that are tried on it."""


def test_every_contract_has_its_place() -> None:
    """A new one must be given a machine."""
    placed = sorted(name for names in _PLACES.values() for name in names)
    assert placed == sorted(path.name for path in (CHECKOUT / CONTRACTS).glob("test_*.py"))


def test_contracts_hold_on_real_devices(lab: Lab) -> None:
    """Every case passes there, none is skipped, and there are some."""

    def run_all(machine: str) -> list[str]:
        return [failure for name in _PLACES[machine] if (failure := failure_of(lab, machine, name))]

    with ThreadPoolExecutor(len(_PLACES)) as pool:
        failures = [failure for found in pool.map(run_all, _PLACES) for failure in found]
    assert not failures, "\n\n".join(failures)


def failure_of(lab: Lab, machine: str, name: str) -> str:
    """What is wrong with a contract on a machine; nothing when it holds."""
    answer = run_contract(lab[machine], name, ["-k", "real"])
    last = answer.text.strip().splitlines()[-1] if answer.text.strip() else answer.error_text
    print(f"{name} on {machine}: {last}")
    passed = re.search(r"(\d+) passed", last)
    if answer.exit_status == 0 and passed and int(passed[1]) and "skipped" not in last:
        return ""
    return f"{name} on {machine}: {answer.text[-4000:]}{answer.error_text}"
