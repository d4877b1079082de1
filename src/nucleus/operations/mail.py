"""Mails to owners, each an operation, so that a slow mail server does not delay the caller."""

from __future__ import annotations

import sys
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING

from nucleus.mirror import operations
from nucleus.operations import smtp
from nucleus.operations.causes import RefusedError
from nucleus.operations.job import LaterError
from rocks.core.clock import utc_now
from rocks.core.errors import ToolError
from rocks.core.process import run

if TYPE_CHECKING:
    from nucleus.operations.job import Job

_MAIL_SECONDS, _MAX_BYTES = 120.0, 64 * 1024
"""For one mail, and for what the program that sends it may print."""

_MAX_AT_ONCE = 2
"""Mails of a kind of operation that are sent at the same time: a server that hangs must leave the workers to others."""

_AGAIN_SECONDS, _LATEST = 60.0, timedelta(hours=1)
"""How often, and for how long, a server is asked that is away or wants to be asked again later."""


def written(sender: str, receiver: str, subject: str, text: str) -> EmailMessage:
    """A mail. RefusedError for a receiver that is not one address."""
    message = EmailMessage()
    try:
        message["From"], message["To"], message["Subject"] = sender, receiver, subject
        is_one = len(message["To"].addresses) == 1 and "@" in message["To"].addresses[0].addr_spec
    except ValueError:
        is_one = False
    if not is_one:
        raise RefusedError(f"{receiver!r} is not a mail address")
    message.set_content(text)
    return message


def send(job: Job, message: EmailMessage) -> None:
    """Send the mail of an operation. LaterError: try again in a minute. RefusedError: the server refused it for
    good. ToolError: the server was unreachable for an hour."""
    running = job.transaction(lambda session: operations.running_of(session, job.operation.kind))
    if running > _MAX_AT_ONCE:
        raise LaterError(_AGAIN_SECONDS)
    server = job.tools.mail.server
    host, _, port = server.partition(":")
    addresses = [str(message[name].addresses[0].addr_spec) for name in ("From", "To")]
    try:
        ended = run(
            [sys.executable, "-I", smtp.__file__, host, port or "25", *addresses],
            deadline_seconds=_MAIL_SECONDS,
            standard_input=message.as_bytes(policy=SMTP),
            max_bytes=_MAX_BYTES,
        )
        status, reason = ended.exit_status, ended.error_text
    except ToolError as error:
        status, reason = smtp.TRY_AGAIN, str(error)
    if status == smtp.UNAVAILABLE:
        raise RefusedError(f"the mail server {server} did not take the mail: {reason}")
    if status and utc_now() < job.operation.created + _LATEST:
        raise LaterError(_AGAIN_SECONDS)
    if status:
        raise ToolError(f"the mail server {server} did not take the mail: {reason}")
