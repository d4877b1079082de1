"""Which frames are a machine's request for a network boot."""

import struct

import pytest

from rocks.install.boot.listener import requesting_mac

MAC = bytes.fromhex("525400000009")
PXE = b"\x3c\x20PXEClient:Arch:00000:UNDI:002001"
IPXE = b"\x4d\x04iPXE"


def frame(
    mac: bytes = MAC,
    sender: bytes | None = None,
    options: bytes = b"\x35\x01\x01" + PXE + b"\xff",
    port: int = 67,
    header: bytes = b"\x01\x01\x06\x00",
    cookie: bytes = b"\x63\x82\x53\x63",
    ip_options: bytes = b"",
) -> bytes:
    """A DHCP message in an Ethernet frame."""
    message = header + bytes(24) + mac + bytes(10 + 192) + cookie + options
    udp = struct.pack("!HHHH", 68, port, 8 + len(message), 0) + message
    length = 20 + len(ip_options)
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x40 + length // 4, 0, length + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4
    )
    return b"\xff" * 6 + (sender or mac) + b"\x08\x00" + ip + ip_options + udp


@pytest.mark.parametrize(
    "data",
    [
        frame(),
        frame(options=b"\0\0" + PXE + b"\x35\x01\x01"),
        frame(options=b"\x35\x01\x01" + IPXE),
        frame(ip_options=bytes(8)),
    ],
)
def test_a_network_boot(data: bytes) -> None:
    assert requesting_mac(data) == "52:54:00:00:00:09"


@pytest.mark.parametrize(
    "data",
    [
        frame(options=b"\x35\x01\x01\xff"),  # not of a network boot: a telephone
        frame(options=b"\x35\x01\x03" + PXE),  # a DHCPREQUEST
        frame(options=b"\x35\x01\x01\xff" + PXE),
        frame(options=b"\x35\x01\x01\x3c\xffPXEClient"),
        frame(options=b"\x35"),
        frame(options=b""),
        frame(sender=bytes.fromhex("525400000008")),
        frame(mac=bytes.fromhex("535400000009")),
        frame(mac=bytes(6), sender=bytes(6)),
        frame(port=68),
        frame(header=b"\x02\x01\x06\x00"),
        frame(cookie=bytes(4)),
        frame(ip_options=bytes(40))[:80],
        b"",
    ],
)
def test_others_are_ignored(data: bytes) -> None:
    assert requesting_mac(data) is None


def test_frames_that_were_cut_off_are_ignored() -> None:
    whole = frame()
    found = {requesting_mac(whole[:length]) for length in range(len(whole))}
    assert found <= {None, "52:54:00:00:00:09"}
    assert all(requesting_mac(whole[:length]) is None for length in range(len(whole) - len(PXE) - 1))
