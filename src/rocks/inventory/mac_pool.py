"""The site's pool of MAC addresses for virtual machines. Pure.

The frontend's public address a.b.c.d determines a base with 22 free bits, so two sites with different public addresses
never assign the same MAC address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable

MASK = "ff:ff:ff:c0:00:00"
_MAC = re.compile(r"[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}", re.IGNORECASE)
LOCAL_UNICAST = 0x02 << 40


def base_from_address(public_address: str) -> str:
    """The pool's first address for a frontend's public address; UserError unless that is an IPv4 address.

    >>> base_from_address("137.110.119.118")
    '76:77:6e:80:00:00'
    """
    try:
        _, b, c, d = ipaddress.IPv4Address(public_address).packed
    except ValueError:
        raise UserError(
            f"The ip address {printable(public_address)} is invalid: it must be IPv4, such as 192.0.2.1"
        ) from None
    first = (d & 0b1111_1100) + 2
    return mac_text(first << 40 | c << 32 | b << 24 | (d & 0b11) * 64 << 16)


def next_macs(base: str, mask: str, used: Iterable[str], count: int) -> list[str]:
    """`count` unused addresses of the pool: first those above the highest used one, then the gaps below it.

    InfiniBand addresses and malformed ones in `used` are ignored. StateError, with the pool, when it has too few left.
    """
    base_number, mask_number = _pool(base, mask)
    span = ~mask_number & (2**48 - 1)
    taken = {n & span for n in map(mac_number, used) if n is not None and n & mask_number == base_number}
    first = max(taken) + 1 if taken else 0
    chosen: list[int] = []
    for start, end in ((first, span + 1), (0, first)):
        for number in range(start, end):
            if len(chosen) == count:
                break
            if number not in taken:
                chosen.append(number)
    if len(chosen) < count:
        raise StateError(
            f"the pool of MAC addresses {base} with mask {mask} has only {len(chosen)} of {count} addresses left; "
            "remove virtual machines or widen vm_mac_base_addr_mask"
        )
    return [mac_text(base_number | number) for number in chosen]


def is_of_pool(base: str, mask: str, mac: str) -> bool:
    """Whether the pool has this address; what is malformed has none."""
    if mac_number(base) is None or mac_number(mask) is None or (number := mac_number(mac)) is None:
        return False
    base_number, mask_number = _pool(base, mask)
    return number & mask_number == base_number


def mac_number(text: str) -> int | None:
    """The address as a number; None unless it has six octets."""
    if not _MAC.fullmatch(text):
        return None
    return int("".join(octet.zfill(2) for octet in text.split(":")), 16)


def mac_fault(mac: str) -> str:
    """Why no adapter can have the address, as the end of a sentence; '' for a usable and for a malformed one.

    QEMU replaces zeros by another address, and libvirt starts no machine with a multicast address.
    """
    number = mac_number(mac)
    if mac and not mac.strip("0:"):
        return "is all zeros, which stands for none"
    if number == 2**48 - 1:
        return "is the broadcast address, that of all stations"
    return (
        "is a multicast address, that of a group of stations"
        if number is not None and number >> 40 & 1
        else ""
    )


def effective_base(base: str) -> str:
    """The first address as the pool uses it: local and unicast. StateError for text that is no address."""
    return mac_text(_unicast(base))


def check_base(base: str) -> None:
    """UserError for a first address that the pool would use as another one, and for text that is no address."""
    number = mac_number(base)
    if number is None or number != _unicast(base):
        example = base_from_address("137.110.119.118") if number is None else effective_base(base)
        raise UserError(
            f"The mac address {printable(base)} is invalid: it must be six hexadecimal numbers with colons, whose "
            f"first has the bit of local addresses and not that of groups, such as {example}"
        )


def mac_text(number: int) -> str:
    """Six lower-case octets of two digits."""
    return ":".join(f"{number:012x}"[i : i + 2] for i in range(0, 12, 2))


def full_mac(mac: str) -> str:
    """The address with two lower-case digits per octet, as libvirt and the kernel require; other texts unchanged."""
    number = mac_number(mac)
    return mac if number is None else mac_text(number)


def check_mask(mask: str) -> int:
    """The mask as a number; StateError unless it begins with ff and has its ones first.

    The first octet marks an address as local and unicast: it must be the same in the whole pool.
    """
    number = mac_number(mask)
    span = None if number is None else ~number & (2**48 - 1)
    if number is None or span is None or span & (span + 1) or number >> 40 != 0xFF:
        raise StateError(
            f'vm_mac_base_addr_mask "{printable(mask)}" is not a mask that begins with ff; set it as {MASK}'
        )
    return number


def _pool(base: str, mask: str) -> tuple[int, int]:
    unicast = _unicast(base)
    mask_number = check_mask(mask)
    return unicast & mask_number, mask_number


def _unicast(base: str) -> int:
    base_number = mac_number(base)
    if base_number is None:
        raise StateError(
            f'vm_mac_base_addr "{printable(base)}" is not a MAC address; set it as 76:77:6e:80:00:00'
        )
    return base_number & ~(0x01 << 40) | LOCAL_UNICAST
