"""The VLAN of a new cluster: the first free one of the site's pool."""

import pytest

from rocks.core.errors import StateError, UserError
from rocks.inventory.attributes.known import KNOWN
from rocks.network.vlan_pool import DEFAULT_VLAN_POOL, plan_vlan, read_pool


def test_the_default_of_the_attribute_is_that_of_the_code() -> None:
    assert KNOWN["vm_vlan_pool"].default == DEFAULT_VLAN_POOL


@pytest.mark.parametrize(
    ("pool", "expected", "used", "vlan"),
    [
        ("", None, [], 2),
        ("", None, [2, 3, 5], 4),
        ("", 7, [2], 7),
        ("100-102", None, [2, 100], 101),
        ("300,100-102", None, [], 300),
        ("300, 100-102", None, [300, 100], 101),
        ("100-102 4094", 4094, [], 4094),
        ("7", None, [], 7),
    ],
)
def test_the_first_free_one_of_the_pool(pool: str, expected: int | None, used: list[int], vlan: int) -> None:
    assert plan_vlan(expected, used, read_pool(pool)) == vlan


def test_one_that_cannot_be_had() -> None:
    with pytest.raises(UserError, match=r"Vlan ID \(3\) is in use"):
        plan_vlan(3, [2, 3], read_pool(""))
    with pytest.raises(
        UserError, match=r"Vlan ID \(99\) is outside the pool 100-199,300 \(attribute vm_vlan_pool\)"
    ):
        plan_vlan(99, [], read_pool("100-199,300"))


def test_exhaustion_names_the_pool() -> None:
    with pytest.raises(StateError, match=r"the pool 100-101,300 \(attribute vm_vlan_pool\) is exhausted"):
        plan_vlan(None, [100, 101, 300], read_pool("100-101,300"))
    with pytest.raises(StateError, match="the pool 2-4094"):
        plan_vlan(None, range(2, 4095), read_pool(""))


@pytest.mark.parametrize(
    "text", ["x", "0", "4095", "9-3", "1-", "-5", "5-6-7", "1.5", "²", "10000", "1-4095", "100..199"]
)
def test_what_is_no_pool(text: str) -> None:
    with pytest.raises(StateError, match="it must be like 100-199,300"):
        read_pool(text)
