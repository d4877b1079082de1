"""Two starts at the same moment never get the same memory of a host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rocks.machine.host.machine import read_machine
from tests.system.vms.site import ThreeMachines

PAIRS = 6


@pytest.fixture
def small_host(site: ThreeMachines) -> Iterator[str]:
    """A host with memory for one machine of 64 MB."""
    site.done(f"set host attr vmh1 vm_memory_reserve {read_machine().memory_mb - 100}")
    yield "vmh1"
    site.done("remove host attr vmh1 vm_memory_reserve")


def test_of_two_parallel_starts_exactly_one_gets_the_memory(site: ThreeMachines, small_host: str) -> None:
    """Each command sees an empty host when it plans; the host decides."""
    names = [site.add_vm("first", small_host), site.add_vm("second", small_host)]
    for _ in range(PAIRS):
        both = [site.begin(f"start host vm {name}") for name in names]
        ends = [one.end() for one in both]
        assert sorted(status for status, _ in ends) == [0, 1], ends
        (error,) = [text for status, text in ends if status == 1]
        assert "it needs 64 MB of memory, and" in error
        assert "36 MB left of 100 MB for virtual machines" in error
        assert sum(bool(site.running(name)) for name in names) == 1
        states = sorted(site.lease(name)[1] for name in names)
        assert states == ["released", "running"]
        site.done("stop host vm " + " ".join(names))
