"""Sends an image of the library to a host, through the standard input of its agent: by SSH, or started directly."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from rocks.clock import Deadline
from rocks.errors import HostError
from rocks.hosts.local import PipeStream
from rocks.hosts.openssh import ssh_arguments
from rocks.hosts.settings import FleetSettings, HostAddress
from rocks.image_blocks import send_content
from rocks.wire.agent import BaseImage

STALLED_SECONDS = 120.0
"""A host that takes nothing for this long has failed."""

STORE_SECONDS = 900.0
"""The time in which the host has the whole image on its disk, after it has taken it."""

_PIECE_BYTES = 256 * 1024


def send_image(
    host: HostAddress,
    settings: FleetSettings,
    base: BaseImage,
    descriptor: int,
    watch: Callable[[int], None] = lambda sent: None,
) -> None:
    """Have the host store the open image as its copy `base`; `watch` gets the bytes that were sent.

    HostError when the host does not take it, or says why it cannot store it.
    """
    arguments = [settings.agent_program, "receive-image", base.directory, base.digest, str(base.size_bytes)]
    if not host.is_local:
        arguments = [*ssh_arguments(host, settings), f"exec {shlex.join(arguments)}"]
    stream = PipeStream(arguments)
    waiting, sent = bytearray(), 0

    def send(data: bytes, at_least: int = _PIECE_BYTES) -> None:
        nonlocal sent
        waiting.extend(data)
        if len(waiting) >= at_least:
            stream.send(bytes(waiting), Deadline(STALLED_SECONDS))
            sent += len(waiting)
            waiting.clear()
            watch(sent)

    try:
        send_content(descriptor, send)
        send(b"", 1)
    except TimeoutError:
        stream.end()
        raise HostError(f"host {host.name} took nothing of the image for {STALLED_SECONDS:g} s") from None
    except BrokenPipeError:
        pass  # the agent has ended, and says why; or it has a copy since
    except BaseException:
        stream.end()
        raise
    stream.close()
    ended = stream.collect(Deadline(STORE_SECONDS))
    if ended.exit_status != 0:
        printed = ended.error_output.decode("utf-8", "replace").strip().splitlines()
        reason = printed[-1] if printed else f"its agent ended with {ended.exit_status}"
        if ended.exit_status is None:
            reason = f"it was not on its disk after {STORE_SECONDS:g} s"
        raise HostError(f"host {host.name} has not stored the image: {reason}")
