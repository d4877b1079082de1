"""Formats of disk images of hypervisors, by what a file begins with. Pure; also on hosts."""

from __future__ import annotations

QCOW2 = b"QFI\xfb"

OTHER_FORMATS = (
    (0, b"KDMV", "a VMware disk", "vmdk"),
    (0, b"# Disk DescriptorFile", "the description of a VMware disk", "vmdk"),
    (0, b"QED\0", "a QED image", "qed"),
    (0, b"vhdxfile", "a Hyper-V disk (VHDX)", "vhdx"),
    (0, b"conectix", "a Hyper-V disk (VHD)", "vpc"),
    (0x40, b"\x7f\x10\xda\xbe", "a VirtualBox disk (VDI)", "vdi"),
    (0, b"LUKS\xba\xbe", "an encrypted disk (LUKS)", ""),
)
"""Offset, signature, text, and QEMU's name of the format; none for what a raw disk may begin with."""


def disk_format(start: bytes) -> str:
    """QEMU's name of the format of a disk that begins so; empty for raw, and for what is no disk."""
    formats = ((0, QCOW2, "qcow2"), *((offset, magic, name) for offset, magic, _, name in OTHER_FORMATS))
    return next((name for offset, magic, name in formats if start[offset:].startswith(magic)), "")
