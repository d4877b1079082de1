"""Facts of the machine: memory, processors, its system."""

from pathlib import Path

import pytest

from rocks.machine.host.facts import _read_system, parse_memory_kib, read_machine


def test_machine_facts() -> None:
    """Memory and processors are positive; `MemTotal` is parsed in KiB, 0 without it."""
    fact = read_machine()
    assert fact.memory_mb > 100 and fact.cpus >= 1
    assert parse_memory_kib("MemFree: 5 kB\nMemTotal:   2048 kB\n") == 2048
    assert parse_memory_kib("") == 0


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\nVERSION_ID="12"\n', "debian 12"),
        ("ID=debian\n", "debian"),
        ("ID='my own'\nVERSION_ID=9\n", "9"),
        (f"ID={'a' * 1000}\nVERSION_ID=\x1b[2J\n", ""),
        ("", ""),
    ],
)
def test_the_system_of_a_machine(tmp_path: Path, text: str, system: str) -> None:
    """An odd file makes no fact that the frontend would refuse."""
    (tmp_path / "os-release").write_text(text, "utf-8")
    assert _read_system(tmp_path / "os-release") == system
    assert _read_system(tmp_path / "absent", tmp_path / "os-release") == system
    assert _read_system(tmp_path / "absent") == ""
