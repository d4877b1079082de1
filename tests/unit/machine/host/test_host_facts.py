"""Facts of the machine: memory, processors."""

from rocks.machine.host.host_facts import parse_memory_kib, read_machine


def test_machine_facts() -> None:
    """Memory and processors are positive; `MemTotal` is parsed in KiB, 0 without it."""
    fact = read_machine()
    assert fact.memory_mb > 100 and fact.cpus >= 1
    assert parse_memory_kib("MemFree: 5 kB\nMemTotal:   2048 kB\n") == 2048
    assert parse_memory_kib("") == 0
