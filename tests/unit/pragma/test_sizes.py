"""Which sizes of a cloud the machines of a cluster get, and that its key is written nowhere."""

import os

import pytest

from pragma._shared.cloud import Size, choose_size, connect, plan_sizes
from rocks.core.errors import StateError

SIZES = [Size("small", 2, 2048), Size("large", 8, 16384), Size("wide", 16, 8192)]


@pytest.mark.parametrize(
    ("cpus", "memory_mb", "expected"),
    [
        (0, 2048, []),
        (1, 2048, [("small", 1)]),
        (3, 2048, [("large", 3)]),
        (16, 2048, [("wide", 16)]),
        (17, 2048, [("wide", 9), ("large", 8)]),
        (17, 16384, [("large", 6), ("large", 6), ("large", 5)]),
    ],
)
def test_as_few_computes_as_can_be_get_equal_shares(cpus, memory_mb, expected):
    assert [(size.name, share) for size, share in plan_sizes(SIZES, cpus, memory_mb)] == expected


def test_the_first_size_that_suffices_is_taken():
    assert choose_size(SIZES, 4, 8192).name == "large"
    assert choose_size(list(reversed(SIZES)), 4, 8192).name == "wide"


@pytest.mark.parametrize(("cpus", "memory_mb"), [(1, 16385), (17, 1)])
def test_no_size_suffices(cpus, memory_mb):
    with pytest.raises(StateError, match="has 1 CPUs"):
        plan_sizes([Size("unstated", 0, 32768)], cpus, memory_mb)
    with pytest.raises(StateError, match=f"has {cpus} CPUs and {memory_mb} MB"):
        choose_size(SIZES, cpus, memory_mb)
    if cpus == 1:
        with pytest.raises(StateError):
            plan_sizes(SIZES, cpus, memory_mb)


def test_libcloud_writes_no_requests(monkeypatch):
    monkeypatch.setenv("LIBCLOUD_DEBUG", "/tmp/x")
    connect("ec2", {"pragma_cloud_user": "AKIA"}, "secret")
    assert "LIBCLOUD_DEBUG" not in os.environ
