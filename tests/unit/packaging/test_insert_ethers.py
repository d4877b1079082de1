"""The program insert-ethers: the options of Rocks sites become parameters of `rocks discover host`."""

from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from rocks.core.process import run_checked


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ([], []),
        (["--appliance=nas", "--cabinet=2", "--rank=1"], ["appliance=nas", "rack=2", "rank=1"]),
        (["--appliance", "nas", "--cabinet", "2", "count=4"], ["appliance=nas", "rack=2", "count=4"]),
        (["--appliance", "a b"], ["appliance=a b"]),
        (["--count"], ["count="]),
        (["--help"], ["help"]),
    ],
)
def test_options_become_parameters(tmp_path: Path, given: list[str], passed: list[str]) -> None:
    printed = tmp_path / "rocks"
    printed.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    printed.chmod(0o755)
    program = tmp_path / "insert-ethers"
    text = (CHECKOUT / "packaging/files/insert-ethers").read_text("utf-8")
    program.write_text(text.replace("/opt/rocks/bin/rocks", str(printed)))
    found = run_checked(["sh", str(program), *given], deadline_seconds=10).text.splitlines()
    assert found == ["discover", "host", *passed]
