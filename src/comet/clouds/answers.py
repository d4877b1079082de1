"""Answers of clouds have bounds, which Libcloud and requests do not set.

A cloud, or a proxy before it, may answer without an end, or send the request on to another server: a sign-in has the
secret in it. Imported with Libcloud, since requests takes long to import.
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus, urljoin, urlsplit

from comet.client.configuration import THIS_MACHINE

LONGEST_SECONDS = 300.0
"""Of one call, which may be several requests. Their timeout is that of silence alone."""
LARGEST_BYTES = 64 << 20
_PIECE_BYTES = 64 << 10


def bound(connection: Any) -> None:
    """Give Libcloud's class of connections sessions with bounds."""
    import requests
    from requests.adapters import HTTPAdapter

    class Bounded(HTTPAdapter):
        def build_response(self, req: Any, resp: Any) -> Any:
            """Read the answer to its end. OSError where it is too large."""
            answer = super().build_response(req, resp)
            body = bytearray()
            for piece in answer.iter_content(_PIECE_BYTES):
                body += piece
                if len(body) > LARGEST_BYTES:
                    answer.close()
                    raise OSError(f"its answer has more than {LARGEST_BYTES} bytes")
            answer._content = bytes(body)
            return answer

    class Session(requests.Session):
        def __init__(self) -> None:
            super().__init__()
            for scheme in ("https://", "http://"):
                self.mount(scheme, Bounded())

        def send(self, request: Any, **options: Any) -> Any:
            """OSError for an address, such as one of OpenStack's catalog, to which a token would go unencrypted."""
            place = urlsplit(request.url)
            if place.scheme == "http" and place.hostname not in THIS_MACHINE:
                raise OSError(f"it names http://{place.netloc}, where a token would be sent unencrypted")
            return super().send(request, **options)

        def get_redirect_target(self, resp: Any) -> Any:
            """Where an answer leads. OSError for another server."""
            place = super().get_redirect_target(resp)
            if place and urlsplit(urljoin(resp.url, place))[:2] != urlsplit(resp.url)[:2]:
                raise OSError(f"it sends the request on to {place}, where nothing is sent")
            return place

    def begin(self: Any) -> None:
        self.session = Session()

    connection.__init__ = begin


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """A block that ends after `LONGEST_SECONDS`, by a TimeoutError."""

    def end(*_: object) -> None:
        raise TimeoutError(f"its answer has not ended after {LONGEST_SECONDS:g} seconds")

    former = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def without(secret: str, text: str) -> str:
    """The text without the secret, also where JSON or an address spells it, and without any backslash. Pure.

    JSON in JSON has more backslashes, of which the number is not known.
    """
    text = text.replace("\\", "")
    forms = (secret, *(json.dumps(secret, ensure_ascii=it)[1:-1] for it in (True, False)))
    for form in (*forms, quote(secret, safe=""), quote_plus(secret)):
        text = text.replace(form.replace("\\", ""), "…")
    return text
