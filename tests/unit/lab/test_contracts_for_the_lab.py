"""The contracts of devices that go to the lab's machines bring all that they import."""

import io
import sys
import tarfile
from pathlib import Path

import pytest

from rocks.core.process import run
from tests.lab.device_contracts import CHECKOUT, CONTRACTS, PARTS, archive
from tests.lab.test_device_contracts import MACHINES, WITHOUT_LAB


@pytest.mark.slow
def test_contracts_for_the_lab_import_nothing_else(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive())) as packed:
        packed.extractall(tmp_path)
    pytest_there = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
        f"--rootdir={tmp_path}",
    ]
    folders = [str(tmp_path / CONTRACTS / part) for part in PARTS]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}/src:{tmp_path}"}
    ended = run([*pytest_there, "--collect-only", *folders], deadline_seconds=120, environment=environment)
    assert ended.exit_status == 0, ended.text
    assert "test_pools.py" in ended.text


def test_every_contract_has_its_place() -> None:
    """Every contract test runs on a machine of the lab or needs none."""
    placed = sorted([*(name for names in MACHINES.values() for name in names), *WITHOUT_LAB])
    folder = CHECKOUT / CONTRACTS
    found = [path for part in (*PARTS, "machine/libvirt") for path in (folder / part).rglob("test_*.py")]
    assert placed == sorted(str(path.relative_to(folder)) for path in found)
