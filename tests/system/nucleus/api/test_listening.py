"""Connections to nginx: who may connect, whom they name, what they may send, and when those that do nothing end."""

import contextlib
import json
import os
import resource
import signal
import socket
import ssl
import subprocess  # noqa: TID251 - openssl makes the certificate of a site
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nucleus.api.app import create_application
from nucleus.api.nginx import Bounds, listening
from nucleus.configuration import Configuration, ListenSettings
from nucleus.mirror.pool import Pool
from rocks.core.errors import HostError
from tests.patience import patience
from tests.servers import free_port
from tests.system.nucleus.api.conftest import MODERN, PROBLEMS, started
from tests.system.nucleus.api.http_client import BOUNDS, Client, answering, serving
from tests.system.nucleus.api.test_events import emit
from tests.system.nucleus.conftest import sql
from tests.waiting import wait_until

WRONG = {"Authorization": "Bearer nuc_AAAAAAAA_" + "0" * 43, "Prefer": "respond-async"}


def sources(pool: Pool) -> list[str | None]:
    """Where wrong credentials came from, as the audit log has it."""
    rows = sql(pool, "SELECT source_ip FROM audit WHERE action = 'authenticate' ORDER BY seq")
    return [source for (source,) in rows]


@contextlib.contextmanager
def at_port(configuration: Configuration, pool: Pool, bounds: Bounds = BOUNDS, **more: str) -> Iterator[int]:
    """The service at a port, with the settings of [listen]."""
    listen = ListenSettings(port=free_port(), **more)
    with answering(create_application(configuration, pool), replace(configuration, listen=listen), bounds):
        yield listen.port


def asking(token: str, path: str, more: str = "") -> bytes:
    """A request with a token."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}\r\n".encode()


@pytest.mark.slow
def test_only_a_proxy_at_the_socket_states_where_a_request_is_from(
    service: Client, configuration: Configuration, pool: Pool
) -> None:
    def ask(forwarded: str) -> int:
        return service.get("", "/v1/user", headers={**WRONG, "X-Forwarded-For": forwarded}).status_code

    assert {ask("10.9.9.9, 192.0.2.1") for _ in range(10)} == {401}
    assert ask("10.8.8.8, 192.0.2.1") == 429, "a stranger does not choose the address that is counted"
    assert ask("2001:db8::1") == 401, "others do not wait for him"
    assert ask("192.0.2.1, nothing") == 401
    sent = {"X-Forwarded-Proto": "https", "Host": "owners.example"}
    begun = service.ask("ann", "PUT", "/v1/cluster/vc2/frontend/poweron", headers=sent)
    assert begun.headers["Location"].startswith("https://owners.example/")
    assert sources(pool) == ["192.0.2.1"] * 10 + ["2001:db8::1", None]
    with at_port(configuration, pool) as port, socket.create_connection(("127.0.0.1", port)) as raw:
        lines = [f"{name}: {value}" for name, value in {**WRONG, "X-Forwarded-For": "192.0.2.7"}.items()]
        raw.sendall("\r\n".join(["GET /v1/user HTTP/1.1", "Host: x", *lines, "", ""]).encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 401 ")
    assert sources(pool)[-1] == "127.0.0.1", "nobody is believed where users connect themselves"


def test_a_socket_is_open_to_its_group_and_served_once(configuration: Configuration, tmp_path: Path) -> None:
    path = tmp_path / "nucleus.sock"
    settings = replace(configuration, listen=ListenSettings(socket=str(path)))
    with listening(settings):
        assert path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(HostError, match="another process"), listening(settings):
            pass
    with socket.socket(socket.AF_UNIX) as left:  # by an nginx that was killed
        left.bind(str(path))
    with listening(settings), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    path.write_text("notes")
    with pytest.raises(HostError, match="no socket"), listening(settings):
        pass
    assert path.read_text() == "notes"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = replace(configuration, listen=ListenSettings(port=taken.getsockname()[1]))
        with (
            pytest.raises(HostError, match=r"cannot listen at 127.0.0.1:[0-9]+: .*already in use"),
            listening(at),
        ):
            pass
    absent = replace(configuration, listen=ListenSettings(certificate="/none.pem"))
    with pytest.raises(HostError, match="none.pem"), listening(absent):
        pass


def test_the_certificate_of_the_settings_is_that_of_the_service(
    configuration: Configuration, pool: Pool, people: dict[str, str], tmp_path: Path
) -> None:
    pair = tmp_path / "pair.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=site.example",
        "-days",
        "2",
    ]
    subprocess.run([*make, "-keyout", pair, "-out", tmp_path / "c.pem"], check=True, capture_output=True)
    pair.write_text(pair.read_text() + (tmp_path / "c.pem").read_text())
    context = ssl.create_default_context(cafile=str(pair))
    context.check_hostname = False
    with (
        at_port(configuration, pool, certificate=str(pair), key=str(pair)) as port,
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw) as secured,
    ):
        head = (
            "PUT /v1/cluster/vc2/frontend/poweron HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n"
            f"Authorization: Bearer {people['ann']}\r\nContent-Length: 0\r\n\r\n"
        )
        secured.sendall(head.encode())
        answer = secured.makefile("rb").read().decode()
    assert "\r\nlocation: https://site.example/" in answer.lower(), "of the scheme that clients use"


@pytest.mark.slow
def test_a_connection_without_a_whole_request_ends(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    with started(configuration, pool, people, Bounds(header_seconds=1, body_seconds=1)) as service:
        for begin in (
            b"",
            b"GET /healthz HTT",
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ",
            b"POST /v1/token HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        ):
            with service.connected(begin) as raw, contextlib.suppress(ConnectionResetError):
                begun = time.monotonic()
                assert not raw.makefile("rb").read().startswith(b"HTTP/1.1 2"), begin
                assert time.monotonic() - begun < 60, begin


POST = b"POST /v1/token HTTP/1.1\r\nHost: x\r\n"
ENDLESS = {
    "path": (b"GET /", b"a" * 65536),
    "headers": (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10_000),
    "header": (b"GET / HTTP/1.1\r\nA: ", b"a" * 65536),
    "body": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"a" * 65536 + b"\r\n"),
    "stated body": (POST + b"Content-Length: 9999999999\r\n\r\n", b"a" * 65536),
}  # fmt: skip
"""How a request begins, and what follows again and again."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_end_is_refused(service: Client, kind: str) -> None:
    """100 MiB are far more than the buffers of a socket, and the service gets none of it."""
    begin, endless = ENDLESS[kind]
    with service.connected() as raw:
        raw.settimeout(40)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            for part in (begin, *[endless] * 1600):
                raw.sendall(part)
        status = raw.recv(100)
    assert status.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ", b"HTTP/1.1 414 ")), status
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2_000_000
    assert service.get("ann", "/v1/user").status_code == 200


def test_requests_of_usual_size_are_answered(service: Client) -> None:
    many = {f"X-{number}": "a" * 400 for number in range(90)}
    assert service.get("ann", "/v1/user", headers=many).status_code == 200
    body = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in b'{"scopes": ["read"]}') + b"0\r\nA: b\r\n\r\n"
    head = "POST /v1/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n"
    sent = f"{head}Authorization: Bearer {service.tokens['ann']}\r\n\r\n".encode() + body
    with service.connected(sent) as raw:
        assert raw.recv(100).startswith(b"HTTP/1.1 201 ")
    with service.connected(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 50) as raw:
        answered = b""
        while answered.count(b"HTTP/1.1 200") < 50:
            answered += raw.recv(65536)


def test_lists_are_compressed_and_answers_with_a_secret_are_not(service: Client) -> None:
    packed = {"Accept-Encoding": "gzip"}
    listed = service.get("ann", "/v1/cluster", headers=packed)
    assert listed.headers["Content-Encoding"] == "gzip"
    assert listed.json() == service.get("ann", "/v1/cluster").json()
    made = service.ask("ann", "POST", "/v1/token", json={}, headers=packed)
    assert "Content-Encoding" not in made.headers and made.json()["token"]
    tag = listed.headers["ETag"]
    assert service.get("ann", "/v1/cluster", headers={**packed, "If-None-Match": tag}).status_code == 304


def test_a_large_body_is_refused_in_the_words_of_its_client(service: Client) -> None:
    large = b" " * ((1 << 20) + 1)
    modern = service.ask("ann", "POST", "/nucleus/v1/token", body=large, headers=PROBLEMS)
    assert (modern.status_code, modern.json()["code"]) == (413, "too-large")
    assert modern.json()["type"] == "/nucleus/problems/too-large"
    legacy = service.ask("ann", "POST", "/v1/token", body=large)
    assert (legacy.status_code, legacy.json()) == (400, "the body is larger than 1 MiB; only images may be")


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_line", ["PUT /v1/image", "POST //v1/image", "POST /v1/cluster/%2e%2e/image"]
)
def test_a_large_body_at_a_path_of_uploads_is_refused(service: Client, request_line: str) -> None:
    """However the path is written."""
    head = f"{request_line} HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 30}\r\n\r\n"
    with service.connected(head.encode()) as raw:
        raw.settimeout(40)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(32):
                raw.sendall(bytes(1 << 16))
        answer = raw.recv(1000)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 401 ", b"HTTP/1.1 413 ")), answer


def test_ten_gigabytes_of_a_stranger_leave_no_byte(
    service: Client, configuration: Configuration, pool: Pool
) -> None:
    """Neither does what an owner sends whose token has no right to images."""
    number = service.tokens["ann"].split("_")[1]
    sql(pool, "UPDATE token SET scopes = 'read' WHERE id = %s", (number,))
    for authorization, status in (
        ("", b"401"),
        (f"Authorization: Bearer {service.tokens['ann']}\r\n", b"403"),
    ):
        head = (
            f"POST /v1/image HTTP/1.1\r\nHost: x\r\nContent-Length: {10 << 30}\r\nmd5: {'0' * 32}\r\n{authorization}"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        with service.connected(head.encode()) as raw:
            raw.settimeout(40)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
                for _ in range(1600):
                    raw.sendall(bytes(65536))
            assert raw.recv(100).split()[1] == status
        assert not list(Path(configuration.images.folder).glob("*/*"))


@pytest.mark.slow
def test_a_token_that_asks_too_often_keeps_no_other_from_asking(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    """600 requests at once on one connection, and beside them those of another owner."""
    with started(configuration, pool, people, Bounds(requests_a_second=1)) as service:
        request = asking(people["ann"], "/v1/user", f"Accept: {PROBLEMS['Accept']}\r\n")
        last = request.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"
        with service.connected(request * 599 + last) as raw:
            beside = [service.get("bob", "/v1/user").status_code for _ in range(20)]
            answered = raw.makefile("rb").read()
        found = [answered.count(f"HTTP/1.1 {status} ".encode()) for status in (200, 429)]
        assert sum(found) == 600 and 201 <= found[0] < 400, found
        assert answered.lower().count(b"retry-after: 1\r\n") == found[1]
        assert answered.count(b'"code": "rate-limited"') == found[1]
        assert beside == [200] * 20


def test_a_token_has_so_many_streams_at_once(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    with started(configuration, pool, people, Bounds(streams=5)) as service, contextlib.ExitStack() as stack:

        def follow(who: str) -> bytes:
            stream = service.connected(asking(people[who], "/v1/events", "Prefer: respond-async\r\n"))
            return stack.enter_context(stream).recv(12)

        assert [follow("ann") for _ in range(6)] == [b"HTTP/1.1 200"] * 5 + [b"HTTP/1.1 429"]
        assert follow("bob") == b"HTTP/1.1 200"
        assert service.get("ann", "/v1/user").status_code == 200
        stack.close()
        wait_until(lambda: follow("ann") == b"HTTP/1.1 200", "a place")


def test_events_come_at_once(service: Client, pool: Pool) -> None:
    with service.connected(asking(service.tokens["ann"], "/v1/events")) as raw:
        lines = raw.makefile("rb")
        assert any(b": connected" in line for line in lines)
        emit(pool, "new")
        assert any(b"new" in line for line in lines), "the stream has ended before the event came"


def test_the_log_has_a_line_of_each_request_and_no_secret(
    service: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "nucleus.access")
    token = service.tokens["ann"]
    service.get("ann", f"/nucleus/v1/cluster?name={token}", headers={"X-Request-Id": "mine"})
    for path in (
        f"/v1/token/{token}",
        f"/v1/{token.replace('_', '%5F')}",
        f"/console/vnc/{'A' * 43}",
        f"/ws/{'A' * 43}",
    ):
        service.get("ann", path)

    def lines() -> list[dict[str, object]]:
        return [json.loads(one.getMessage()) for one in caplog.records if one.name == "nucleus.access"]

    wait_until(lambda: len(lines()) >= 5, "the lines")
    first = lines()[0]
    assert (first["request"], first["method"], first["path"], first["status"]) == (
        "mine",
        "GET",
        "/nucleus/v1/cluster",
        200,
    )
    assert (first["actor"], first["token"]) == ("ann", token.split("_")[1])
    assert [one["path"] for one in lines()[1:5]] == [
        f"/v1/{token[:12].replace('nuc', 'token/nuc')}_…",
        "/v1/nuc%…",
        "/console/…",
        "/ws/…",
    ]
    assert token.split("_")[2] not in caplog.text
    answer = service.get("ann", "/v1/user", headers=MODERN)
    assert not [name for name in answer.headers if name.lower().startswith("x-nucleus")]


def test_headers_of_nginx_are_not_taken_from_clients(service: Client) -> None:
    """Headers that nginx adds for the service are its own."""
    assert service.get("ann", "/v1/user", headers={"X-Nucleus-Refused": "429"}).status_code == 200


@pytest.mark.slow
def test_a_stream_that_is_never_read_ends(service: Client, pool: Pool) -> None:
    """nginx ends the connection; the stream's place among the user's is free then."""
    hub = service.application.state.hub
    emit(pool, *("x" * 150 for _ in range(40_000)))
    with service.connected(asking(service.tokens["ann"], "/v1/events", "Last-Event-ID: 0\r\n")):
        wait_until(lambda: bool(hub.count), "the stream")
        wait_until(lambda: not hub.count, "the end of the stream")


@pytest.mark.parametrize(
    ("whose", "number"), [("master", signal.SIGTERM), ("master", signal.SIGKILL), ("worker", signal.SIGKILL)]
)
def test_the_service_ends_with_its_nginx(
    configuration: Configuration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whose: str,
    number: signal.Signals,
) -> None:
    ended: list[bool] = []
    monkeypatch.setattr("nucleus.api.nginx._end_service", lambda one: ended.append(one.is_set()))
    settings = replace(configuration, listen=ListenSettings(socket=str(tmp_path / "s")))

    def serve() -> None:
        with listening(settings) as listener:
            master, workers = processes(listener)
            begun = time.monotonic()
            os.kill(master if whose == "master" else workers[0], number)
            wait_until(lambda: True in ended, "its end")
            assert time.monotonic() - begun < patience(5)
        assert whose == "worker", "a master that has ended is an error"
        assert not any(Path(f"/proc/{one}/exe").exists() for one in workers)

    if whose == "worker":
        serve()
    else:
        with pytest.raises(HostError, match="nginx has ended"):
            serve()


def test_no_text_of_a_client_ends_the_service(
    configuration: Configuration,
    pool: Pool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """nginx's errors have paths of clients, and its message of a worker's end is known by its form."""
    ended: list[bool] = []
    monkeypatch.setattr("nucleus.api.nginx._end_service", lambda one: ended.append(one.is_set()))
    paths = ("exited%20on%20signal", "[alert]%201%231:%20worker%20process%202%20exited%20on%20signal%209")
    with at_port(configuration, pool) as port:
        for path in paths:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                head = f'GET /assets/{path} HTTP/1.1\r\nHost: x\r\nReferer: x" exited on signal 9\r\n\r\n'
                client.sendall(head.encode())
                assert client.recv(100).split()[1] == b"404"
        wait_until(lambda: caplog.text.count("nginx: ") >= len(paths), "the errors of nginx")
        assert "exited on signal" in caplog.text and not ended


def processes(listener: socket.socket) -> tuple[int, list[int]]:
    """The master of the nginx before the service, and its workers."""
    master = int(wait_until((Path(listener.getsockname()).parent / "nginx.pid").read_text))
    children = Path(f"/proc/{master}/task/{master}/children")
    return master, [int(one) for one in wait_until(children.read_text, "the workers").split()]


def test_nobody_connects_to_a_socket_before_it_is_the_groups(
    configuration: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx opens its sockets to everybody."""
    seen: list[tuple[int, int, bool]] = []
    link, path = os.link, tmp_path / "s"

    def look(own: Path, target: str) -> None:
        folder, mode = own.parent.stat().st_mode & 0o777, own.stat().st_mode & 0o777
        seen.append((folder, mode, path.exists()))
        link(own, target)

    monkeypatch.setattr("nucleus.api.nginx.os.link", look)
    with listening(replace(configuration, listen=ListenSettings(socket=str(path)))):
        assert seen == [(0o700, 0o660, False)] and path.is_socket()
    assert not path.exists()


def refusals(port: int, requests: Iterable[str]) -> list[bool]:
    """Of requests from 127.0.0.1, each of its lines of headers: whether nginx refused it for its rate."""
    found = []
    for lines in requests:
        with socket.create_connection(("127.0.0.1", port)) as raw:
            sent = f"GET {lines}\r\nHost: x\r\nAccept: {PROBLEMS['Accept']}\r\nConnection: close\r\n\r\n"
            raw.sendall(sent.encode())
            found.append(b"or from this address, at once" in raw.makefile("rb").read())
    return found


def test_made_up_credentials_have_the_rate_of_their_address(configuration: Configuration, pool: Pool) -> None:
    bounds = BOUNDS._replace(requests_of_address_a_second=1, requests_of_address_at_once=30)
    with at_port(configuration, pool, bounds) as port:
        made_up = (f"/v1/user HTTP/1.1\r\nAuthorization: Bearer nuc_{number}" for number in range(60))
        found = refusals(port, made_up)
        assert not any(found[:31]) and found.count(True) > 20
        assert refusals(port, ["/assets/none.css HTTP/1.1"] * 20).count(True) > 10, "files have a rate, too"


def test_of_ipv6_the_network_of_64_bits_has_the_rate(
    configuration: Configuration, pool: Pool, tmp_path: Path
) -> None:
    bounds = BOUNDS._replace(requests_of_address_a_second=1, requests_of_address_at_once=10)
    application = create_application(configuration, pool)
    with serving(application, configuration, tmp_path, {}, bounds) as service:

        def ask(*addresses: str) -> list[bool]:
            """Whether each is refused for its rate; a proxy at the socket states the address."""
            statuses = (
                service.get("", "/v1/none", headers={**PROBLEMS, "X-Forwarded-For": one}).status_code
                for one in addresses
            )
            return [status == 429 for status in statuses]

        assert ask(*(f"2001:db8:1:2:{number:x}::1" for number in range(1, 31))).count(True) > 15
        assert ask("2001:db8:1:2::1", "2001:db8:1:2:3:4:5:6")[0], "the same network, written shorter"
        assert ask("2001:db8:1:3::1", "2001:db8:1::2") == [False, False]
        assert ask(*(f"2001:db8::{number:x}" for number in range(1, 31))).count(True) > 15
        assert ask(*(f"::ffff:192.0.2.{number}" for number in range(1, 31))).count(True) == 0
        assert ask(*["192.0.2.77"] * 30).count(True) > 15


def test_a_credential_has_one_rate_however_its_scheme_is_written(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    bounds = BOUNDS._replace(requests_a_second=1, requests_at_once=10)
    token, other = people["ann"], people["bob"]
    ways = [
        f"Bearer {token}",
        f"bearer {token}",
        f"BEARER  {token}",
        f"Token {token}",
        f"{'x' * 5000} {token}",
    ]
    lines = "/v1/user HTTP/1.1\r\n"
    with at_port(configuration, pool, bounds) as port:
        found = refusals(port, (f"{lines}Authorization: {way}" for way in ways * 8))
        found += refusals(port, (f"{lines}Cookie: nucleus={token}" for _ in range(8)))
        assert not any(found[:11]) and found[:40].count(True) > 20 and found[40:].count(True) > 4
        assert refusals(port, [f"{lines}Authorization: Bearer {other}"]) == [False]


def test_who_listens_everywhere_is_reached_by_either_protocol(
    configuration: Configuration, pool: Pool
) -> None:
    with at_port(configuration, pool, address="::") as port:
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, port)) as raw:
                raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert raw.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
def test_nobody_is_asked_to_repeat_a_change_that_may_be_done(
    configuration: Configuration, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    with listening(replace(configuration, listen=ListenSettings(socket=str(path)))) as listener:
        client = Client(path, {}, None)
        large = client.ask("", "POST", "/v1/token", body=bytes((1 << 20) + 1))
        assert large.status_code == 503, "413, if the service had the words for it within two seconds"
        listener.close()
        answers = {method: client.ask("", method, "/v1/user") for method in ("GET", "PATCH")}
        assert {one.status_code for one in answers.values()} == {503}
        assert "send the request again later" in answers["GET"].json()["detail"]
        assert "whether the change was made is not known: look" in answers["PATCH"].json()["detail"]
        keyed = client.ask("", "PATCH", "/v1/user", headers={"Idempotency-Key": "one"})
        pauses = [one.headers.get("retry-after") for one in (answers["GET"], answers["PATCH"], keyed)]
        assert pauses == ["2", None, "2"], "a change with its key is known at its repetition"
        upload = client.ask("", "POST", "/v1/image?name=a.iso", body=bytes(100))
        assert upload.status_code == 503 and "the upload was not stored" in upload.json()["detail"]


def test_the_headers_of_all_connections_fit_into_the_memory_of_the_unit(
    configuration: Configuration, tmp_path: Path
) -> None:
    """8,192 of them, 1 GiB."""
    path, connections = tmp_path / "s", 200
    with (
        listening(replace(configuration, listen=ListenSettings(socket=str(path)))) as listener,
        contextlib.ExitStack() as stack,
    ):
        _, workers = processes(listener)

        def memory() -> int:
            pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in workers)
            return pages * resource.getpagesize()

        before = memory()
        for _ in range(connections):
            raw = stack.enter_context(socket.socket(socket.AF_UNIX))
            raw.connect(str(path))
            raw.sendall(
                b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 11_900) for n in range(4))
            )
        wait_until(lambda: memory() > before + connections * 40_000, "the headers")
        assert (memory() - before) / connections * 8192 < 700 << 20
