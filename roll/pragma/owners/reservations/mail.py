"""Mails to owners about their reservations: each is a stored operation."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from nucleus.mirror import operations
from nucleus.operations import mail
from nucleus.records import NewOperation
from owners.reservations import records
from owners.reservations.records import FAILED, RUNNING, STOPPED, Mailed
from rocks.core.errors import UserError

if TYPE_CHECKING:
    from email.message import EmailMessage

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
    arguments = job.operation.arguments
    mailed = job.transaction(lambda session: records.mailed_of(session, arguments["interval"]))
    if mailed is None or not mailed.email:
        return {}
    mail.send(job, compose(job.tools.mail, mailed, arguments["state"]))
    return {"email": mailed.email}


def compose(settings: MailSettings, mailed: Mailed, state: str) -> EmailMessage:
    """The mail about an interval that has come to this state. RefusedError for an address that is none."""
    details = mailed.reason or ""
    if state == RUNNING:
        details = f"Your cluster {mailed.cluster} answers: ssh root@{mailed.address}"
    text = _template(settings.text_file).substitute(
        reservation=mailed.reservation, site=mailed.site, vc=mailed.vc, state=state, details=details,
        begin=f"{mailed.begins_at:%Y-%m-%d %H:%M}", end=f"{mailed.ends_at:%Y-%m-%d %H:%M}",
    )  # fmt: skip
    subject = f"Reservation {mailed.reservation} of {mailed.site}: {state}"
    return mail.written(settings.sender, mailed.email, subject, text)


def _template(path: str) -> Template:
    try:
        return Template(Path(path).read_text("utf-8") if path else _TEXT)
    except OSError as error:
        raise UserError(f"cannot read [mail] text_file {path}: {error.strerror}") from None
