"""Downloads from web servers, and urllib's handlers with a deadline.

A timeout of the socket begins anew with each byte: a server that sends one now and then is read for ever.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import json
import os
import re
import socket
import ssl
from email.message import Message
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional
from urllib import error as errors
from urllib import request as requests
from urllib.parse import urljoin, urlsplit

from rocks.core.clock import Deadline
from rocks.core.errors import HostError, UserError
from rocks.core.files import SECRET, write_file
from rocks.core.terminal import one_line


class _Reader(io.RawIOBase):
    """What a server sends, until the deadline: then it raises `socket.timeout`."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection, self._deadline = connection, deadline
        self._silence_seconds = connection.gettimeout()
        self._raw = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        left = self._deadline.remaining_seconds()
        if left is not None:
            if not left:
                raise socket.timeout
            self._connection.settimeout(min(left, self._silence_seconds or left))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, connection: socket.socket, *args: Any, deadline: Deadline, **options: Any) -> None:
        super().__init__(connection, *args, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(connection, deadline))


class _Bounded(requests.AbstractHTTPHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def do_open(self, http_class: Any, req: requests.Request, **options: Any) -> Any:
        def connect(*args: Any, **values: Any) -> Any:
            connection = http_class(*args, **values)
            connection.response_class = functools.partial(_Response, deadline=self._deadline)
            return connection

        return super().do_open(connect, req, **options)


class HttpHandler(_Bounded, requests.HTTPHandler):
    """urllib's handler of http, with a deadline."""


class HttpsHandler(_Bounded, requests.HTTPSHandler):
    """urllib's handler of https, with a deadline."""


# Files of web servers: http and https alone, below bounds of size, redirections and silence.
#
# All programs but `comet` ask servers through this module, so one rule holds: no redirection leads from https to http,
# and what is sent is not sent elsewhere.
#
# A download is written beside its target, with the ETag or the time of change that the server gave. The same call later
# continues it with a range, and takes a complete file again only if the server has another one.
#
# Proxies are those of the environment (http_proxy, https_proxy, no_proxy).


SILENCE_SECONDS, SMALL_SECONDS = 30.0, 120.0
"""How long a server may send nothing, and how long a small file may take."""

_MAX_REDIRECTIONS = 5
_PIECE_BYTES = 1024**2
_LONGEST_URL = 2000
_CONDITIONS = frozenset(("If-None-Match", "If-Modified-Since"))
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")


class Remote(NamedTuple):
    """What a server states of a file: its ETag and time of change, empty if it states none, and its size in bytes."""

    etag: str = ""
    modified: str = ""
    size_bytes: Optional[int] = None

    @property
    def validator(self) -> str:
        """What a range depends on; empty if the server gives nothing that stands for exactly this content."""
        return self.modified if not self.etag or self.etag.startswith("W/") else self.etag


class _Watch(NamedTuple):
    """The bound of a download, and who is informed of it (`download`)."""

    max_bytes: int
    begins: Callable[[int, int], None]
    arrives: Callable[[int], None]


class MissingFileError(UserError):
    """The server has no such file."""


class ForbiddenFileError(UserError):
    """The server does not give the file to us."""


def check_url(text: str) -> None:
    """UserError unless the text is a URL of http or https, without a password, which would be seen in lists."""
    try:
        parts = urlsplit(text)
        # the name service refuses empty and long labels with a UnicodeError
        is_host = bool((parts.hostname or "").encode("idna"))
        is_valid = parts.scheme in ("http", "https") and is_host and (parts.port or 1) > 0
    except ValueError:
        is_valid = False
    is_plain = text.isascii() and text.isprintable() and " " not in text and len(text) <= _LONGEST_URL
    if not is_valid or not is_plain:
        raise UserError(f"{one_line(text)[:200]} is not a URL of http:// or https://, with %20 for a blank")
    if "@" in parts.netloc:
        raise UserError("a URL with a user's name or password is not taken: others would see it in lists")


def fetch(url: str, max_bytes: int, form: Optional[bytes] = None, seconds: Optional[float] = None) -> bytes:
    """The content of a small file, or the answer to a form, within so many seconds, or `SMALL_SECONDS`.

    Errors as `download`.
    """
    with _opened(url, {}, "GET" if form is None else "POST", seconds or SMALL_SECONDS, form) as answer:
        if answer.status != http.client.OK:
            raise HostError(
                f"{_host_of(url)} answers {answer.status} to {one_line(url)}; repeat the command later"
            )
        data = bytearray()
        for piece in _pieces(url, answer):
            data += piece
            if len(data) > max_bytes:
                raise _too_large(url, max_bytes)
        if _remote(answer.headers).size_bytes not in (None, len(data)):
            raise _ended_early(url)
        return bytes(data)


def ask(url: str) -> Remote:
    """What the server states of the file, without its content, within `SMALL_SECONDS`. Errors as `download`."""
    with _opened(url, {}, "HEAD", SMALL_SECONDS) as answer:
        return _remote(answer.headers)


def download(
    url: str,
    target: Path,
    max_bytes: int,
    begins: Callable[[int, int], None],
    arrives: Callable[[int], None],
) -> None:
    """Bring the file to the target; what an earlier call brought is used.

    `begins(done, size)` gets the bytes that are there and those of the whole file (or `done`, if it is not stated)
    before the first piece; `arrives(count)` the bytes of each piece. What they raise ends the download, which can be
    continued.

    UserError for a URL that is not one of http, a file that the server does not have, one of more than `max_bytes`, and
    a redirection elsewhere; HostError for a server that does not answer, stalls or sends too little, and when the
    target cannot be written.
    """
    watch = _Watch(max_bytes, begins, arrives)
    try:
        _continue(url, target, _read_journal(target, url), watch)
    except _RangeError:
        _continue(url, target, None, watch)


class _RangeError(HostError):
    """The server has no such range, or sends another one than was asked for."""


def _continue(url: str, target: Path, earlier: Optional[Remote], watch: _Watch) -> None:
    headers: Dict[str, str] = {}
    if earlier is not None and earlier.validator:
        done_bytes = target.stat().st_size
        if earlier.size_bytes == done_bytes:
            headers = (
                {"If-None-Match": earlier.etag} if earlier.etag else {"If-Modified-Since": earlier.modified}
            )
        elif done_bytes:
            headers = {"Range": f"bytes={done_bytes}-", "If-Range": earlier.validator}
    with _opened(url, headers) as answer:
        if answer.status == http.client.NOT_MODIFIED:
            return
        if answer.status == http.client.PARTIAL_CONTENT:
            remote = _remote(answer.headers)
            match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            is_same = earlier is not None and remote.validator in ("", earlier.validator)
            if match is None or earlier is None or int(match[1]) != target.stat().st_size or not is_same:
                raise _RangeError(f"{_host_of(url)} sends another part of {url} than was asked for")
            remote = earlier._replace(size_bytes=int(match[2]))
            _store(url, target, answer, remote, int(match[1]), watch)
        else:
            _store(url, target, answer, _remote(answer.headers), 0, watch)


def _store(url: str, target: Path, answer: Any, remote: Remote, done_bytes: int, watch: _Watch) -> None:
    if (remote.size_bytes or 0) > watch.max_bytes:
        _remove(target)
        raise _too_large(url, watch.max_bytes)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(target, flags, SECRET)
    try:
        os.ftruncate(descriptor, done_bytes)
        # the journal of other content must not stand beside this one
        _write_journal(target, url, remote, _boot())
        watch.begins(done_bytes, done_bytes if remote.size_bytes is None else remote.size_bytes)
        os.lseek(descriptor, done_bytes, os.SEEK_SET)
        for piece in _pieces(url, answer):
            done_bytes += len(piece)
            if done_bytes > watch.max_bytes:
                _remove(target)
                raise _too_large(url, watch.max_bytes)
            left = memoryview(piece)
            while left:
                left = left[os.write(descriptor, left) :]
            watch.arrives(len(piece))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if remote.size_bytes not in (None, done_bytes):
        raise _ended_early(url)
    _write_journal(target, url, remote._replace(size_bytes=done_bytes), "")


def _pieces(url: str, answer: Any) -> Iterator[bytes]:
    """The content, at most `_PIECE_BYTES` at once. `read` would take all that comes after a chunk of length -1."""
    while True:
        try:
            piece: bytes = answer.read1(_PIECE_BYTES)
        except (socket.timeout, ConnectionError):
            raise
        except (OSError, ValueError):  # of TLS, of the network, of the length of a chunk
            raise _ended_early(url) from None
        if not piece:
            return
        yield piece


def _remove(target: Path) -> None:
    """Remove the file and its journal: it will never be continued."""
    for path in (target, _journal(target)):
        path.unlink(missing_ok=True)


def _read_journal(target: Path, url: str) -> Optional[Remote]:
    """What is known of the content of the target; None if it is not there, or is of another URL."""
    try:
        values = json.loads(_journal(target).read_text("utf-8"))
        remote = Remote(values["etag"], values["modified"], values["size_bytes"])
        # what a crashed machine had written last may be zeros
        is_ours = values["url"] == url and target.is_file() and values["boot"] in ("", _boot())
        is_ours &= isinstance(remote.etag, str) and isinstance(remote.modified, str)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return remote if is_ours else None


def _write_journal(target: Path, url: str, remote: Remote, boot: str) -> None:
    """`boot` is empty for a file that is complete, and on the disk."""
    write_file(_journal(target), json.dumps({"url": url, "boot": boot, **remote._asdict()}))


def _boot() -> str:
    """What stands for this run of the kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _journal(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _remote(headers: Message) -> Remote:
    length = headers.get("Content-Length", "")
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    return Remote(etag, modified, int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None)


@contextlib.contextmanager
def _opened(
    url: str,
    headers: Dict[str, str],
    method: str = "GET",
    seconds: Optional[float] = None,
    form: Optional[bytes] = None,
) -> Iterator[Any]:
    """The server's answer, all of it within so many seconds. Errors of the connection, also while it is read, become
    ours."""
    check_url(url)
    host = _host_of(url)
    deadline = Deadline(seconds)
    try:
        request = requests.Request(url, form, {"User-Agent": "rocks", **headers}, method=method)
        with _open(request, deadline) as answer:
            yield answer
    except errors.HTTPError as error:
        error.close()
        if error.code == http.client.NOT_MODIFIED and _CONDITIONS.intersection(headers):
            yield error
            return
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _RangeError(f"{host} has no such part of {url}") from None
        reason = f"{host} answers {error.code} {one_line(str(error.reason))[:100]} to {url}"
        if error.code in (404, 410):
            raise MissingFileError(f"{reason}; correct the address") from None
        if error.code in (401, 403):
            raise ForbiddenFileError(reason) from None
        if error.code < 500:
            raise UserError(reason) from None
        raise HostError(f"{reason}; repeat the command later") from None
    except socket.timeout:
        if deadline.passed():
            raise HostError(
                f"{one_line(url)} did not come within {seconds:g} seconds; repeat the command"
            ) from None
        raise HostError(
            f"{host} sends nothing of {url} for {SILENCE_SECONDS:.0f} seconds; repeat the command, which continues"
        ) from None
    except errors.URLError as error:
        reason = one_line(str(error.reason))[:200]
        if isinstance(error.reason, ssl.SSLError):
            raise HostError(f"{host} is not trusted: {reason}") from None
        raise HostError(f"{host} does not answer: {reason}; repeat the command later") from None
    except (http.client.HTTPException, ConnectionError):
        raise _ended_early(url) from None


def _open(request: requests.Request, deadline: Deadline) -> Any:
    """As urllib's open, but what it lets through while it reads the head is a URLError, too."""
    try:
        left = deadline.remaining_seconds()
        silence = SILENCE_SECONDS if left is None else min(left, SILENCE_SECONDS)
        return _opener(deadline).open(request, timeout=silence)
    except (errors.URLError, socket.timeout, ConnectionError):
        raise
    except (OSError, ValueError) as error:
        raise errors.URLError(error) from None


class _Redirections(requests.HTTPRedirectHandler):
    max_redirections = _MAX_REDIRECTIONS

    def http_error_302(self, req: requests.Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Follow to http and https only. urllib itself follows to ftp, and leaves others to an error without a name."""
        place = headers.get("Location") or headers.get("URI") or ""
        try:
            scheme = urlsplit(urljoin(req.full_url, place)).scheme
        except ValueError:
            scheme = ""
        if scheme not in ("http", "https"):
            raise UserError(
                f"{req.full_url} leads to {one_line(place)[:200]}; only http and https are followed"
            )
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: requests.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Optional[requests.Request]:
        """As `check_url`, never from https to http, and never with a form. A HEAD stays one; Python 3.11 makes a GET
        of it."""
        if req.data is not None:
            raise UserError(
                f"{req.full_url} leads to {one_line(newurl)[:200]}; what is sent is not sent elsewhere"
            )
        try:
            check_url(newurl)
        except UserError as error:
            raise UserError(f"{req.full_url} leads elsewhere: {error}") from None
        if urlsplit(req.full_url).scheme == "https" != urlsplit(newurl).scheme:
            raise UserError(f"{req.full_url} leads to {newurl}, which is not encrypted; this is not followed")
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None:
            new.method = req.get_method()
        return new


def _opener(deadline: Deadline) -> requests.OpenerDirector:
    """Without urllib's handlers of files, ftp and data."""
    opener = requests.OpenerDirector()
    for handler in (
        requests.ProxyHandler(),
        HttpHandler(deadline),
        HttpsHandler(deadline),
        requests.HTTPDefaultErrorHandler(),
        requests.HTTPErrorProcessor(),
        _Redirections(),
        requests.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _host_of(url: str) -> str:
    return f"the web server {urlsplit(url).hostname}"


def _too_large(url: str, max_bytes: int) -> UserError:
    return UserError(f"{url} has more than {max_bytes} bytes")


def _ended_early(url: str) -> HostError:
    return HostError(f"{_host_of(url)} ended {url} before its end; repeat the command, which continues")
