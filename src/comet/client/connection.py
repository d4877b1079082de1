"""One HTTP connection to Nucleus: TLS, deadlines, limits, and answers that become documents or errors.

A server is not trusted: a redirect is not followed (it would carry the token elsewhere), a body has a limit, a request
has a deadline as a whole, and only JSON becomes a document.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import math
import re
import secrets
import socket
import string
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any, Callable, NamedTuple, Optional, Union
from urllib.parse import quote, urlencode, urlsplit

from comet.client.configuration import Endpoint, password_of
from comet.client.errors import (
    NO_NUCLEUS,
    AuthenticationError,
    CometError,
    RefusedError,
    UnreachableError,
    UsageError,
    error_of_answer,
)

BROKEN = (
    http.client.RemoteDisconnected,
    http.client.IncompleteRead,
    ConnectionResetError,
    BrokenPipeError,
)
"""What a connection raises that the server ends before the end of its answer."""

_OLD_TOKEN = re.compile("[0-9a-f]{40}")
"""A token of the published Nucleus (Django REST framework), which knows the scheme `Token` only."""

LARGEST_BODY = 256 * 1024 * 1024
_BUSY_SECONDS = 60
_PASSING = (409, 429, 503)
"""Refusals that pass, where the server states when."""

_LONGEST_PAUSE_SECONDS = 20
"""A server that asks for a longer pause is not waited for: wrong credentials are made to wait a minute."""

_LARGEST_ERROR = 64 * 1024

_SILENCE_SECONDS = 5
"""After so long without an answer somebody at a terminal reads that it is waited for."""

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""How versions of OpenSSL call an answer that is plain HTTP."""


class Answer(NamedTuple):
    """An answer below 400; `body` is empty for 204 and 304."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Connection:
    """Requests to one endpoint over a connection that stays open between them; not for several threads at once."""

    def __init__(self, endpoint: Endpoint, timeout: float = 30) -> None:
        parts = urlsplit(endpoint.url)
        self.endpoint, self.timeout = endpoint, timeout
        self._secure = parts.scheme == "https"
        self._host, self._port, self._base = parts.hostname or "", parts.port, parts.path
        self._open: Optional[http.client.HTTPConnection] = None
        self._is_sent = False
        self.passwords: dict[Endpoint, str] = {}
        """Endpoint → the header with its password, which was asked for; `comet shell` has one for all its lines."""
        self.report: Callable[[str], None] = lambda line: None
        self.report_silence: Optional[Callable[[str], None]] = None
        """Gets a line, once, when the server has been silent for some seconds."""
        self.ask_until = math.inf
        """Moment of the monotonic clock at which a busy server is asked again no more."""
        self._date = ""

    def now(self) -> float:
        """Seconds since 1970 by the server's clock when it last answered; this machine's where it stated none."""
        moment = _moment(self._date)
        return moment.timestamp() if moment else time.time()

    def path(self, *segments: object, query: Iterable[tuple[str, str]] = ()) -> str:
        """`/nucleus/v1/cluster/vc1` of the words below the version; each is quoted, also slashes and dots."""
        pairs = list(query)
        try:
            path = "/".join([self._base, self.endpoint.api_version, *(_quoted(str(it)) for it in segments)])
            return f"{path}?{urlencode(pairs)}" if pairs else path
        except UnicodeEncodeError as error:
            raise UsageError(f"{ascii(error.object)} is not UTF-8 text") from None

    def outer_path(self, *segments: str) -> str:
        """A path beside the versions: `/nucleus/rest-auth/login/`."""
        return "/".join([self._base, *segments])

    def request(
        self,
        method: str,
        path: str,
        body: Union[bytes, Mapping[str, Any], Iterator[bytes], None] = None,
        headers: Optional[Mapping[str, str]] = None,
        patience: float = 0,
        repeat: bool = True,
    ) -> Answer:
        """One request, with an answer below 400; error_of_answer for others. `patience`: seconds a long poll takes.

        A mapping is sent as JSON; an iterator needs a header Content-Length, and `repeat` false.

        A busy server is asked again when it says, for a minute at most, one without an answer for `timeout` seconds,
        and neither after `ask_until`. A connection that breaks before the answer is opened anew, once. None of this
        with `repeat` false: changes carry a key by which the server knows the second as the same.
        """
        more = dict(headers or {})
        if self.endpoint.password:
            self.headers()  # asks for the password: before time counts
        if isinstance(body, Mapping):
            body, more["Content-Type"] = json.dumps(body).encode(), "application/json"
        begin, is_reported, may_be_done = time.monotonic(), False, False
        until = min(begin + _BUSY_SECONDS, self.ask_until)
        while True:
            try:
                return self._exchange(method, path, body, more, patience, repeat)
            except CometError as error:
                may_be_done = error.may_be_done = (
                    may_be_done or error.may_be_done or isinstance(error, UnreachableError)
                )
                if not isinstance(error, (RefusedError, UnreachableError)):
                    raise
                pause = error.retry_after
                if not repeat or error.http_status not in _PASSING or pause is None:
                    raise
                if isinstance(error, UnreachableError):
                    until = min(until, begin + self.timeout)
                if pause > _LONGEST_PAUSE_SECONDS or time.monotonic() + pause > until:
                    raise
                if error.http_status == 503 and not is_reported:
                    self.report("no answer, trying again")
                    is_reported = True
                time.sleep(max(pause, 0.1))

    def _exchange(
        self,
        method: str,
        path: str,
        body: Union[bytes, Iterator[bytes], None],
        more: Mapping[str, str],
        patience: float,
        repeat: bool,
    ) -> Answer:
        has_broken = False
        with self._guarded():
            try:
                response = self._send(method, path, body, self.headers(more), patience)
            except BROKEN:
                if not repeat:
                    raise
                self.close()
                has_broken = True
                # signed anew: the server takes each signature once
                response = self._send(method, path, body, self.headers(more), patience)
        try:
            return self._answer(response, time.monotonic() + 4 * self.timeout + patience)
        except CometError as error:
            error.may_be_done = has_broken
            raise

    def stream(self, path: str, headers: Mapping[str, str], silence: float) -> http.client.HTTPResponse:
        """A body without an end; a read that waits longer than `silence` seconds raises OSError."""
        self.close()
        with self._guarded():
            response = self._send("GET", path, None, self.headers(headers), 0)
        if response.status != 200:
            self._answer(response, time.monotonic() + self.timeout)
            raise UnreachableError(f"{self.endpoint.url} answers {response.status} to a request for events")
        if response.headers.get_content_type() == "text/html":
            self.close()
            raise UnreachableError(self._page())
        if self._open is not None and self._open.sock is not None:
            self._open.sock.settimeout(silence)
        return response

    def socket(self) -> Union[socket.socket, Any]:
        """A connected socket, with TLS if the endpoint has it, which is the caller's from now on (WebSocket)."""
        connection = self._new()
        with self._guarded():
            connection.connect()
        taken, connection.sock = connection.sock, None
        return taken

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def headers(self, more: Optional[Mapping[str, str]] = None) -> dict[str, str]:
        """The headers of every request: credentials and what is accepted."""
        found = {"Accept": "application/json, application/problem+json", "User-Agent": "comet"}
        if self.endpoint.token:
            scheme = "Token" if _OLD_TOKEN.fullmatch(self.endpoint.token) else "Bearer"
            found["Authorization"] = f"{scheme} {self.endpoint.token}"
        elif self.endpoint.signature:
            found.update(signed_headers(*self.endpoint.signature))
        elif self.endpoint.password:
            if self.endpoint not in self.passwords:  # may ask: once
                try:
                    pair = f"{self.endpoint.username}:{password_of(self.endpoint)}".encode()
                except UnicodeError:
                    raise AuthenticationError(
                        f"the password for {self.endpoint.url} is not UTF-8 text: "
                        "correct COMET_PASSWORD, or run comet init"
                    ) from None
                self.passwords[self.endpoint] = f"Basic {base64.b64encode(pair).decode()}"
            found["Authorization"] = self.passwords[self.endpoint]
        return {**found, **(more or {})}

    @staticmethod
    def has_broken(error: UnreachableError) -> bool:
        """Whether a request may have reached the server, which then ended the connection before its answer."""
        cause = error.__cause__
        return isinstance(cause, BROKEN) or (cause is not None and isinstance(cause.__context__, BROKEN))

    def is_unknown(self, error: UnreachableError) -> bool:
        """Whether the last request has reached a server, and nothing says what became of it."""
        has_no_answer = error.http_status is None and error.__cause__ is not None
        return self._is_sent and (has_no_answer or error.http_status in (502, 504))

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """What the network does wrong is an UnreachableError, and the connection is closed."""
        try:
            yield
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            reason = str(error) or type(error).__name__
            if isinstance(error, (TimeoutError, socket.timeout)):
                reason = f"no answer in {self.timeout:g} s"
            if isinstance(error, http.client.IncompleteRead):
                reason = "its answer was cut off"
            if "not yet valid" in reason or "has expired" in reason:
                reason += "; is the time of this machine right? See: date"
            elif "CERTIFICATE_VERIFY" in reason:
                reason += "; if the operators gave you a certificate of the site: comet init --ca=FILE"
            elif any(it in reason for it in _NO_TLS):
                reason = (
                    "it does not answer with TLS, as https needs: is the address's port right? A server on this "
                    "machine without TLS: comet init --url=http://localhost:PORT/nucleus"
                )
            raise UnreachableError(f"{self.endpoint.url} cannot be reached: {reason}") from error

    def _send(
        self,
        method: str,
        path: str,
        body: Union[bytes, Iterator[bytes], None],
        headers: Mapping[str, str],
        patience: float,
    ) -> http.client.HTTPResponse:
        self._is_sent = False
        connection = self._open = self._open or self._new()
        is_short = not body or (isinstance(body, bytes) and len(body) < _LARGEST_ERROR)
        with contextlib.ExitStack() as timers:
            if self.report_silence is not None and is_short:  # others take their time
                timers.enter_context(_timer(_SILENCE_SECONDS + patience, self._say_waiting))
            if connection.sock is None:
                connection.connect()
            self._is_sent = True
            sock = connection.sock
            sock.settimeout(self.timeout + patience)
            try:
                connection.request(method, path, body, dict(headers))
            except (BrokenPipeError, ConnectionResetError):
                if not body:
                    raise
                # a proxy that refuses a body ends before it has come: its answer is here already
            # also for a server that sends its headers one byte at a time
            timers.enter_context(_timer(4 * self.timeout + patience, _shut, sock))
            return connection.getresponse()

    def _say_waiting(self) -> None:
        report, self.report_silence = self.report_silence, None
        if report is not None:
            report(f"{self.endpoint.url} does not answer; waiting for it, {self.timeout:g} s at most")

    def _new(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=self.timeout)
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.endpoint.ca or None)
        except (OSError, ssl.SSLError) as error:
            raise UnreachableError(f"the CA file {self.endpoint.ca} cannot be used: {error}") from error
        return http.client.HTTPSConnection(self._host, self._port, timeout=self.timeout, context=context)

    def _answer(self, response: http.client.HTTPResponse, deadline: float) -> Answer:
        with self._guarded():
            body = _read(response, LARGEST_BODY if response.status < 300 else _LARGEST_ERROR, deadline)
        self._date = response.headers.get("Date", "")
        if response.will_close:
            self.close()
        if response.status in (301, 302, 303, 307, 308):
            where = ascii(response.headers.get("Location", ""))
            raise UnreachableError(
                f"{self.endpoint.url} redirects to {where}; comet does not follow. Is that the server? comet init"
            )
        if response.status >= 400:
            raise error_of(response.status, response.headers, body)
        if body.lstrip()[:1] == b"<":  # with 200, also to a change, which was not made
            raise UnreachableError(self._page())
        return Answer(response.status, response.headers, body)

    def _page(self) -> str:
        return (
            f"{self.endpoint.url} answers with a page, as a proxy or a network's sign-in does, and not as a Nucleus: "
            "look at it in a browser, or check the address: comet active"
        )


def decoded(body: bytes, object_hook: Optional[Callable[[dict[str, Any]], Any]] = None) -> Any:
    """A JSON document. UnreachableError for anything else."""
    try:
        return json.loads(body, object_hook=object_hook)
    except (ValueError, RecursionError) as error:
        raise UnreachableError(
            f"The server's answer is not JSON ({type(error).__name__}): check the endpoint's address: comet active"
        ) from error


def _quoted(word: str) -> str:
    # a word of dots alone would be another path
    return word.replace(".", "%2E") if word.strip(".") == "" else quote(word, safe="")


@contextlib.contextmanager
def _timer(seconds: float, act: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Act after so many seconds, unless the block has ended before."""
    timer = threading.Timer(seconds, act, arguments)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it ended in the same moment
        connected.shutdown(socket.SHUT_RDWR)


def _read(response: http.client.HTTPResponse, limit: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        part = response.read1(1 << 20)
        if not part:
            response.close()  # read1 leaves it open at its end, and the connection would refuse the next request
            if response.length:  # read1 takes a connection that ends too early for the end
                raise http.client.IncompleteRead(b"", response.length)
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > limit:
            raise ValueError(f"its answer is larger than {limit} bytes")
        if time.monotonic() > deadline:
            raise ValueError("its answer takes too long")


# A refusal of the server as an error, with advice in commands of this program.


_SIGN_IN = (
    "Sign in again: comet init, or comet init --token-file=FILE with a new token of the site's operators"
)
"""What to do about credentials that a server does not take."""

_REMEDIES = {
    "list-projects": "List yours: comet ll",
    "list-tokens": "List them: comet token list",
    "list-operations": "List them: comet operation list",
    "acknowledge": "Read and acknowledge it: comet acknowledge",
    "get-scope": "Sign in with your password (comet init), where scripts need it make a token with it (comet token "
    "create --scopes={scopes}), or ask the site's operators for one: nucleus token create {user} --scope {scope}",
    "ask-for-scope": "Ask the site's operators for a token that has it: nucleus token create {user} --scope {scope}",
    "eject-image": "Take it out first: {targets}. A machine that is on keeps it until it is off",
}
"""The codes of Nucleus' remedies, in commands of `comet`."""

_OF_SHAPES = "the request is not valid"
"""How the message begins of which `errors` has all: a place and what is right there, for each value."""

_OF_INTERFACE = {
    "there is nothing at this path": "the server has nothing at this address: compare that of comet active, or of "
    "COMET_ENDPOINT, with the one that you were given",
    "the request names nobody": "the server was sent no token, and COMET_TOKEN is not set",
}
"""How messages begin that Nucleus has for programs, and the words for somebody at a terminal."""

_OPTIONS = {
    "walltime_mins": "--walltime",
    "memory_gb": "--memory",
    "public_key": "--key",
    "vc": "the cluster image",
    "computes": "the list of computes",
    "map": "the new name",
    **{
        it: f"--{it}"
        for it in (
            *("count", "allocation", "reservation", "begin", "end", "repeat", "until", "cpus", "ent"),
            *("scopes", "projects", "days", "note", "types"),
        )
    },
}
"""Field of a request → what an owner calls it."""


def error_of(status: int, headers: Message, body: bytes) -> CometError:
    """The error that an answer of 400 or more means, with advice in commands of this program."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, str):  # of the published Nucleus
        document = {"detail": document}
    known = document if isinstance(document, dict) else {}
    slug = str(known.get("type") or "").rpartition("/")[2]
    remedy = _remedy_of(known)
    message = str(known.get("detail") or known.get("title") or f"the server answers {status}")
    if remedy:
        message = str(known["reason"])
    if message.startswith(_OF_SHAPES):  # others say in words of their own what is wrong
        message = _wrong_values(known.get("errors")) or message
    message = next((text for begin, text in _OF_INTERFACE.items() if message.startswith(begin)), message)
    if status in (400, 404, 405) and document is None:  # of another program
        slug = NO_NUCLEUS
        if status == 404:
            message = "there is no Nucleus at this address: compare it with the one that you were given (comet active)"
    if status == 413 and document is None:
        message = (
            "a proxy before the server refuses a request of this size: report it to the site's operators"
        )
    error = error_of_answer(status, slug, message)
    advice = remedy or (_SIGN_IN if isinstance(error, AuthenticationError) else "")
    if advice:
        error.args = (f"{message.rstrip('.')}. {advice}",)
    error.retry_after = _seconds_to_wait(headers)
    return error


def _seconds_to_wait(headers: Message) -> Optional[int]:
    """What Retry-After states: seconds, or a moment by the server's clock (RFC 9110). None for what is too long."""
    stated = headers.get("Retry-After", "")
    if re.fullmatch("[0-9]{1,4}", stated):
        return int(stated)
    moment, now = _moment(stated), _moment(headers.get("Date", "")) or datetime.now(timezone.utc)
    seconds = math.inf if moment is None else math.ceil((moment - now).total_seconds())
    return max(0, int(seconds)) if seconds < 10_000 else None


def _moment(text: str) -> Optional[datetime]:
    """The moment of a header; None for what is none."""
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):  # TypeError: Python below 3.10
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _wrong_values(errors: Any) -> str:
    """What is wrong, once for each option of this program; '' where the server names no values."""
    found: dict[str, None] = {}
    for entry in errors if isinstance(errors, list) else ():
        if isinstance(entry, dict) and entry.get("detail"):
            field = str(entry.get("pointer", "")).removeprefix("#/").removeprefix("query/").partition("/")[0]
            found[f"{_OPTIONS.get(field, field)}: {entry['detail']}"] = None
    return "; ".join(found)


def _remedy_of(document: Mapping[str, Any]) -> Optional[str]:
    """What to do, as commands of this program; None where the server states none, or one that is not known here."""
    given = document.get("remedy")
    if not isinstance(given, dict) or not isinstance(document.get("reason"), str):
        return None
    values = {key: it for key, it in given.items() if isinstance(it, str)}
    targets = given.get("targets")
    if isinstance(targets, list) and targets:
        from shlex import join  # late: few refusals have targets

        # in quotes, since zsh takes vm-[0-1] for names of files
        values["targets"] = ", ".join(f"comet iso detach {join(str(it).split())}" for it in targets)
    try:
        return _REMEDIES[values["code"]].format_map(values)
    except KeyError:
        return None


# The old client's signed requests, for who has only its key and secret.


def signed_headers(key_name: str, secret: str) -> dict[str, str]:
    """Headers that sign a fresh nonce and the time (HTTP Signatures, draft-cavage, hmac-sha256, empty keyId)."""
    nonce = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(10))
    timestamp = str(int(time.time()))
    text = f"nonce: {nonce}\ntimestamp: {timestamp}"
    digest = base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()
    return {
        "X-Api-Key": key_name,
        "nonce": nonce,
        "timestamp": timestamp,
        "Authorization": f'Signature keyId="",algorithm="hmac-sha256",headers="nonce timestamp",signature="{digest}"',
    }
