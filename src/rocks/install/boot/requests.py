"""A machine's request for a network boot: a DHCPDISCOVER of a PXE client in an Ethernet frame. Pure.

Sources: RFC 2131 (message), RFC 2132 (options), RFC 3004 (user class), the PXE specification 2.1 (vendor class).
"""

from __future__ import annotations

_ETHERNET, _UDP_HEADER, _FIXED = 14, 8, 236
_COOKIE = b"\x63\x82\x53\x63"
_DISCOVER = b"\x01"
_PAD, _END, _TYPE, _VENDOR_CLASS, _USER_CLASS = 0, 255, 53, 60, 77


def requesting_mac(frame: bytes) -> str | None:
    """The MAC address of the machine that asks for a network boot; None for every other frame."""
    if len(frame) < _ETHERNET + 20 or frame[12:14] != b"\x08\x00" or frame[23] != 17 or frame[14] >> 4 != 4:
        return None
    udp = _ETHERNET + (frame[14] & 15) * 4
    message = frame[udp + _UDP_HEADER :]
    if frame[udp + 2 : udp + 4] != (67).to_bytes(2, "big") or len(message) < _FIXED + len(_COOKIE):
        return None
    # a request, of Ethernet, whose client has sent it itself
    sender = frame[6:12]
    if message[:3] != b"\x01\x01\x06" or message[28:34] != sender or message[_FIXED : _FIXED + 4] != _COOKIE:
        return None
    options = _options(message[_FIXED + len(_COOKIE) :])
    boots = options.get(_VENDOR_CLASS, b"").startswith(b"PXEClient") or b"iPXE" in options.get(
        _USER_CLASS, b""
    )
    if options.get(_TYPE) != _DISCOVER or not boots or sender[0] & 1 or not any(sender):
        return None
    return ":".join(f"{byte:02x}" for byte in sender)


def _options(data: bytes) -> dict[int, bytes]:
    """The options by number; what follows a damaged one is ignored."""
    found: dict[int, bytes] = {}
    place = 0
    while place < len(data) and data[place] != _END:
        if data[place] == _PAD:
            place += 1
            continue
        if place + 1 >= len(data) or place + 2 + data[place + 1] > len(data):
            break
        found.setdefault(data[place], data[place + 2 : place + 2 + data[place + 1]])
        place += 2 + data[place + 1]
    return found
