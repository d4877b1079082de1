"""Requests for network boots, as they arrive at a device here. Sources: packet(7), the kernel's filter.rst."""

from __future__ import annotations

import ctypes
import select
import socket
import struct
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, UserError
from rocks.install.boot.requests import requesting_mac

if TYPE_CHECKING:
    from types import TracebackType

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
