"""From a request line to a reply line by the handlers of the calls, a row for each of `fleet.wire.calls.CALLS`."""

from __future__ import annotations

from typing import Any, Callable, Dict

from rocks.fleet.wire.calls import call_of, read_request, reply_deadline_seconds, write_error, write_reply
from rocks.fleet.wire.codec import Request
from rocks.machine.host.consoles import forget_machines, read_console, read_console_log, read_screen
from rocks.machine.host.facts import read_facts
from rocks.machine.host.guest_network import read_adapters, read_network, sync_links
from rocks.machine.host.guest_partitions import read_infiniband
from rocks.machine.host.host import Host
from rocks.machine.host.images import give_image, read_images, remove_image
from rocks.machine.host.libvirt.accelerator import probe_accelerator
from rocks.machine.host.operations import error_of, perform
from rocks.machine.host.start import adapt_documents


def answer(host: Host, request: Request[Any]) -> Any:
    """The reply to a request. RocksError when the request fails."""
    return HANDLERS[call_of(request).name](host, request)


HANDLERS: Dict[str, Callable[[Host, Any], Any]] = {
    "facts": read_facts,
    "perform": perform,
    "console": read_console,
    "screen": read_screen,
    "console_log": read_console_log,
    "forget_machines": forget_machines,
    "probe": lambda host, request: probe_accelerator(host.state_folder),
    "documents": adapt_documents,
    "infiniband": read_infiniband,
    "adapters": read_adapters,
    "network": read_network,
    "sync_links": sync_links,
    "images": read_images,
    "give_image": give_image,
    "remove_image": remove_image,
}
"""Name of a call → its handler."""


def reply_to(host: Host, line: bytes, announce: Callable[[float], Any] = lambda seconds: None) -> bytes:
    """The reply line. `announce` receives, before anything is done, how many seconds the frontend will wait."""
    try:
        request = read_request(line)
        announce(reply_deadline_seconds(request))
        return write_reply(answer(host, request))
    except Exception as error:
        return write_error(error_of(error))
