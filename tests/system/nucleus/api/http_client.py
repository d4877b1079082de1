"""Requests to a real nginx at a socket of the test's own, and a real uvicorn behind it, in a thread of this process."""

import contextlib
import dataclasses
import gzip
import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlencode

from nucleus.api.access.throttles import Rate
from nucleus.api.app import server_of
from nucleus.api.nginx import Bounds, listening
from nucleus.api.recent_answers import RecentAnswer
from nucleus.configuration import Configuration, ListenSettings

SECONDS = 120
BOUNDS = Bounds(
    requests_a_second=1000,
    requests_at_once=10_000,
    requests_of_address_a_second=1000,
    requests_of_address_at_once=10_000,
)
"""Those of a site, but tests may ask often."""

OPERATORS_TERMS = re.compile(
    r"\bhost-\d|vm-container|\brocks |\.service\b|[ \"'`=]/(etc|export|run|tmp|var|work)/"
)
"""Host names, paths, commands and units of the site, which no answer to an owner has."""


class Answer:
    """A response that was read to its end."""

    def __init__(self, response: http.client.HTTPResponse, content: bytes) -> None:
        self.status_code = response.status
        self.headers = response.headers
        self.content = gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

    @property
    def text(self) -> str:
        return self.content.decode("utf-8")

    def json(self) -> Any:
        return json.loads(self.content)


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("site.example", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(str(self._path))


class Client:
    """Requests with somebody's token."""

    def __init__(self, path: Path, tokens: dict[str, str], application: Any) -> None:
        self.path = path
        self.tokens = tokens
        self.application = application

    def ask(
        self,
        who: str,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        params: Any = None,
        body: Any = None,
        **options: Any,
    ) -> Answer:
        """The response; `who` '' = nobody; `json` = what becomes the body."""
        sent = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        sent |= headers or {}
        if "json" in options:
            body = json.dumps(options["json"]).encode()
            sent.setdefault("Content-Type", "application/json")
        if params:
            path += f"?{urlencode(params)}"
        with contextlib.closing(Connection(self.path)) as connection:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = Answer(response, response.read())
        if who not in ("", "root") and "json" in answer.headers.get("Content-Type", ""):
            terms = [one[0] for one in OPERATORS_TERMS.finditer(answer.text)]
            own = [one for one in terms if one[1:] in unquote_plus(path)]
            assert terms == own, f"{method} {path} for {who}: {answer.text}"
        return answer

    @contextlib.contextmanager
    def connected(self, sent: bytes = b"") -> Iterator[socket.socket]:
        """A connection on which this was sent."""
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(SECONDS)
            raw.connect(str(self.path))
            raw.sendall(sent)
            yield raw

    def get(self, who: str, path: str, **options: Any) -> Answer:
        """GET."""
        return self.ask(who, "GET", path, **options)

    def forget_rates(self) -> None:
        """As if no request had come for a while."""
        for rate in ("change_rate", "request_rate", "unknown_rate"):
            setattr(self.application.state.service, rate, Rate(rate, 1000, 1000))
        self.application.state.service.metrics_text = RecentAnswer(5.0)
        self.application.state.service.readiness = RecentAnswer(1.0)


@contextlib.contextmanager
def serving(
    application: Any, configuration: Configuration, folder: Path, tokens: dict[str, str], bounds: Bounds
) -> Iterator[Client]:
    """Serve the application behind nginx, at a socket of the folder, until the end of the block."""
    path = folder / "http"
    listen = ListenSettings(socket=str(path))
    with answering(application, dataclasses.replace(configuration, listen=listen), bounds):
        yield Client(path, tokens, application)


@contextlib.contextmanager
def answering(application: Any, configuration: Configuration, bounds: Bounds = BOUNDS) -> Iterator[None]:
    """Serve the application behind nginx, where the settings say, until the end of the block."""
    with listening(configuration, bounds, application.state.service.has_ended) as listener:
        server = server_of(application)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(SECONDS)
