"""Mails to owners about their reservations, each a stored operation, so that no mail server delays the controller."""

from __future__ import annotations

import sys
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from nucleus.mirror import operations
from nucleus.operations.causes import RefusedError
from nucleus.operations.job import LaterError
from nucleus.records import NewOperation
from owners.reservations import records, smtp
from owners.reservations.records import FAILED, RUNNING, STOPPED, Mailed
from rocks.core.clock import utc_now
from rocks.core.errors import ToolError, UserError
from rocks.core.process import run

if TYPE_CHECKING:
    from nucleus.configuration import MailSettings
    from nucleus.mirror.pool import Session
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

_MAIL_SECONDS, _MAX_BYTES = 120.0, 64 * 1024
"""For one mail, and for what the program that sends it may print."""

_MAX_AT_ONCE = 2
"""Mails that are sent at the same time: a server that hangs must leave the workers to others."""

_AGAIN_SECONDS, _LATEST = 60.0, timedelta(hours=1)
"""How often, and for how long, a server is asked that is away or wants to be asked again later."""


def check_template(path: str) -> None:
    """UserError unless the file is a text that can be sent. '' is the text that comes with Nucleus."""
    try:
        _template(path).substitute(dict.fromkeys(_VARIABLES, ""))
    except (KeyError, ValueError) as error:
        known = ", ".join(f"${name}" for name in _VARIABLES)
        raise UserError(
            f"[mail] text_file {path}: {error}; the variables are {known}, and $$ is a $"
        ) from None


def store(session: Session, settings: MailSettings, number: int, version: int, state: str) -> None:
    """Store the mail of an interval that comes to this state from the version, if there is one."""
    if settings.server and state in STATES:
        new = NewOperation(
            MAIL, "nucleus", arguments={"interval": number, "state": state},
            unique_key=f"mail/{number}/{version}",
        )  # fmt: skip
        operations.insert_operation(session, new)


def send(job: Job) -> JsonObject:
    """Send the mail of an operation; none where its owner has no address."""
    settings, arguments = job.tools.mail, job.operation.arguments
    mailed, running = job.transaction(
        lambda session: (
            records.mailed_of(session, arguments["interval"]),
            operations.running_of(session, MAIL),
        )
    )
    if mailed is None or not mailed.email:
        return {}
    if running > _MAX_AT_ONCE:
        raise LaterError(_AGAIN_SECONDS)
    _send(settings.server, compose(settings, mailed, arguments["state"]), job)
    return {"email": mailed.email}


def _send(server: str, message: EmailMessage, job: Job) -> None:
    """Have the program send it; LaterError where it is to be tried again."""
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


def compose(settings: MailSettings, mailed: Mailed, state: str) -> EmailMessage:
    """The mail about an interval that has come to this state. RefusedError for an address that is none."""
    details = mailed.reason or ""
    if state == RUNNING:
        details = f"Your cluster {mailed.cluster} answers: ssh root@{mailed.address}"
    message = EmailMessage()
    try:
        message["From"], message["To"] = settings.sender, mailed.email
        message["Subject"] = f"Reservation {mailed.reservation} of {mailed.site}: {state}"
        is_one = len(message["To"].addresses) == 1 and "@" in message["To"].addresses[0].addr_spec
    except ValueError:
        is_one = False
    if not is_one:
        raise RefusedError(f"{mailed.email!r} is no address of a mail")
    text = _template(settings.text_file).substitute(
        reservation=mailed.reservation, site=mailed.site, vc=mailed.vc, state=state, details=details,
        begin=f"{mailed.begins_at:%Y-%m-%d %H:%M}", end=f"{mailed.ends_at:%Y-%m-%d %H:%M}",
    )  # fmt: skip
    message.set_content(text)
    return message


def _template(path: str) -> Template:
    try:
        return Template(Path(path).read_text("utf-8") if path else _TEXT)
    except OSError as error:
        raise UserError(f"cannot read [mail] text_file {path}: {error.strerror}") from None
