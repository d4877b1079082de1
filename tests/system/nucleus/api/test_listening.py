"""Connections: who may connect, whom they name, and when those that do nothing end."""

import contextlib
import http.client
import json
import socket
from pathlib import Path

import pytest

from nucleus.api import listening, middleware
from nucleus.api.app import create_application
from nucleus.api.listening import listen
from nucleus.configuration import Configuration, ListenSettings
from nucleus.mirror.pool import Pool
from rocks.core.errors import HostError
from tests.servers import connected_when_named
from tests.system.nucleus.api.conftest import PROBLEMS, changed, started
from tests.system.nucleus.api.http_client import Client, answering
from tests.system.nucleus.api.test_events import emit
from tests.system.nucleus.conftest import sql
from tests.waiting import wait_until

WRONG = {"Authorization": "Bearer nuc_AAAAAAAA_" + "0" * 43, "Prefer": "respond-async"}


def sources(pool: Pool) -> list[str | None]:
    """Where wrong credentials came from, as the audit log has it."""
    rows = sql(pool, "SELECT source_ip FROM audit WHERE action = 'authenticate' ORDER BY seq")
    return [source for (source,) in rows]


def test_only_the_proxy_before_the_socket_states_where_a_request_is_from(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    behind = changed(configuration, "listen", socket="/some/socket")
    with started(behind, pool, people) as service:

        def ask(forwarded: str) -> int:
            return service.get("", "/v1/user", headers={**WRONG, "X-Forwarded-For": forwarded}).status_code

        assert {ask("10.9.9.9, 192.0.2.1") for _ in range(10)} == {401}
        assert ask("10.8.8.8, 192.0.2.1") == 429, "a stranger does not choose the address that is counted"
        assert ask("2001:db8::1") == 401, "others do not wait for him"
        assert ask("192.0.2.1, nothing") == 401
        sent = {"X-Forwarded-Proto": "https", "Host": "owners.example"}
        begun = service.ask(
            "ann", "POST", "/v1/image/upload", json={"name": "a.iso", "size": 9}, headers=sent
        )
        assert begun.headers["Location"].startswith("https://owners.example/")
    assert sources(pool) == ["192.0.2.1"] * 10 + ["2001:db8::1", None]
    with started(configuration, pool, people) as service:
        service.get("", "/v1/user", headers={**WRONG, "X-Forwarded-For": "192.0.2.7"})
    assert sources(pool)[-1] is None, "nobody is believed where users connect themselves"


def test_a_socket_is_open_to_its_group_and_served_once(tmp_path: Path) -> None:
    path = tmp_path / "nucleus.sock"
    settings = ListenSettings(socket=str(path))
    with listen(settings):
        assert path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(HostError, match="another process"):
            listen(settings)
    with listen(settings), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    path.unlink()
    path.write_text("notes")
    with pytest.raises(HostError, match="no socket"):
        listen(settings)
    assert path.read_text() == "notes"
    assert [one.name for one in tmp_path.iterdir()] == ["nucleus.sock"]
    with listen(ListenSettings(port=0)) as first, pytest.raises(HostError, match="cannot listen at"):
        listen(ListenSettings(port=first.getsockname()[1]))


def test_a_socket_accepts_connections_as_soon_as_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a restart the proxy was refused in between, and another process took it for one that nobody serves."""
    named = connected_when_named(monkeypatch)
    listen(ListenSettings(socket=str(tmp_path / "nucleus.sock"))).close()
    assert named == [(tmp_path / "nucleus.sock", 0o660)]


def test_a_connection_without_a_whole_request_ends(service: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HEADER_SECONDS", 0.5)
    for begin in (b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: "):
        with service.connected(begin) as raw, contextlib.suppress(ConnectionResetError):
            assert raw.recv(1000) == b"", begin
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal"
    with service.connected(request) as raw, raw.makefile("rb") as answers:
        assert answers.readline().startswith(b"HTTP/1.1 200")
        with contextlib.suppress(ConnectionResetError):
            answers.read()  # ends, although half a second request has come


def test_thousands_of_connections_that_wait_keep_nobody_out(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each took a file of the service for 20 or 30 seconds: with 8192 of them it accepted no other connection."""
    monkeypatch.setattr(listening, "MAX_WAITING", 20)
    begins = {
        "nothing": b"",
        "a head": b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
        "a body": b"POST /v1/token HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        "no upload": b"PUT /v1/image/upload/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
    }
    upload = f"POST /v1/image HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.tokens['ann']}\r\nmd5: {'0' * 32}"
    form = "\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 900\r\n\r\n"
    for kind, begin in begins.items():
        with contextlib.ExitStack() as connections:
            slow = connections.enter_context(service.connected((upload + form).encode()))
            silent = [connections.enter_context(service.connected(begin)) for _ in range(60)]
            assert service.get("ann", "/v1/user").status_code == 200, kind
            wait_until(lambda: len(_ended(silent)) >= 40, "the end of those that wait longest")  # noqa: B023
            assert _ended(silent[45:]) == [], f"{kind}: those that came last go on"
            assert _ended([slow]) == [], "an image may take its time"


def test_images_of_strangers_keep_nobody_out(service: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a refused image is read for 30 seconds; a byte now and then held a file of the service."""
    monkeypatch.setattr(listening, "MAX_WAITING", 20)
    monkeypatch.setattr(middleware, "UNREAD_SECONDS", 600.0)
    begin = b"POST /v1/image HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"

    def goes_on(one: socket.socket) -> bool:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            one.sendall(b"x")
            return True
        return False

    with contextlib.ExitStack() as connections:
        slow = []
        for _ in range(60):
            slow.append(connections.enter_context(service.connected(begin)))
            # at once: a connection that is ended as the one that waits longest loses what was not read
            assert slow[-1].recv(100).startswith(b"HTTP/1.1 401 ")
        wait_until(lambda: sum(map(goes_on, slow)) <= 20, "the end of those that wait longest")
        assert service.get("ann", "/v1/user").status_code == 200


def _ended(connections: list[socket.socket]) -> list[socket.socket]:
    """Those that the service has closed, without an answer."""
    found = []
    for one in connections:
        one.setblocking(False)
        try:
            assert one.recv(1000) == b""
            found.append(one)
        except BlockingIOError:
            pass
        except ConnectionResetError:
            found.append(one)
    return found


CHUNKED = b"POST /v1/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LINES = b"a: b\r\n" * 10_000


ENDLESS = {
    "path": (b"GET /", b"a" * 65536),
    "headers": (b"GET / HTTP/1.1\r\n", LINES),
    "header": (b"GET / HTTP/1.1\r\nA: ", b"a" * 65536),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\n", LINES),
    "extension": (CHUNKED + b"1;a=", b"a" * 65536),
    "extensions": (CHUNKED, (b"1;a=" + b"a" * 6000 + b"\r\nx\r\n") * 10),
}
"""How a request begins, and what follows again and again."""


def test_what_is_no_body_has_an_end(service: Client) -> None:
    """Headers without end on four connections took 2.5 GB. 100 MiB are far more than the buffers of a socket."""
    for kind, (begin, endless) in ENDLESS.items():
        with service.connected() as raw:
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                for part in (begin, *[endless] * 1600):
                    raw.sendall(part)
            assert raw.recv(100).startswith(b"HTTP/1.1 431 "), kind


def test_requests_of_usual_size_are_answered(service: Client) -> None:
    many = {f"X-{number}": "a" * 500 for number in range(90)}
    assert service.get("ann", "/v1/user", headers=many).status_code == 200
    body = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in b'{"scopes": ["read"]}') + b"0\r\nA: b\r\n\r\n"
    authorization = f"Authorization: Bearer {service.tokens['ann']}\r\nContent-Type: application/json\r\n"
    sent = CHUNKED.removesuffix(b"\r\n") + authorization.encode() + b"\r\n" + body
    with service.connected(sent) as raw:
        assert raw.recv(100).startswith(b"HTTP/1.1 201 ")


def test_requests_that_wait_for_each_other_are_few(service: Client, caplog: pytest.LogCaptureFixture) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with service.connected(request * 50) as raw:
        answered = b""
        while answered.count(b"HTTP/1.1 200") < 50:
            piece = raw.recv(65536)
            assert piece, f"the connection has ended after {answered!r}"
            answered += piece
    with service.connected() as raw, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        raw.sendall(request * 2000)
        assert raw.recv(100) == b"", "none of them was answered"
    assert "Traceback" not in caplog.text


def test_who_is_refused_cannot_stay_connected(service: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "REST_SECONDS", 0.5)
    request = b"POST /v1/token HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
    with service.connected(request) as raw, raw.makefile("rb") as answers:
        assert answers.readline().split()[1] in (b"400", b"413")
        raw.sendall(b"a")  # this ended the time for another request; the body has 99999998 bytes more
        with contextlib.suppress(ConnectionResetError):
            answers.read()


def test_of_large_answers_that_are_not_read_a_user_has_few(
    configuration: Configuration, pool: Pool, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of them would fill the memory of the service. Who reads gets all, and others notice nothing."""
    monkeypatch.setattr(middleware, "LARGE_ANSWER_BYTES", 20_000)
    monkeypatch.setattr(middleware, "MAX_UNREAD_BYTES", 1)
    listener = listen(ListenSettings(port=0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    def ask(path: str, headers: dict[str, str]) -> int:
        with contextlib.closing(
            http.client.HTTPConnection(*listener.getsockname(), timeout=60)
        ) as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status

    with answering(create_application(configuration, pool), listener), socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(listener.getsockname())
        raw.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        wait_until(lambda: ask("/openapi.json", PROBLEMS) == 429, "a refusal")
        assert ask("/v1/user", {"Authorization": f"Bearer {people['ann']}"}) == 200
        head, _, body = raw.makefile("rb").read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ") and json.loads(body)["openapi"]
        assert ask("/openapi.json", PROBLEMS) == 200


@pytest.mark.slow
def test_a_stream_that_is_never_read_ends(
    configuration: Configuration, pool: Pool, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel ends the connection; the stream's place among the user's is free then."""
    monkeypatch.setattr(listening, "UNREAD_SECONDS", 2)
    application = create_application(configuration, pool)
    listener = listen(ListenSettings(port=0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    emit(pool, *("x" * 150 for _ in range(4000)))
    with answering(application, listener), socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(listener.getsockname())
        head = f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {people['ann']}\r\n"
        raw.sendall(head.encode() + b"Last-Event-ID: 0\r\n\r\n")
        streams = application.state.service.stream_limit
        wait_until(lambda: bool(streams.count), "the stream")
        wait_until(lambda: not streams.count, "the end of the stream")
        assert not application.state.hub._by_id
