"""The contracts of devices, held on real ZFS, LIO, open-iscsi, device-mapper, SR-IOV, netlink.

The same cases run on the fakes in `make check`. Here the machines run at the same time, each its own contract tests.
"""

import re
from concurrent.futures import ThreadPoolExecutor

from lab.machines.lab import Lab
from tests.lab.device_contracts import run_contract

SUBJECTS = ("src/rocks/storage", "src/rocks/network", "tests/contract/storage", "tests/contract/network")

MACHINES = {
    "nas": (
        "storage/iscsi/test_targets.py",
        "storage/zfs/test_pools.py",
        "storage/zfs/test_received_streams.py",
        "storage/zfs/test_streams.py",
    ),
    "vmh1": ("storage/iscsi/test_sessions.py",),
    "vmh2": (
        "storage/device_mapper/test_dm_devices.py",
        "storage/device_mapper/test_merges.py",
        "network/sriov/test_vfs.py",
        "network/packet_filter/test_filters.py",
        "network/test_links.py",
    ),
}
"""Machine → the contract tests that run on it."""

WITHOUT_LAB = (
    "network/infiniband/test_netlink.py",
    "network/infiniband/test_pkeys.py",
    "machine/libvirt/test_changes.py",
    "machine/libvirt/test_cpu_models.py",
    "machine/libvirt/test_domains.py",
)
"""Contract tests that need no machine of the lab: a sysfs in a folder, netlink messages, the system's libvirt."""


def test_contracts_hold_on_real_devices(lab: Lab) -> None:
    """Every case passes there, none is skipped, and there are some."""

    def run_all(machine: str) -> list[str]:
        return [failure for name in MACHINES[machine] if (failure := failure_of(lab, machine, name))]

    with ThreadPoolExecutor(len(MACHINES)) as pool:
        failures = [failure for found in pool.map(run_all, MACHINES) for failure in found]
    assert not failures, "\n\n".join(failures)


def failure_of(lab: Lab, machine: str, name: str) -> str:
    """What failed in a contract test on a machine; empty when it passed."""
    answer = run_contract(lab[machine], name, ["-k", "real"])
    last = answer.text.strip().splitlines()[-1] if answer.text.strip() else answer.error_text
    print(f"{name} on {machine}: {last}")
    passed = re.search(r"(\d+) passed", last)
    if answer.exit_status == 0 and passed and int(passed[1]) and "skipped" not in last:
        return ""
    return f"{name} on {machine}: {answer.text[-4000:]}{answer.error_text}"
