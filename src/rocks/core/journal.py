"""Entries of the system journal with fields, by journald's native protocol (systemd: "Native Journal Protocol")."""

from __future__ import annotations

import os
import socket
import struct
import syslog
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
"""Where journald receives entries; `ROCKS_JOURNAL_SOCKET` overrides it."""

INFO, WARNING = 6, 4
"""Priorities of syslog(3)."""

_IDENTIFIER = "rocksaudit"
_SEND_SECONDS = 1.0
_LONGEST_BYTES = 60_000
"""Of one field: a datagram of the kernel's default size takes them all."""


def send_entry(message: str, fields: Mapping[str, object], priority: int = INFO) -> bool:
    """Write an entry; names of fields are upper case. False where no journald receives it: syslog gets the message."""
    texts = {
        "MESSAGE": message,
        "PRIORITY": priority,
        "SYSLOG_IDENTIFIER": _IDENTIFIER,
        **{name: value for name, value in fields.items() if value not in (None, "")},
    }
    entry = b"".join(_field(name, str(value)) for name, value in texts.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_SEND_SECONDS)
            sender.sendto(entry, os.environ.get("ROCKS_JOURNAL_SOCKET", SOCKET))
    except OSError:
        syslog.openlog(_IDENTIFIER, syslog.LOG_PID, syslog.LOG_AUTH)
        syslog.syslog(priority, message)
        return False
    return True


def _field(name: str, value: str) -> bytes:
    """A field with the length of its value, so that the value may have line feeds."""
    content = value.encode("utf-8", "replace")[:_LONGEST_BYTES]
    return name.encode("ascii") + b"\n" + struct.pack("<Q", len(content)) + content + b"\n"
