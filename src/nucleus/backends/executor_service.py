"""The executor: a root service that runs the few commands of `rocks` which Nucleus needs, and no others.

So the process that talks to the network runs without root's rights. A line of JSON comes in, `{"arguments": […],
"seconds": 60}`, and one goes back, `{"status": 0, "bytes": 7, "err": "…"}` or `{"error": "…"}`. So many bytes of output
follow: those of a large site, as JSON within JSON, would keep the reader's other threads waiting for 20 ms.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import socketserver
import struct
import threading
from typing import TYPE_CHECKING

from nucleus.power_actions import STOP_ACTIONS
from rocks.core.errors import BusyError, RocksError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nucleus.backends.executor import Executor

LONGEST_REQUEST = 64 * 1024
LONGEST_SECONDS = 3900.0
"""More than a guest may take to shut down at the end of its computeset."""

AT_ONCE = 64
IMAGES = "/var/lib/rocks-nucleus/images"

_CONSOLE = ("open", "host", "console")
_SCREEN = ("report", "host", "vm", "screen")
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_FILE = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,159}"
_VC, _REQUEST = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}", r"request=nucleus-[0-9a-f]{16}"
_ALLOWED: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("list", "cluster"), (r"json=yes",)),
    (("list", "host", "vm"), (r"status=yes", r"showdisks=yes", r"json=yes")),
    (("list", "host", "vm"), (_NAME, r"status=yes", r"json=yes")),
    (("list", "host", "vm"), (_NAME, r"status=no", r"json=yes")),
    (("list", "host", "interface"), (r"json=yes",)),
    (("list", "host", "route"), (r"json=yes",)),
    (("list", "host", "storagemap"), (r"json=yes",)),
    (("list", "image"), (r"json=yes",)),
    (("set", "host", "vm", "cdrom"), (_NAME, rf"image={_FILE}|cdrom=none", r"json=yes")),
    (("set", "host", "vm"), (_NAME, rf"physnode={_NAME}", r"json=yes")),
    (("start", "host", "vm"), (_NAME, r"json=yes")),
    (("stop", "host", "vm"), (_NAME, rf"action=({'|'.join(STOP_ACTIONS)})", r"json=yes")),
    (("stop", "host", "vm"), (_NAME, r"action=shutdown", r"timeout=[0-9]{1,4}", r"json=yes")),
    (("reinstall", "host", "vm"), (_NAME, r"json=yes")),
    (("reinstall", "host", "vm"), (_NAME, rf"image={_FILE}", r"json=yes")),
    (("clone", "host", "vm"), (_NAME, _NAME, r"json=yes")),
    (("add", "image"), (_FILE, r"file=(?P<path>.*)", r"checksum=[0-9a-f]{64}", r"format=iso", r"json=yes")),
    (("remove", "image"), (_FILE, r"json=yes")),
    (("remove", "cluster"), (_NAME, r"json=yes")),
    (("remove", "host", "vm"), (_NAME, r"json=yes")),
    (("report", "host", "vm", "console"), (_NAME, r"lines=[0-9]{1,6}")),
    *(
        (("pragma", "boot"), (_VC, r"[0-9]{1,6}", r"key=(?P<path>.*)", *ent, *hosts, _REQUEST))
        for ent in ((), (r"add-iface=ent",))
        for hosts in ((), (rf"hosts={_NAME}(,{_NAME})*",))
    ),
    (("pragma", "list", "cluster"), (_REQUEST, r"json=yes")),
    (("pragma", "list", "repository"), (r"json=yes",)),
    (("pragma", "shutdown"), (_NAME,)),
    (("pragma", "clean"), (_NAME,)),
    (_SCREEN, (_NAME,)),
    (_CONSOLE, (_NAME, r"type=(vnc|serial)", r"stream=yes")),
)
"""Commands, and the form of each of their arguments, in their order: with none left out, `remove host vm` and two names
cannot be `remove host vm snapshot` and its arguments."""

_GIVEN = re.compile(r"[0-9]{1,12}\.(iso|pub)")


def is_allowed(arguments: Sequence[str], images: str) -> bool:
    """Whether it is one of the commands that Nucleus needs; `images` is the folder of images that are uploaded."""
    for command, forms in _ALLOWED:
        rest = arguments[len(command) :]
        if tuple(arguments[: len(command)]) != command or len(rest) != len(forms):
            continue
        found = [re.fullmatch(form, one) for form, one in zip(forms, rest, strict=True)]
        if all(found):
            paths = [one["path"] for one in found if one is not None and "path" in one.groupdict()]
            return all(_is_given(path, images) for path in paths)
    return False


def _is_given(path: str, folder: str) -> bool:
    """Whether it is a file to which the service gave its name, in the folder of the settings."""
    before, _, name = path.rpartition("/")
    return before == folder.rstrip("/") and _GIVEN.fullmatch(name) is not None


class _Handler(socketserver.StreamRequestHandler):
    timeout = 30
    server: ExecutorService

    def handle(self) -> None:
        if not self.server.may_ask(self.connection):
            self._answer({"error": "the executor does not know this user"})
            return
        try:
            request = json.loads(self.rfile.readline(LONGEST_REQUEST))
            arguments, is_stream = request["arguments"], bool(request.get("stream"))
            seconds = float(request.get("seconds", LONGEST_SECONDS))
            if not isinstance(arguments, list) or not all(isinstance(one, str) for one in arguments):
                raise TypeError
        except (ValueError, KeyError, TypeError, OSError, RecursionError):
            self._answer(
                {"error": "the executor got no request, which is a line of JSON with arguments and seconds"}
            )
            return
        if not is_allowed(arguments, self.server.images):
            self._answer({"error": f"the executor runs no `rocks {' '.join(arguments)[:200]}` for Nucleus"})
            return
        if is_stream != (tuple(arguments[:3]) == _CONSOLE or tuple(arguments[:4]) == _SCREEN):
            self._answer({"error": "only consoles and pictures of screens are streams"})
        elif is_stream:
            self._relay(arguments)
        else:
            with self.server.places:
                self._run(arguments, min(max(seconds, 1.0), LONGEST_SECONDS))

    def _run(self, arguments: Sequence[str], seconds: float) -> None:
        try:
            answer = self.server.executor.run(arguments, seconds)
            out = answer.out.encode()
            self._answer({"status": answer.status, "bytes": len(out), "err": answer.err}, out)
        except RocksError as error:
            self._answer({"error": str(error)})

    def _relay(self, arguments: Sequence[str]) -> None:
        """Have the connection be the console, until one of the two ends it."""
        try:
            stream = self.server.executor.open(arguments)
        except RocksError:
            return  # the connection ends without a byte
        self.connection.settimeout(None)
        back = threading.Thread(target=_copy, args=(stream.connection, self.connection), daemon=True)
        back.start()
        _copy(self.connection, stream.connection)
        back.join()
        stream.close()

    def _answer(self, answer: dict[str, object], out: bytes = b"") -> None:
        with contextlib.suppress(OSError):  # the asker may have ended
            self.wfile.write(json.dumps(answer).encode() + b"\n" + out)


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the end of either; then both know it."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


class ExecutorService(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves the socket at `path`; only root and the users with these numbers may ask."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, executor: Executor, path: Path, users: set[int], group: int | None = None, images: str = IMAGES
    ) -> None:
        self.executor = executor
        self.images = images
        self.places = threading.BoundedSemaphore(AT_ONCE)
        self._users = users | {0}
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as other:
            other.connect(str(path))
            raise BusyError(f"another executor serves {path}; end it first")
        new = path.with_name(f"{path.name}.{os.getpid()}")
        new.unlink(missing_ok=True)  # of one that was killed
        before = os.umask(0o177)
        try:
            super().__init__(str(new), _Handler)
        finally:
            os.umask(before)
        if group is not None:
            os.chown(new, -1, group)
            new.chmod(0o660)
        new.replace(path)  # once it is there, its group may ask, and it accepts connections

    def may_ask(self, connection: socket.socket) -> bool:
        """Whether the process at the other end is one of the users'."""
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return struct.unpack("3i", credentials)[1] in self._users
