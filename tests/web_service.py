"""A web service with a certificate, as an installing host uses it: files of a folder, and what is posted."""

import http.server
import ssl
import threading
from pathlib import Path

from rocks.core.process import run_checked


class WebService:
    """A web service on the loopback device for a folder. `posted` are the bodies that were posted to it."""

    def __init__(self, folder: Path, identity: tuple[Path, Path] | None, port: int = 0) -> None:
        """`identity` are the files of certificate and key for HTTPS; None is plain HTTP."""
        self.posted: list[str] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _handler(folder, self.posted))
        if identity is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*identity)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(folder: Path, posted: list[str]) -> type[http.server.SimpleHTTPRequestHandler]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def make_certificate(folder: Path, name: str, *addresses: str) -> tuple[Path, Path]:
    """Files of a certificate for the IPv4 addresses that signs itself, and of its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    names = ",".join(f"IP:{address}" for address in addresses)
    run_checked(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        + ["-subj", f"/CN={name}", "-addext", f"subjectAltName={names}"]
        + ["-keyout", str(key), "-out", str(certificate), "-days", "2"],
        deadline_seconds=60,
    )
    return certificate, key
