"""The contracts of devices (tests/contract/devices), held on real ZFS, LIO, open-iscsi, device-mapper and 802.1Q.

The same cases run on the fakes in `make check`.
"""

from __future__ import annotations

import re

import pytest

from lab.machines.lab import Lab
from tests.lab.device_contracts import CHECKOUT, CONTRACTS, run_contract

_MACHINES = {"test_targets.py": "nas"}
"""Where a contract runs that is not about a host's devices."""

_FILES = sorted(path.name for path in (CHECKOUT / CONTRACTS).glob("test_*.py"))


@pytest.mark.parametrize("name", _FILES)
def test_contract_holds_on_real_devices(lab: Lab, name: str) -> None:
    """Every case passes there, and the real ones are among them."""
    answer = run_contract(lab[_MACHINES.get(name, "vmh1")], name, ["-k", "real"])
    print(answer.text)
    assert answer.exit_status == 0, answer.text[-4000:]
    passed = re.search(r"(\d+) passed", answer.text)
    assert passed is not None
    assert int(passed[1]) > 0
    assert "skipped" not in answer.text.splitlines()[-1], answer.text[-2000:]
