"""Mails to owners about their reservations, each a stored operation, so that no mail server delays the controller."""

from __future__ import annotations

import smtplib
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from nucleus.mirror import operations
from nucleus.operations.causes import RefusedError
from nucleus.operations.job import LaterError
from nucleus.reservations import records
from nucleus.reservations.records import FAILED, RUNNING, STOPPED, Mailed
from rocks.core.clock import utc_now
from rocks.core.errors import ToolError, UserError

if TYPE_CHECKING:
    from nucleus.configuration import MailSettings
    from nucleus.operations.job import Job
    from nucleus.records import JsonObject

MAIL = "send_mail"
STATES = (RUNNING, STOPPED, FAILED)
"""Of an interval: its owner gets a mail when it comes to one of them."""

_TEXT = """\
Reservation $reservation of $site is $state: cluster image $vc, from $begin to $end UTC.
$details

`comet reservation list` lists your reservations.
"""
_VARIABLES = ("reservation", "site", "vc", "begin", "end", "state", "details")

_SERVER_SECONDS = 20.0
_MAX_AT_ONCE = 2
"""Mails that are sent at the same time: a server that hangs must leave the workers to others."""

_AGAIN_SECONDS, _LATEST = 60.0, timedelta(hours=1)
"""How often, and for how long, a server is asked that is away or wants to be asked again later."""


def check_template(path: str) -> None:
    """UserError unless the file is a text that can be sent. '' is the text that comes with Nucleus."""
    try:
        _template(path).substitute(dict.fromkeys(_VARIABLES, ""))
    except OSError as error:
        raise UserError(f"cannot read [mail] text_file {path}: {error.strerror}") from None
    except (KeyError, ValueError) as error:
        known = ", ".join(f"${name}" for name in _VARIABLES)
        raise UserError(
            f"[mail] text_file {path}: {error}; the variables are {known}, and $$ is a $"
        ) from None


def send(settings: MailSettings, job: Job) -> JsonObject:
    """Send the mail of an operation; none where its owner has no address."""
    arguments = job.operation.arguments
    mailed, running = job.transaction(
        lambda session: (
            records.mailed_of(session, arguments["interval"]),
            operations.running_of(session, MAIL),
        )
    )
    if mailed is None or not mailed.email:
        return {}
    if running > _MAX_AT_ONCE:
        raise LaterError(2.0)
    message = compose(settings, mailed, arguments["state"])
    host, _, port = settings.server.partition(":")
    try:
        with smtplib.SMTP(host, int(port or 25), timeout=_SERVER_SECONDS) as server:
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        _fail(job, settings.server, *error.recipients[mailed.email])
    except smtplib.SMTPResponseException as error:
        _fail(job, settings.server, error.smtp_code, error.smtp_error)
    except (OSError, smtplib.SMTPException) as error:
        _fail(job, settings.server, 0, str(error))
    return {"email": mailed.email}


def compose(settings: MailSettings, mailed: Mailed, state: str) -> EmailMessage:
    """The mail about an interval that has come to this state. RefusedError for an address that is none."""
    details = mailed.reason or ""
    if state == RUNNING:
        details = f"Your cluster {mailed.cluster} answers: ssh root@{mailed.address}"
    message = EmailMessage()
    try:
        message["From"], message["To"] = settings.sender, mailed.email
        message["Subject"] = f"Reservation {mailed.reservation} of {mailed.site}: {state}"
    except ValueError:
        raise RefusedError(f"{mailed.email!r} is no address of a mail") from None
    text = _template(settings.text_file).substitute(
        reservation=mailed.reservation, site=mailed.site, vc=mailed.vc, state=state, details=details,
        begin=f"{mailed.begins_at:%Y-%m-%d %H:%M}", end=f"{mailed.ends_at:%Y-%m-%d %H:%M}",
    )  # fmt: skip
    message.set_content(text)
    return message


def _template(path: str) -> Template:
    return Template(Path(path).read_text("utf-8") if path else _TEXT)


def _fail(job: Job, server: str, status: int, text: bytes | str) -> None:
    """Try again later, unless the server has refused for good (RFC 5321: 5yz), or an hour is over."""
    reason = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if status < 500 and utc_now() < job.operation.created + _LATEST:
        raise LaterError(_AGAIN_SECONDS)
    error = RefusedError if status >= 500 else ToolError
    raise error(f"the mail server {server} did not take the mail: {reason}")
