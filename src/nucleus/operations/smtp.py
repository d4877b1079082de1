"""Sends the mail of standard input: `smtp.py HOST PORT SENDER RECEIVER`; a program of its own, which can be ended.

smtplib bounds neither the time nor the size of what a server sends: who starts this has a deadline, and the memory is
limited here. Exit status (sysexits.h): 0 sent, 69 refused for good (RFC 5321: 5yz), 75 to be tried again; the reason is
on standard error.
"""

from __future__ import annotations

import re
import resource
import smtplib
import sys
from typing import NoReturn

UNAVAILABLE, TRY_AGAIN = 69, 75
_MEMORY_BYTES = 128 * 1024**2
_SECONDS, _LAST_SECONDS = 20.0, 60.0
"""For each answer; and for that to the text, which a server may look through."""


def main(host: str, port: str, sender: str, receiver: str) -> None:
    """Send it once: a text that has gone to the server completely counts as sent, whatever comes then but a refusal."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    text = re.sub(rb"(?m)^\.", b"..", sys.stdin.buffer.read())
    try:
        server = smtplib.SMTP(host, int(port), timeout=_SECONDS)
        server.ehlo_or_helo_if_needed()
        _check(*server.mail(sender))
        _check(*server.rcpt(receiver))
        _check(*server.docmd("DATA"))
        server.send(text + b"\r\n.\r\n")
        assert server.sock is not None
        server.sock.settimeout(_LAST_SECONDS)
    except smtplib.SMTPResponseException as error:
        _check(error.smtp_code, error.smtp_error)
    except (OSError, smtplib.SMTPException, MemoryError) as error:
        _end(TRY_AGAIN, str(error))
    try:
        _check(*server.getreply())
    except (OSError, smtplib.SMTPException, MemoryError):
        pass  # the server has the text, and a second one would be a second mail
    sys.exit(0)


def _check(status: int, reason: bytes | str) -> None:
    if status >= 400:
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        _end(UNAVAILABLE if status >= 500 else TRY_AGAIN, text)


def _end(status: int, reason: str) -> NoReturn:
    sys.stderr.write(reason[:1000])
    sys.exit(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
