"""Starts an allocated cluster by the site's driver, and waits as its vc-in.xml states."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from rocks.core.clock import monotonic_seconds, wait_seconds
from rocks.core.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.commands import Command

    from .drivers import Allocated, Driver

_SSH_PORT = 22
_SSH_SECONDS = 1800
_PAUSE_SECONDS = 1.0


def start(
    command: Command,
    driver: Driver,
    cluster: Allocated,
    progress: Callable[[str], None],
    is_waited_for: bool,
) -> None:
    """Start the frontend, wait as vc-in.xml states, start the computes. HostError for a frontend without SSH.

    A start that fails has printed why, and sets the exit status of the command; nothing is waited for then.
    """
    wait = cluster.described.wait
    if cluster.computes and wait is not None:
        driver.start(cluster, with_computes=False)
        if command.exit_status:
            return
        if wait.kind == "ssh":
            remedy = f"the computes are not started: {driver.continuation} {cluster.name}"
            wait_for_ssh(command, cluster.address, wait.seconds, progress, remedy)
        elif not command.is_dry:
            progress(f"the computes start {wait.seconds} seconds after {cluster.name}")
            wait_seconds(wait.seconds)
    driver.start(cluster, with_computes=True)
    if is_waited_for and not command.exit_status:
        remedy = "the cluster runs: rocks pragma list cluster"
        wait_for_ssh(command, cluster.address, _SSH_SECONDS, progress, remedy)


def wait_for_ssh(
    command: Command, address: str, seconds: int, progress: Callable[[str], None], remedy: str
) -> None:
    """Wait until a server of SSH answers with its banner. HostError, with the remedy, when none has within the time."""
    if command.is_dry:
        return
    progress(f"waiting for SSH at {address}")
    end = monotonic_seconds() + seconds
    while not _answers(address):
        if monotonic_seconds() >= end:
            raise HostError(f"{address} does not answer by SSH after {seconds} seconds; {remedy}")
        wait_seconds(_PAUSE_SECONDS)


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, _SSH_PORT), _PAUSE_SECONDS) as connection:
            connection.settimeout(5.0)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
