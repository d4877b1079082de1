"""Requests for network boots, as they arrive at a device here: a DHCPDISCOVER of a PXE client in an Ethernet frame.

Sources: packet(7), the kernel's filter.rst; RFC 2131 (message), RFC 2132 (options), RFC 3004 (user class), the PXE
specification 2.1 (vendor class).
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct

from rocks.core.errors import HostError, UserError

_ETH_P_IP = 0x0800
_SO_ATTACH_FILTER = 26
_OUTGOING = 4
_LONGEST_FRAME = 2048
_LOAD_BYTE, _LOAD_HALF, _LOAD_HALF_INDEXED, _LOAD_HEADER_LENGTH = 0x30, 0x28, 0x48, 0xB1
_IF_EQUAL, _IF_SET, _RETURN = 0x15, 0x45, 0x06
_VLAN_TAG_PRESENT = 0xFFFFF000 + 48

# DHCP requests without a VLAN tag: the kernel has taken it off frames of a cluster's VLAN, which look like the site's
_FILTER = (
    (_LOAD_BYTE, 0, 0, _VLAN_TAG_PRESENT),
    (_IF_EQUAL, 0, 9, 0),
    (_LOAD_HALF, 0, 0, 12),
    (_IF_EQUAL, 0, 7, _ETH_P_IP),
    (_LOAD_BYTE, 0, 0, 23),
    (_IF_EQUAL, 0, 5, socket.IPPROTO_UDP),
    (_LOAD_HALF, 0, 0, 20),
    (_IF_SET, 3, 0, 0x1FFF),
    (_LOAD_HEADER_LENGTH, 0, 0, 14),
    (_LOAD_HALF_INDEXED, 0, 0, 16),
    (_IF_EQUAL, 1, 0, 67),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, _LONGEST_FRAME),
)

_ETHERNET, _UDP_HEADER, _FIXED = 14, 8, 236
_COOKIE = b"\x63\x82\x53\x63"
_DISCOVER = b"\x01"
_PAD, _END, _TYPE, _VENDOR_CLASS, _USER_CLASS = 0, 255, 53, 60, 77


class NetworkBoots:
    """The requests that arrive at one device, without a VLAN tag; to be used in a `with`."""

    def __init__(self, device: str) -> None:
        """HostError when the device cannot be listened on, UserError without the right to."""
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            program = b"".join(struct.pack("HBBI", *step) for step in _FILTER)
            buffer = ctypes.create_string_buffer(program)
            described = struct.pack("HL", len(_FILTER), ctypes.addressof(buffer))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
            self._socket.bind((device, _ETH_P_IP))
        except PermissionError:
            raise UserError(f"requests on {device} are for root only; run this as root") from None
        except OSError as error:
            raise HostError(f"cannot listen on the device {device}: {error.strerror}") from None

    def __enter__(self) -> NetworkBoots:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def next(self, seconds: float) -> str | None:
        """The MAC address of the next request, waiting at most so long; None for none, and for another frame."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return None
        try:
            frame, sender = self._socket.recvfrom(_LONGEST_FRAME)
        except OSError as error:
            raise HostError(f"cannot listen any longer: {error.strerror}") from None
        return None if sender[2] == _OUTGOING else requesting_mac(frame)


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
