"""A request line in, a reply line out; whatever goes wrong becomes a reply too."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Callable, Optional, Tuple

from rocks.agent.calls import answer
from rocks.agent.host import Host
from rocks.agent.operations import error_of
from rocks.wire.agent import reply_deadline_seconds
from rocks.wire.envelope import read_request, write_error, write_reply
from rocks.wire.facts import FactsRequest
from rocks.wire.request import Request


def reply_to(
    host: Host, line: bytes, announce: Callable[[float], Any] = lambda seconds: None
) -> Tuple[bytes, Optional[Request[Any]]]:
    """The reply line and the request that was on the line, None when there was no sound one.

    `announce` is told how many seconds the asker will wait, before anything is done.
    """
    request = None
    try:
        request = read_request(line)
        announce(reply_deadline_seconds(request))
        return write_reply(answer(host, request)), request
    except Exception as error:
        return write_error(error_of(error)), request


def prefetch_domains(host: Host) -> None:
    """Connect to libvirt while the asker is still at work: nearly every request wants it."""
    with contextlib.suppress(Exception):  # it will fail again, and be told, when it is needed
        host.domains()


def prefetch(host: Host, request: Optional[Request[Any]]) -> None:
    """Load what the next request is likely to want while the asker still thinks about this one's reply.

    Who asks for disks or puts up fences is about to start or stop a guest, and so to ask for network devices.
    """

    def load() -> None:
        with contextlib.suppress(Exception):  # as above
            host.links()

    if isinstance(request, FactsRequest) and (request.disks or request.fences):
        threading.Thread(target=load, daemon=True).start()
