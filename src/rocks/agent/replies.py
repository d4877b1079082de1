"""From a request line to a reply line; errors become replies too."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Callable, Optional, Tuple

from rocks.agent.calls import answer
from rocks.fleet.wire.calls import reply_deadline_seconds
from rocks.fleet.wire.envelope import read_request, write_error, write_reply
from rocks.fleet.wire.facts import FactsRequest
from rocks.fleet.wire.request import Request
from rocks.machine.host.host import Host
from rocks.machine.host.operations import error_of


def reply_to(
    host: Host, line: bytes, announce: Callable[[float], Any] = lambda seconds: None
) -> Tuple[bytes, Optional[Request[Any]]]:
    """The reply line, and the request of the line; None for an invalid request.

    `announce` receives, before anything is done, how many seconds the frontend will wait.
    """
    request = None
    try:
        request = read_request(line)
        announce(reply_deadline_seconds(request))
        return write_reply(answer(host, request)), request
    except Exception as error:
        return write_error(error_of(error)), request


def prefetch_domains(host: Host) -> None:
    """Connect to libvirt before the first request arrives: nearly every request needs it."""
    with contextlib.suppress(Exception):  # the request that needs it reports the error
        host.domains()


def prefetch(host: Host, request: Optional[Request[Any]]) -> None:
    """Load the netlink library for the next request while the frontend works on this reply.

    A request for facts with disks or fences precedes the start or stop of a guest, which needs network devices.
    """

    def load() -> None:
        with contextlib.suppress(Exception):  # as above
            host.links()

    if isinstance(request, FactsRequest) and (request.disks or request.fences):
        threading.Thread(target=load, daemon=True).start()
