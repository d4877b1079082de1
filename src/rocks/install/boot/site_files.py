"""The second initramfs that the boot service gives to the installer: the site's authority and the time. Pure.

The kernel unpacks it over the installer, which is the same for every site. Source of the form `newc`: the kernel's
Documentation/driver-api/early-userspace/buffer-format.rst. It is compressed: under UEFI it follows the installer's last
byte directly, and there the kernel takes an archive that is not compressed only at a multiple of four bytes.
"""

from __future__ import annotations

import gzip
import stat

_FOLDERS = ("installer", "installer/site")
_ALIGNMENT = 4


def site_files(authority: bytes, written_seconds: int) -> bytes:
    """A cpio archive, compressed by gzip, with `installer/site/ca.pem` and `installer/site/time`.

    `authority` is the certificate, as PEM, that signs the frontend's web service. `written_seconds` is the time now,
    in seconds since 1970: an installer whose clock is behind it sets its clock.
    """
    entries = [
        *((folder, stat.S_IFDIR | 0o755, b"") for folder in _FOLDERS),
        ("installer/site/ca.pem", stat.S_IFREG | 0o644, authority),
        ("installer/site/time", stat.S_IFREG | 0o644, b"%d\n" % written_seconds),
        ("TRAILER!!!", 0, b""),
    ]
    archive = b"".join(_record(number, *entry) for number, entry in enumerate(entries, start=1))
    return gzip.compress(archive, mtime=0)


def _record(number: int, name: str, mode: int, content: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    # number, mode, owner, group, links, time, size, four device numbers, length of the name, checksum
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + encoded) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)
