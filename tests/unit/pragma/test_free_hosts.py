"""CPUs of a cluster over hosts."""

import pytest

from pragma._shared.free_hosts import FreeHost, plan_computes
from rocks.core.errors import StateError
from rocks.inventory.limits import MAX_VM_CPUS

HOSTS = [FreeHost("a", 6, 0, 0), FreeHost("b", 14, 0, 1), FreeHost("c", 0, 0, 2)]


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        (0, []),
        (1, [("b", 1)]),
        (14, [("b", 14)]),
        (16, [("b", 14), ("a", 2)]),
        (20, [("b", 14), ("a", 6)]),
    ],
)
def test_the_host_with_the_highest_number_of_free_cpus_comes_first_and_gets_what_is_needed(cpus, expected):
    """Scenario 4."""
    assert plan_computes(HOSTS, cpus) == expected


def test_the_higher_rack_and_rank_come_first_among_equals():
    hosts = [FreeHost("a", 4, 0, 1), FreeHost("b", 4, 1, 0), FreeHost("c", 4, 0, 2)]
    assert plan_computes(hosts, 12) == [("b", 4), ("c", 4), ("a", 4)]


@pytest.mark.parametrize("cpus", [21, 40, 10**9])
def test_more_than_is_free_is_refused(cpus):
    with pytest.raises(StateError, match=f"{cpus} CPUs are not free: the VM containers have 20 free; give"):
        plan_computes(HOSTS, cpus)


def test_a_compute_has_no_more_cpus_than_a_machine_can_have():
    hosts = [FreeHost("a", 512), FreeHost("b", 300), FreeHost("c", 4)]
    most = MAX_VM_CPUS
    assert plan_computes(hosts, 2 * most + 2) == [("a", most), ("b", most), ("c", 2)]
    with pytest.raises(StateError, match=r"have 514 free \(one compute on each, with 255 at most\); give"):
        plan_computes(hosts, 515)


def test_a_host_with_more_than_it_has_gives_nothing():
    assert plan_computes([FreeHost("a", -3), FreeHost("b", 1)], 1) == [("b", 1)]
