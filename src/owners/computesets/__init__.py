"""Computesets: nodes that owners start together for a time, on hosts of a batch system or of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.parts import Command, Part

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from fastapi import APIRouter

    from nucleus.api.problems import Problem
    from nucleus.api.service import Change
    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Pool, Session
    from nucleus.operations.job import Job
    from nucleus.parts import Alarm, Polled
    from nucleus.records import Cluster, JsonObject, NewEvent, Node


def _routers() -> Sequence[APIRouter]:
    from owners.computesets import rest

    return [rest.router]


def _unknown(number: str) -> Problem:
    from owners.computesets import rest

    return rest.unknown_set(number)


def _verbs() -> Mapping[str, Callable[[Job], JsonObject]]:
    from owners.computesets import work

    return work.VERBS


def _loop(configuration: Configuration, pool: Pool) -> Callable[[threading.Event], None]:
    from nucleus.mirror.pool import Guard
    from owners.computesets.alarms import check_kind
    from owners.computesets.controller import ComputesetController, batch_of

    with pool.transaction() as session:
        check_kind(session, configuration.batch.kind)
    guard = Guard(configuration.database, "computesets")
    return ComputesetController(configuration, guard, batch_of(configuration, pool)).run


def _gauges(session: Session) -> Mapping[str, Mapping[tuple[str, ...], float]]:
    from nucleus.mirror.status import count_by_state

    return {"computesets": count_by_state(session, "computeset")}


def _alarms(session: Session) -> Sequence[Alarm]:
    from owners.computesets import alarms

    return alarms.alarms(session)


def _may_act(change: Change, action: str, cluster: Cluster, nodes: Sequence[Node]) -> None:
    from owners.computesets import rest

    rest.may_act(change, action, cluster, nodes)


def _on_poll(*_: object) -> Callable[[Session, Polled], Sequence[NewEvent]]:
    return _store_hosts


def _store_hosts(session: Session, polled: Polled) -> Sequence[NewEvent]:
    from owners.computesets.batch import LISTED, record_hosts

    if polled.hosts is not None:
        record_hosts(session, LISTED, polled.hosts)
    return ()


_COMMANDS = "owners.computesets.commands"

PART = Part(
    routers=_routers,
    unknown={"computeset": _unknown},
    verbs=_verbs,
    loop=_loop,
    gauges=_gauges,
    alarms=_alarms,
    may_act=_may_act,
    on_poll=_on_poll,
    commands={
        "allocation": Command("add allocations, and let clusters charge them", _COMMANDS),
        "check": Command("name what the configuration of Slurm lacks for computesets", _COMMANDS),
        "host": Command("add and remove hosts for computesets, where the site has no Slurm", _COMMANDS),
        "usage": Command(
            "print what computesets were charged, by allocation, project, user and cluster", _COMMANDS
        ),
    },
)
