"""A web server for downloads: ranges, validators and conditions, and the faults of real ones."""

from __future__ import annotations

import contextlib
import http.server
import threading
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Served:
    """A file of the server. Faults: `stop_after` bytes of a body it is cut off, or (`stalls`) nothing more comes."""

    content: bytes
    etag: str = ""
    modified: str = ""
    stop_after: int | None = None
    stalls: bool = False
    has_ranges: bool = True
    is_chunked: bool = False
    lies: bool = False
    """A range begins somewhere else than was asked for."""


@dataclass
class RangeServer:
    """`files` are by path, `redirects` lead elsewhere, `raw` are whole answers; `drips` are what begins an answer, and
    what then comes again and again.

    `requests` are (method, path, headers) of all requests.
    """

    files: dict[str, Served] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    raw: dict[str, bytes] = field(default_factory=dict)
    drips: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def __enter__(self) -> RangeServer:
        self._ends = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, self._ends))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._server.shutdown()
        self._server.server_close()

    def change(self, path: str, **changes: object) -> None:
        self.files[path] = replace(self.files[path], **changes)  # type: ignore[arg-type]

    def paths(self) -> list[str]:
        """The paths that were asked for, in their order."""
        return [path for _, path, _ in self.requests]


def _handler(server: RangeServer, ends: threading.Event) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self) -> None:
            server.requests.append((self.command, self.path, dict(self.headers)))
            self.close_connection = True
            if self.path in server.redirects:
                return self._head(302, {"Location": server.redirects[self.path], "Content-Length": "0"})
            if self.path in server.raw:
                self.wfile.write(server.raw[self.path])
                return None
            if self.path in server.drips:
                return self._drip(*server.drips[self.path])
            served = server.files.get(self.path)
            status = server.statuses.get(self.path, 200 if served else 404)
            if served is None or status != 200:
                return self._head(status, {"Content-Length": "0"})
            headers = {"ETag": served.etag, "Last-Modified": served.modified}
            headers = {name: value for name, value in headers.items() if value}
            if self._is_known(served):
                return self._head(304, headers)
            begin = self._begin(served)
            if begin >= len(served.content) > 0:
                return self._head(416, {**headers, "Content-Length": "0"})
            body = served.content[begin:]
            if begin:
                end = len(served.content)
                headers["Content-Range"] = f"bytes {begin - served.lies}-{end - 1}/{end}"
            headers |= {"Connection": "close"} if served.is_chunked else {"Content-Length": str(len(body))}
            self._head(206 if begin else 200, headers)
            if self.command == "GET":
                self.wfile.write(body[: served.stop_after])
                if served.stalls:
                    self.wfile.flush()
                    ends.wait()
            return None

        def _drip(self, begin: bytes, more: bytes) -> None:
            with contextlib.suppress(OSError):
                self.wfile.write(begin)
                while not ends.wait(0.02):
                    self.wfile.write(more)

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def _is_known(self, served: Served) -> bool:
            known = self.headers.get("If-None-Match"), self.headers.get("If-Modified-Since")
            return bool(known[0] and known[0] == served.etag or known[1] and known[1] == served.modified)

        def _begin(self, served: Served) -> int:
            asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
            if (
                not asked
                or not served.has_ranges
                or condition not in (served.etag or None, served.modified or None)
            ):
                return 0
            return int(asked.removeprefix("bytes=").removesuffix("-"))

        def log_message(self, *_: object) -> None:
            pass

    return Handler
