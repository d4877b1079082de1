"""Reservations: sites that owners reserve for clusters of PRAGMA, and what runs there while they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.parts import Alarm, Command, Part

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from fastapi import APIRouter

    from nucleus.api.problems import Problem
    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Pool, Session
    from nucleus.operations.job import Job
    from nucleus.records import JsonObject


def _routers() -> Sequence[APIRouter]:
    from owners.reservations import rest

    return [rest.router, rest.page_router]


def _unknown(number: str) -> Problem:
    from owners.reservations import rest

    return rest.unknown_reservation(number)


def _verbs() -> Mapping[str, Callable[[Job], JsonObject]]:
    from owners.reservations import mail, work

    return {work.BOOT: work.boot, work.STOP: work.stop, mail.MAIL: mail.send}


def _loop(configuration: Configuration, _: Pool) -> Callable[[threading.Event], None]:
    from nucleus.mirror.pool import Guard
    from owners.reservations import mail
    from owners.reservations.controller import Controller

    mail.check_template(configuration.mail.text_file)
    return Controller(configuration, Guard(configuration.database, "reservations")).run


def _alarms(session: Session) -> Sequence[Alarm]:
    from owners.reservations import records

    found = records.alarms(session)
    return [Alarm("reservation", len(found), lambda _: found)]


PART = Part(
    routers=_routers,
    unknown={"reservation": _unknown},
    verbs=_verbs,
    loop=_loop,
    migrations="owners.reservations",
    alarms=_alarms,
    commands={
        "site": Command("let owners reserve sites for clusters of PRAGMA", "owners.reservations.commands")
    },
)
