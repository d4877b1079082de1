"""A cloud on this machine: moto's server of EC2, by HTTP. A request can be cut, refused, or wait for its answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from moto.ec2.models import ec2_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ACCOUNT, REGION = "123456789012", "us-east-1"


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None:
        """No line for each request."""


class CloudServer:
    """EC2 with images of these names. `cut` requests from now on, one has no answer; 0 for none."""

    def __init__(self, *images: str) -> None:
        self.cut = 0
        self.refusals: dict[str, list[tuple[str, str, str]]] = {}
        """Action → (status, code, message) of the next answers in moto's place, as EC2 documents its errors."""
        self.held: dict[str, threading.Event] = {}
        """Action → what its answer waits for, when it is done."""
        self.actions: list[str] = []
        """What was asked of EC2, in its order."""
        self._application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        for name in images:
            self.cloud.register_image(name=name)

    @property
    def cloud(self) -> Any:
        """What moto has in memory."""
        return ec2_backends[ACCOUNT][REGION]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def machines(self) -> dict[str, Any]:
        """Name → instance, of those that are not terminated."""
        found = [one for group in self.cloud.all_reservations() for one in group.instances]
        return {
            next(tag["value"] for tag in one.get_tags() if tag["key"] == "Name"): one
            for one in found
            if one.state != "terminated"
        }

    def __enter__(self) -> CloudServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.cloud.reset()

    def _answer(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Moto's answer. EC2's namespace of answers ends with a slash, and its errors have no `Type`, unlike moto's."""
        held: list[Any] = []
        self.cut -= 1
        self.actions += parse_qs(environment["QUERY_STRING"]).get("Action", [])
        action = self.actions[-1] if self.actions else ""
        if self.refusals.get(action):
            status, code, message = self.refusals[action].pop(0)
            start(status, [("Content-Type", "text/xml")])
            error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            return [f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>".encode()]
        text = b"".join(self._application(environment, lambda *given: held.append(given)))
        if not self.cut:
            environment["werkzeug.socket"].shutdown(socket.SHUT_RDWR)  # done, without an answer
        if action in self.held:
            self.held[action].wait(60)
        status, headers = held[0][:2]
        start(status, [header for header in headers if header[0].lower() != "content-length"])
        text = text.replace(b"<Type>Sender</Type>", b"")
        return [text.replace(b'/doc/2016-11-15"', b'/doc/2016-11-15/"')]
