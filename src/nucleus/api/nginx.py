"""nginx before the service: TLS, slow clients, sizes, rates, static files, and the line of each request in the log.

It is a program of the distribution, and ends with the service. Its file is written at each start, from the settings.
Both work under one account: nginx reads the certificate, and its socket to the service is open to nobody else.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import pwd
import re
import shutil
import signal
import socket
import string
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from nucleus.api.problems import PROBLEMS
from nucleus.parts import installed
from rocks.core.errors import HostError
from rocks.core.process import end_group, ends_within, run, start_with_pipes

if TYPE_CHECKING:
    import subprocess  # noqa: TID251 - the type of what is started
    from collections.abc import Callable, Iterator

    from nucleus.configuration import Configuration

_PROGRAM = "/usr/sbin/nginx"
_START_SECONDS = 30.0
_WAITING = 2048
_LOG = logging.getLogger(__name__)
_ACCESS_LOG = logging.getLogger("nucleus.access")

_SECRETS = re.compile(r', (?:request|subrequest|upstream|referrer): "[^"]*"')
"""Paths in nginx's errors: those of consoles and sign-ins have tickets and codes."""

_NUMBER = re.compile(r'"number": "([0-9a-f]{32})"}$')
_WORKER_ENDED = re.compile(r"\S+ \S+ \[alert\] \d+#\d+: worker process \d+ exited on signal \d+")
"""From its beginning: paths of clients are in other messages."""

_NO_ANSWER = "the service does not answer at this moment; "
_UNSTORED = "the upload was not stored: the service does not answer, or its disk is full; send it again later"
_AGAIN = "send the request again later"
_LOOK = (
    "whether the change was made is not known: look at your operations (`comet operation list`, or the page"
    " History) before you repeat it"
)


class Bounds(NamedTuple):
    """The limits on a client that nginx enforces."""

    header_seconds: int = 20
    """How long it may take to send the headers of a request."""

    body_seconds: int = 30
    """How long it may send nothing of a body."""

    requests_a_second: int = 100
    requests_at_once: int = 200
    streams: int = 20
    """Event streams at the same time. These three are limits of each token, password or key."""

    requests_of_address_a_second: int = 1000
    requests_of_address_at_once: int = 2000


BOUNDS = Bounds()


class _Text(string.Template):
    delimiter = "%"  # nginx has its own use of $


def configuration_of(configuration: Configuration, folder: Path, place: str, bounds: Bounds) -> str:
    """nginx's configuration. `folder` has its temporary files and the socket of the service; it listens at `place`."""
    listen = configuration.listen
    certificate = (
        f"    ssl_certificate {listen.certificate};\n    ssl_certificate_key {listen.key or listen.certificate};\n"
        "    ssl_protocols TLSv1.2 TLSv1.3;\n    ssl_session_cache shared:sessions:2m;"
    )
    is_root = os.geteuid() == 0
    return _Text((Path(__file__).parent / "nginx.conf.in").read_text("utf-8")).substitute(
        bounds._asdict(),
        folder=folder,
        bodies=folder / "bodies",
        arriving=_arriving(configuration),
        user=f"user {pwd.getpwuid(0).pw_name};" if is_root else "",
        listen=place + (" ssl" if listen.certificate else ""),
        certificate=certificate if listen.certificate else "",
        files="".join(_location(path, files) for path, files in _folders(configuration)),
        console_seconds=configuration.console.most_minutes * 60,
        absent=_problem("backend-unavailable", f"{_NO_ANSWER}$what_now"),
        unstored=_problem("backend-unavailable", _UNSTORED),
        again=_AGAIN,
        look=_LOOK,
    )


def _port(address: str, port: int) -> str:
    """What nginx listens at; :: is every address of the machine, those of IPv4 among them."""
    both = " ipv6only=off" if address == "::" else ""
    return f"{f'[{address}]' if ':' in address else address}:{port} deferred{both}"


def _arriving(configuration: Configuration) -> Path:
    """The folder of bodies that arrive; on the file system of those that have arrived."""
    return Path(configuration.images.folder) / "arriving"


def _folders(configuration: Configuration) -> list[tuple[str, Path]]:
    """Path below /assets, and the folder with its files; the first that fits is taken."""
    found = {path: one for part in installed().values() for path, one in part.files(configuration).items()}
    return sorted(found.items(), reverse=True)


def _location(path: str, folder: Path) -> str:
    prefix = re.escape(f"{path}/" if path else "")
    return (
        f'    location ~ "^(?:/nucleus)?/assets/{prefix}(?<file>.+)$" {{\n      alias "{folder}/$file";\n'
        "      error_page 403 404 405 = @file_is_missing;\n      error_page 429 = /refused/429;\n    }\n"
    )


def _problem(code: str, detail: str) -> str:
    kind = PROBLEMS[code]
    body = {
        "type": f"/problems/{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code,
    }
    return json.dumps(body)


@contextlib.contextmanager
def listening(
    configuration: Configuration, bounds: Bounds = BOUNDS, has_ended: Callable[[str], object] = lambda _: None
) -> Iterator[socket.socket]:
    """Have nginx listen where the settings say, until the end of the block; the socket behind it, for the service.

    `has_ended` gets nginx's number of each request when that is over, with or without an answer.
    HostError where nginx cannot, or has ended before the end of the block: this process gets SIGTERM then.
    """
    with tempfile.TemporaryDirectory(prefix="nucleus-") as name, contextlib.ExitStack() as stack:
        folder, path = Path(name), configuration.listen.socket
        listener = stack.enter_context(_listener(folder / "service.sock"))
        if path:
            _free(Path(path))
        else:
            _demand_free(configuration.listen.address, configuration.listen.port)
        _clear(_arriving(configuration))
        if path:
            # nginx opens it to everybody before we can close it again: nobody may enter this folder
            own = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path(path).parent)), "s")
            stack.enter_context(_running(configuration, folder, f"unix:{own}", bounds, has_ended))
            own.chmod(0o660)  # a proxy's user is in the group
            os.link(own, path)
            stack.callback(Path(path).unlink, missing_ok=True)
        else:
            place = _port(configuration.listen.address, configuration.listen.port)
            stack.enter_context(_running(configuration, folder, place, bounds, has_ended))
        yield listener


def _clear(folder: Path) -> None:
    """Remove what an nginx that was killed has left there. HostError where the folder cannot be made."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            raise HostError(f"the folder of uploads {folder} is of another user; remove it")
    except OSError as error:
        raise HostError(
            f"the folder of uploads {folder} cannot be made: {error.strerror}; correct [images] folder of the settings"
        ) from None


def _listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))  # in a folder that only this user may enter
    listener.listen(_WAITING)
    return listener


@contextlib.contextmanager
def _running(
    configuration: Configuration, folder: Path, place: str, bounds: Bounds, has_ended: Callable[[str], object]
) -> Iterator[None]:
    file = folder / "nginx.conf"
    file.write_text(configuration_of(configuration, folder, place, bounds), "utf-8")
    program = [_PROGRAM, "-e", "stderr", "-p", str(folder), "-c", str(file)]
    checked = run([*program, "-t", "-q"], deadline_seconds=_START_SECONDS)
    stated = configuration.listen.socket or f"{configuration.listen.address}:{configuration.listen.port}"
    if checked.exit_status:
        raise HostError(
            f"nginx does not take its settings for {stated}: {checked.error_text}; correct [listen] of the settings"
        )
    pid_file = folder / "nginx.pid"
    pid_file.unlink(missing_ok=True)  # the check has made it, too
    process = start_with_pipes(["/usr/bin/setpriv", "--pdeathsig", "TERM", *program])
    assert process.stdout is not None
    assert process.stderr is not None
    errors, is_serving = deque[str](maxlen=5), threading.Event()
    end = functools.partial(_end_service, is_serving)
    threads = [
        threading.Thread(target=_pass_on, args=(process.stdout, has_ended), name="access log"),
        threading.Thread(target=_report, args=(process.stderr, errors, end), name="errors of nginx"),
        threading.Thread(target=lambda: (process.wait(), end()), name="end of nginx"),
    ]
    for thread in threads:
        thread.start()
    try:
        _wait_for(process, pid_file, stated, errors)
        is_serving.set()
        yield
    finally:
        was_ended = process.poll() is not None
        is_serving.clear()
        process.terminate()
        ends_within(process, _START_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # workers whose master was killed
        for thread in threads:
            thread.join(_START_SECONDS)  # to the last line
        end_group(process)
    if was_ended:
        raise HostError(
            f"nginx has ended, and the service with it: {' / '.join(errors)}; start the service again"
        )


def _demand_free(address: str, port: int) -> None:
    """HostError where something listens there: it may be another service, whose uploads are on their way."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind((address, port))
        except OSError as error:
            raise _refusal(f"{address}:{port}", error.strerror or str(error)) from None


def _free(path: Path) -> None:
    """Remove a socket that an earlier nginx has left, or it could not listen there."""
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        if not path.is_socket():
            path.lstat()
            raise _refusal(path, "there is a file that is no socket")
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(path))
        raise _refusal(path, "another process serves it")
    path.unlink(missing_ok=True)


def _wait_for(process: subprocess.Popen[bytes], pid_file: Path, place: object, errors: deque[str]) -> None:
    """Wait until nginx listens: it writes its number then. HostError when it ends instead."""
    end_at = time.monotonic() + _START_SECONDS
    while not pid_file.exists():
        if ends_within(process, 0.005) or time.monotonic() > end_at:
            time.sleep(0.1)  # what it says is on its way
            raise _refusal(place, " / ".join(errors))


def _refusal(place: object, reason: str) -> HostError:
    return HostError(
        f"nginx cannot listen at {place}: {reason}; end what listens there, or change [listen] of the settings"
    )


def _end_service(is_serving: threading.Event) -> None:
    if is_serving.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _pass_on(lines: IO[bytes], has_ended: Callable[[str], object]) -> None:
    """Have each line in the log of the service."""
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip()
        _ACCESS_LOG.info("%s", text)
        if number := _NUMBER.search(text):
            has_ended(number[1])


def _report(lines: IO[bytes], errors: deque[str], end: Callable[[], None]) -> None:
    for line in lines:
        whole = line.decode("utf-8", "replace").rstrip()
        text = _SECRETS.sub("", whole)
        errors.append(text)
        _LOG.warning("nginx: %s", text)
        if _WORKER_ENDED.match(whole):  # its requests are in no log, and its files stay
            end()
