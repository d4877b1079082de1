"""Starts an allocated cluster by the site's driver, and waits as its vc-in.xml states."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from rocks.core.clock import monotonic_seconds, wait_seconds
from rocks.core.errors import HostError, StateError, UserError

from .drivers import OFF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rocks.commands import Command

    from .drivers import Allocated, Driver

_SSH_PORT = 22
_SSH_SECONDS = 1800
_PAUSE_SECONDS, _LOOK_SECONDS = 1.0, 10.0  # between two looks whether the cluster is still there


def start(
    command: Command,
    driver: Driver,
    cluster: Allocated,
    progress: Callable[[str], None],
    is_waited_for: bool,
) -> None:
    """Start the frontend, wait as vc-in.xml states, start the computes. HostError for a frontend without SSH.

    A start that fails has printed why, and sets the exit status of the command; nothing is waited for then. StateError
    when the cluster is removed meanwhile: who waits has its name locked, and so its address.
    """
    wait = cluster.described.wait
    if cluster.computes and wait is not None:
        driver.start(cluster, with_computes=False)
        if command.exit_status:
            return
        if wait.kind == "ssh":
            remedy = f"the computes are not started: {driver.continuation} {cluster.name}"
            _wait_for_ssh(command, driver, cluster, wait.seconds, progress, remedy)
        elif not command.is_dry:
            progress(f"the computes start {wait.seconds} seconds after {cluster.name}")
            for _ in _seconds_of(command, driver, cluster.name, wait.seconds):
                pass
            if any(one.state in OFF for one in driver.status([cluster.name]) if not one.compute):
                raise StateError(
                    f"{cluster.name} was switched off while its computes waited; {driver.continuation} {cluster.name}"
                )
    driver.start(cluster, with_computes=True)
    if is_waited_for and not command.exit_status:
        remedy = "the cluster runs: rocks pragma list cluster"
        _wait_for_ssh(command, driver, cluster, _SSH_SECONDS, progress, remedy)


def _wait_for_ssh(
    command: Command,
    driver: Driver,
    cluster: Allocated,
    seconds: int,
    progress: Callable[[str], None],
    remedy: str,
) -> None:
    """Wait until a server of SSH answers with its banner. HostError, with the remedy, when none has within the time."""
    if command.is_dry:
        return
    progress(f"waiting for SSH at {cluster.address}")
    for _ in _seconds_of(command, driver, cluster.name, seconds):
        if _answers(cluster.address):
            return
    raise HostError(f"{cluster.address} does not answer by SSH after {seconds} seconds; {remedy}")


def _seconds_of(command: Command, driver: Driver, name: str, seconds: int) -> Iterator[None]:
    """At once, and each second until so many have passed. StateError when the cluster is gone."""
    now = monotonic_seconds()
    end, next_look = now + seconds, now + _LOOK_SECONDS
    while True:
        yield
        if (now := monotonic_seconds()) >= end:
            return
        if now >= next_look:
            next_look = now + _LOOK_SECONDS
            try:
                driver.check_own(name, "stop")
            except (UserError, StateError):
                raise StateError(f"the cluster {name} was removed while its boot waited for it") from None
        command.db.end_reading()
        wait_seconds(min(_PAUSE_SECONDS, end - now))


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, _SSH_PORT), _PAUSE_SECONDS) as connection:
            connection.settimeout(5.0)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
