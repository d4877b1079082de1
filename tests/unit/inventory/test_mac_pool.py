"""The pool of MAC addresses: its base, its order, its end, its holes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import StateError, UserError
from rocks.inventory import mac_pool
from rocks.inventory.mac_pool import MASK, base_from_address, is_of_pool, mac_number, mac_text, next_macs

BASE = "76:77:6e:80:00:00"
POOL_SIZE = 2**22


@pytest.mark.parametrize(
    ("address", "base"),
    [
        ("137.110.119.118", "76:77:6e:80:00:00"),
        ("10.1.2.3", "02:02:01:c0:00:00"),
        ("192.0.2.1", "02:02:00:40:00:00"),
        ("203.0.113.0", "02:71:00:00:00:00"),
        ("255.255.255.255", "fe:ff:ff:c0:00:00"),
        ("0.0.0.8", "0a:00:00:00:00:00"),
    ],
)
def test_the_base_comes_from_the_public_address(address: str, base: str) -> None:
    assert base_from_address(address) == base


@given(st.ip_addresses(v=4).map(str))
def test_every_base_is_unicast_local_and_inside_its_mask(address: str) -> None:
    base = mac_number(base_from_address(address))
    mask = mac_number(MASK)
    assert base is not None and mask is not None
    assert base >> 40 & 0b11 == 0b10
    assert base & mask == base


@given(st.ip_addresses(v=4).map(str), st.ip_addresses(v=4).map(str))
def test_two_sites_never_share_an_address(one: str, other: str) -> None:
    if one.partition(".")[2] != other.partition(".")[2]:
        assert base_from_address(one) != base_from_address(other)


@pytest.mark.parametrize("address", ["", "head", "1.2.3", "1.2.3.256", "::1", "1.2.3.4\n"])
def test_what_is_no_address_has_no_base(address: str) -> None:
    with pytest.raises(UserError, match="The ip address .* is invalid"):
        base_from_address(address)


@pytest.mark.parametrize(
    ("base", "mac", "is_of"),
    [
        (BASE, "76:77:6E:bf:ff:f", True),
        (BASE, "76:77:6e:c0:00:00", False),
        (BASE, "52:54:00:00:00:01", False),
        (BASE, "nothing", False),
        ("", "76:77:6e:80:00:00", False),
    ],
)
def test_which_addresses_are_of_the_pool(base: str, mac: str, is_of: bool) -> None:
    assert is_of_pool(base, MASK, mac) == is_of and not is_of_pool(base, "", mac)


@pytest.mark.parametrize(
    ("used", "following"),
    [
        ([], "76:77:6e:80:00:00"),
        (["76:77:6e:80:00:00"], "76:77:6e:80:00:01"),
        (["76:77:6e:80:00:07", "76:77:6e:80:00:02"], "76:77:6e:80:00:08"),
        (["76:77:6E:80:00:FF"], "76:77:6e:80:01:00"),
        (["76:77:6e:80:0:f"], "76:77:6e:80:00:10"),
        (["76:77:6e:bf:ff:fe"], "76:77:6e:bf:ff:ff"),
        (["76:77:6e:c0:00:05", "76:77:6e:7f:ff:ff", "00:16:3e:00:00:01"], "76:77:6e:80:00:00"),
        (["76:77:6e:80:00:00:00:00"], "76:77:6e:80:00:00"),
        (["80:00:00:48:fe:80:00:00:00:00:00:00:76:77:6e:80:00:00:00:09"], "76:77:6e:80:00:00"),
        (["", "none", "76-77-6e-80-00-05", "76:77:6e:80:00:zz", "76:77:6e:80:00:005"], "76:77:6e:80:00:00"),
    ],
)
def test_the_next_is_above_the_highest_of_the_pool(used: list[str], following: str) -> None:
    assert next_macs(BASE, MASK, used, 1) == [following]


def test_at_the_end_of_the_pool_the_holes_are_used() -> None:
    used = ["76:77:6e:bf:ff:fe", "76:77:6e:80:00:00", "76:77:6e:80:00:02"]
    assert next_macs(BASE, MASK, used, 4) == [
        "76:77:6e:bf:ff:ff",
        "76:77:6e:80:00:01",
        "76:77:6e:80:00:03",
        "76:77:6e:80:00:04",
    ]


def test_an_empty_pool_error_names_the_free_addresses() -> None:
    mask = "ff:ff:ff:ff:ff:fc"
    assert next_macs(BASE, mask, [], 4)[-1] == "76:77:6e:80:00:03"
    with pytest.raises(StateError, match="has only 2 of 3 addresses left"):
        next_macs(BASE, mask, ["76:77:6e:80:00:01", "76:77:6e:80:00:03"], 3)
    with pytest.raises(StateError, match="has only 0 of 1 addresses left"):
        next_macs(BASE, "ff:ff:ff:ff:ff:ff", [BASE], 1)


def test_a_base_is_made_unicast_and_local_and_cut_to_its_mask() -> None:
    assert next_macs("01:77:6e:80:00:05", MASK, [], 1) == ["02:77:6e:80:00:00"]
    assert next_macs("F5:77:6E:80:0:0", MASK, [], 1) == ["f6:77:6e:80:00:00"]


@pytest.mark.parametrize("base", ["", "76:77:6e:80:00", "76:77:6e:80:00:00:00", "76776e800000", "x\ny"])
def test_an_invalid_base_raises(base: str) -> None:
    with pytest.raises(StateError, match="is not a MAC address") as caught:
        next_macs(base, MASK, [], 1)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "mask", ["", "ff", "ff:ff:ff:c0:00:01", "00:00:00:00:00:00", "fe:00:00:00:00:00", "ff:00:ff:00:00:00"]
)
def test_an_invalid_mask_raises(mask: str) -> None:
    with pytest.raises(StateError, match="is not a mask"):
        next_macs(BASE, mask, [], 1)


@given(
    st.lists(st.integers(0, 40).map(lambda n: mac_text(0x76776E800000 + n)) | st.text(max_size=20)),
    st.integers(0, 20),
)
def test_what_is_handed_out_is_free_different_and_of_the_pool(used: list[str], count: int) -> None:
    chosen = next_macs(BASE, "ff:ff:ff:ff:ff:80", used, count)
    numbers = [mac_number(mac) for mac in chosen]
    assert len(set(numbers)) == count
    assert not set(numbers) & {mac_number(mac) for mac in used}
    assert all(number is not None and number & ~0x7F == 0x76776E800000 for number in numbers)


@given(st.integers(0, 2**48 - 1))
def test_numbers_and_texts_belong_together(number: int) -> None:
    text = mac_text(number)
    assert mac_number(text) == mac_number(text.upper()) == number
    assert len(text) == 17 and text == text.lower()


def test_a_site_has_four_million_addresses() -> None:
    last = mac_text(0x76776E800000 + POOL_SIZE - 1)
    assert next_macs(BASE, MASK, [mac_text(0x76776E800000 + POOL_SIZE - 2)], 1) == [last]


@pytest.mark.parametrize(
    ("base", "used"),
    [
        ("03:00:00:00:00:00", "02:00:00:00:00:00"),
        ("0:16:3e:0:0:0", "02:16:3e:00:00:00"),
        ("ff:0:0:0:0:0", "fe:00:00:00:00:00"),
    ],
)
def test_a_base_that_would_be_another_one_is_refused_with_that(base: str, used: str) -> None:
    with pytest.raises(UserError, match=f"^The mac address {base} is invalid: .* such as {used}$"):
        mac_pool.check_base(base)
    assert mac_pool.effective_base(base) == used


@pytest.mark.parametrize("base", ["76:77:6e:80:0:0", "02:00:00:00:00:00", "A:50:8a:c0:0:0"])
def test_a_base_as_rocks_prints_it_is_taken(base: str) -> None:
    mac_pool.check_base(base)
    assert mac_pool.effective_base(base) == mac_pool.full_mac(base)


def test_what_no_adapter_can_have() -> None:
    for mac, fault in (
        ("0:0:0:0:0:0", "zeros"),
        ("ff:ff:ff:ff:ff:ff", "broadcast"),
        ("33:33:0:0:0:1", "multicast"),
    ):
        assert fault in mac_pool.mac_fault(mac)
    for mac in ("", "x", "02:00:00:00:00:00", "80:00:00:48:fe:80:00:00", "00:00:00:00:00:01"):
        assert mac_pool.mac_fault(mac) == ""
