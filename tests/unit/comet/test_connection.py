"""Servers that are hostile, broken or silent: an error of the right kind, no traceback, no token elsewhere."""

from __future__ import annotations

import json
import math
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from comet import (
    AuthenticationError,
    Client,
    CometError,
    NotFoundError,
    RefusedError,
    SomeNodesFailedError,
    UnreachableError,
    UsageError,
)
from comet.cli import context
from comet.client import connection
from comet.client import connection as module
from comet.client.configuration import Endpoint
from comet.client.connection import Connection, error_of
from comet.client.errors import WaitTimeoutError
from comet.client.waiting import Waiter
from comet.client.websocket import WebSocket
from tests.nucleus_server import TOKEN, NucleusServer, answer, published_nucleus
from tests.servers import free_port
from tests.unit.comet.conftest import ISO, Comet, sent


@pytest.mark.parametrize(
    "body",
    [
        *(b"<html>", b"", b"{", b"\xff\xfe", b"[" * 200_000, b'{"a": 1}', b"[3]", b'[{"name": 3}]'),
        *(b'[{"name": "x", "computes": {}}]', b'[{"name": "x", "vlan": "seven"}]'),
        b'[{"name": "x", "computes": [{"name": "y", "interface": 3}]}]',
    ],
)
def test_an_answer_that_is_not_one_of_nucleus_is_an_error(
    server: NucleusServer, client: Client, body: bytes
) -> None:
    server.answers["/cluster"] = answer(200, body)
    with pytest.raises(UnreachableError):
        client.clusters()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: NucleusServer, client: Client, status: int) -> None:
    server.answers["/cluster"] = answer(status, b"", Location="http://127.0.0.1:9/steal\x1b[2J")
    with pytest.raises(UnreachableError, match="redirects") as error:
        client.clusters()
    assert str(error.value).isprintable()
    assert len(server.requests) == 1


def test_a_body_without_an_end_is_given_up(
    server: NucleusServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_BODY", 1_000_000)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while True:
            try:
                handler.wfile.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            except OSError:
                return

    server.answers["/cluster"] = endless
    with pytest.raises(UnreachableError, match="larger"):
        client.clusters()


def test_a_server_that_says_nothing_is_given_up(server: NucleusServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = Endpoint("dev", f"http://127.0.0.1:{silent.getsockname()[1]}", "ann", TOKEN)
        with Client(endpoint, timeout=0.2) as client, pytest.raises(UnreachableError, match="no answer in"):
            client.clusters()


def test_a_server_that_never_ends_its_headers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as slow:

        def drip() -> None:
            taken, _ = slow.accept()
            try:
                taken.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    taken.sendall(b"X")
                    threading.Event().wait(0.02)
            except OSError:
                taken.close()

        threading.Thread(target=drip, daemon=True).start()
        endpoint = Endpoint("dev", f"http://127.0.0.1:{slow.getsockname()[1]}", "ann", TOKEN)
        with Client(endpoint, timeout=0.2) as client, pytest.raises(UnreachableError):
            client.clusters()


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 4])
def test_a_change_whose_answer_is_lost_is_asked_again_with_its_key(
    server: NucleusServer, client: Client, times: int
) -> None:
    """Also by a server that is still down when it is asked again."""
    lost: list[str] = []

    def lose(handler: BaseHTTPRequestHandler) -> None:
        if len(lost) == times - 1:
            del server.answers["/computeset"]
        lost.append(handler.headers["Idempotency-Key"])
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    server.answers["/computeset"] = lose
    assert client.start("vc2", count=1).computeset == 1
    keys = [headers["Idempotency-Key"] for method, _, headers, _ in server.requests if method == "POST"]
    assert keys == [lost[0]] * (times + 1)


def busy(server: NucleusServer, path: str, seconds: int) -> list[str]:
    """Have the server be busy for two requests of the path; returns their nonces, as they come."""
    refused: list[str] = []

    def refuse(handler: BaseHTTPRequestHandler) -> None:
        refused.append(handler.headers["nonce"])
        if len(refused) == 2:
            del server.answers[path]
        answer(429, b'{"code": "rate-limited", "detail": "Too many"}', Retry_After=str(seconds))(handler)

    server.answers[path] = refuse
    return refused


def test_a_busy_server_is_asked_again_when_it_says(server: NucleusServer, client: Client) -> None:
    refused = busy(server, "/poweron", 0)
    assert [it.error for it in client.power("vc2", "on")] == [None]
    assert len(refused) == 2
    refused = busy(server, "/cluster", 0)
    assert client.clusters()
    assert len(refused) == 2


def test_each_request_is_signed_anew(server: NucleusServer) -> None:
    refused = busy(server, "/cluster", 0)
    endpoint = Endpoint("dev", server.url, "ann", signature=("ann@example.org", "secret"))
    with Client(endpoint) as client, pytest.raises(CometError):
        client.clusters()  # the test's server takes no signatures
    assert len(set(refused)) == 2


def test_a_long_pause_is_not_waited_for(
    server: NucleusServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("comet.client.connection.time.sleep", slept.append)
    refused = busy(server, "/cluster", 59)
    with pytest.raises(RefusedError, match="Too many"):
        client.clusters()
    assert len(refused) == 1 and slept == []


@pytest.mark.parametrize("path", ["/cluster/vc2", "/poweron"])
def test_a_server_that_has_no_answer_is_asked_again_when_it_says(
    server: NucleusServer, client: Client, path: str
) -> None:
    """Reads and changes; the person knows why it takes so long. Without a time it is not asked again."""
    refused, lines = [], list[str]()

    def away(handler: BaseHTTPRequestHandler) -> None:
        refused.append(1)
        if len(refused) == 3:
            del server.answers[path]
        answer(503, b'{"code": "backend-unavailable", "detail": "no"}', Retry_After="0")(handler)

    server.answers[path] = away
    client.connection.report = lines.append
    assert client.cluster("vc2").name == "vc2" if path.startswith("/cluster") else client.power("vc2", "on")
    assert lines == ["no answer, trying again"] and len(refused) == 3
    server.answers["/cluster/vc2"] = answer(503, b'{"code": "backend-unavailable", "detail": "no"}')
    with pytest.raises(UnreachableError):
        client.cluster("vc2")


@pytest.mark.parametrize(("status", "seconds"), [(429, 60), (503, 10)])
def test_a_server_without_an_answer_is_asked_for_the_time_that_an_answer_may_take(
    server: NucleusServer, monkeypatch: pytest.MonkeyPatch, status: int, seconds: int
) -> None:
    """A busy one for a minute."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda pause: now.append(now.pop() + pause))
    server.answers["/cluster"] = answer(status, b'{"type": "/problems/x", "detail": "no"}', Retry_After="5")
    with (
        Client(Endpoint("dev", server.url, "ann", token="t"), timeout=10) as client,
        pytest.raises(CometError),
    ):
        client.clusters()
    assert now == [1000.0 + seconds]


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_ends_in_its_time_while_the_server_is_busy(
    server: NucleusServer, client: Client, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    server.polls_until_done = 1
    (outcome,) = client.power("vc2", "on")
    server.answers["/operation"] = answer(status, b'{"type": "/problems/x", "detail": "no"}', Retry_After="7")
    with pytest.raises((UnreachableError, RefusedError, WaitTimeoutError)):
        Waiter(client, 10).follow(outcome)
    assert now == [1010.0]
    assert client.connection.ask_until == math.inf


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'"Node vm-0 is not available"', RefusedError),
        (400, b'{"type": "/problems/invalid-request", "detail": "wrong"}', UsageError),
        (403, b'{"type": "/problems/quota-exceeded", "detail": "too many"}', RefusedError),
        (404, b"{}", NotFoundError),
        (500, b"<html>" + b"x" * 50_000, UnreachableError),
        (418, b'{"detail": {"a": 1}, "errors": 7}', RefusedError),
        (404, b"x" * 1_000_000, UnreachableError),
    ],
)
def test_errors_are_of_the_kind_that_their_exit_status_needs(
    server: NucleusServer, client: Client, status: int, body: bytes, kind: type[CometError]
) -> None:
    server.answers["/cluster"] = answer(status, body)
    with pytest.raises(CometError) as error:
        client.cluster("vc2")
    assert type(error.value) is kind


def test_names_cannot_leave_their_place_in_a_path(server: NucleusServer, client: Client) -> None:
    for name in ("../user", "..", "a/b", "a?b", "a#b", "a b", "\r\nX: y", "ü"):
        with pytest.raises(NotFoundError):
            client.cluster(name)
    assert all(
        path.startswith("/nucleus/v1/cluster/") and path.count("/") == 5 for _, path, _, _ in server.requests
    )


def test_the_old_clients_key_signs_requests(server: NucleusServer) -> None:
    endpoint = Endpoint("dev", server.url, "ann", signature=("ann@example.org", "secret"))
    with Client(endpoint) as client, pytest.raises(CometError):
        client.clusters()
    (headers,) = [headers for _, _, headers, _ in server.requests]
    assert headers["X-Api-Key"] == "ann@example.org"
    assert headers["Authorization"].startswith("Signature ")
    assert len(headers["nonce"]) == 10


@pytest.fixture
def first(server: NucleusServer) -> Iterator[Client]:
    """A client of the published Nucleus, with a token of its sign-in."""
    published_nucleus(server, f"Token {'5' * 40}")
    with Client(Endpoint("dev", server.url, "ann", "5" * 40), timeout=60) as found:
        yield found


def test_the_published_nucleus_is_read(server: NucleusServer, first: Client) -> None:
    server.sets[1] = {"id": 1, "state": "running", "cluster": "vc2", "computes": []}
    assert [it.name for it in first.clusters()] == [first.cluster("vc2").name] == ["vc2"]
    assert first.node_info("vc2", "vm-vc2-0").name == "vm-vc2-0" and first.node_info("vc2").name == "vc2"
    assert first.computeset(1).id == 1 and first.isos() == ["public/debian.iso"]


def test_the_published_nucleus_renames_one_after_the_other(server: NucleusServer, first: Client) -> None:
    first.rename("vc2", {"vm-vc2-0": "n0", "vm-vc2-1": "n1"})
    assert [it["name"] for it in server.clusters[0]["computes"]] == ["n0", "n1", "vm-vc2-2", "vm-vc2-3"]
    with pytest.raises(SomeNodesFailedError, match="n1: Not found"):
        first.rename("vc2", {"n0": "n5", "n1": "vm-vc2-2"})
    with pytest.raises(NotFoundError):
        first.rename("vc2", {"none": "n7"})


def test_another_program_is_not_taken_for_the_published_nucleus(
    server: NucleusServer, client: Client, tmp_path: Path
) -> None:
    """Such as a proxy, whose errors are pages: nothing is renamed, and what it says is not put otherwise."""
    (tmp_path / "x.iso").write_bytes(ISO)
    server.answers[""] = answer(404, b"<h1>Not Found</h1>")
    with pytest.raises(NotFoundError, match="there is no Nucleus at this address"):
        client.rename("vc2", {"vm-vc2-0": "n0"})
    assert [method for method, *_ in server.requests] == ["POST", "GET"]
    for status in (400, 405):
        server.answers[""] = answer(status, b"<h1>Bad Request</h1>")
        for refused in (lambda: client.upload_iso(tmp_path / "x.iso"), lambda: client.console("vc2")):
            with pytest.raises(RefusedError, match=f"^the server answers {status}$"):
                refused()
        server.requests.clear()
        with pytest.raises(RefusedError, match=f"^the server answers {status}$"):
            client.rename("vc2", {"vm-vc2-0": "n0"})
        assert [method for method, *_ in server.requests] == ["POST"]


def test_an_error_between_two_names_says_which_are_renamed(server: NucleusServer, first: Client) -> None:
    server.answers = {"/vm-vc2-1/": answer(401, b'{"detail": "Expired"}'), **server.answers}
    with pytest.raises(AuthenticationError, match="vm-vc2-1: Expired.*; renamed before: vm-vc2-0 -> n0$"):
        first.rename("vc2", {"vm-vc2-0": "n0", "vm-vc2-1": "n1"})
    with pytest.raises(AuthenticationError, match="^Expired"):
        first.rename("vc2", {"vm-vc2-1": "n1"})


def test_what_the_published_nucleus_lacks_is_an_error(
    server: NucleusServer, first: Client, tmp_path: Path
) -> None:
    (tmp_path / "x.iso").write_bytes(ISO)
    with pytest.raises(RefusedError, match="published Nucleus, which takes images in forms"):
        first.upload_iso(tmp_path / "x.iso")
    with pytest.raises(RefusedError, match="published Nucleus, which gives no console"):
        first.console("vc2")
    server.answers = {"": answer(404, b"<h1>Not Found</h1>")}
    with pytest.raises(NotFoundError, match="there is no Nucleus at this address"):
        first.console("vc2")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_closed_port_is_unreachable(scheme: str) -> None:
    """Without a CA file those of the machine are trusted."""
    address = f"{scheme}://127.0.0.1:{free_port()}"
    with Client(Endpoint("dev", address, token=TOKEN)) as client, pytest.raises(UnreachableError) as refused:
        client.clusters()
    assert "CA file" not in str(refused.value)


@pytest.mark.parametrize(
    ("remedy", "expected"),
    [
        ({"code": "list-operations"}, "there is none. List them: comet operation list"),
        (
            {"code": "get-scope", "scope": "power", "scopes": "read,power", "user": "ann"},
            "there is none. Sign in with your password (comet init), where scripts need it make a token with it"
            " (comet token create --scopes=read,power), or ask the site's operators for one: nucleus token create ann"
            " --scope power",
        ),
        ({"code": "acknowledge", "user": "ann"}, "there is none. Read and acknowledge it: comet acknowledge"),
        (
            {"code": "eject-image", "targets": ["vc2", "vc2 n[0-1]"]},
            "there is none. Take it out first: comet iso detach vc2, comet iso detach vc2 'n[0-1]'. A machine that is"
            " on keeps it until it is off",
        ),
        ({"code": "get-scope"}, "there is none; GET /v1/x"),
        ({"code": "of-a-later-server"}, "there is none; GET /v1/x"),
        ({"code": ["x"]}, "there is none; GET /v1/x"),
        ("x", "there is none; GET /v1/x"),
        (None, "there is none; GET /v1/x"),
    ],
)
def test_a_remedy_of_the_server_is_a_command(
    server: NucleusServer, client: Client, remedy: object, expected: str
) -> None:
    document = {"detail": "there is none; GET /v1/x", "reason": "there is none", "remedy": remedy}
    server.answers["/operation"] = answer(404, json.dumps(document).encode())
    with pytest.raises(CometError) as refused:
        client.operations()
    assert str(refused.value) == expected


@pytest.mark.parametrize(
    ("detail", "errors", "expected"),
    [
        (
            "the request is not valid: scopes/0: it must be one of 'read'",
            [("#/scopes/0", "it must be one of 'read'"), ("#/scopes/1", "it must be one of 'read'")],
            "--scopes: it must be one of 'read'",
        ),
        (
            "a walltime of 9 minutes is not possible",
            [("#/walltime_mins", "1 to 5")],
            "a walltime of 9 minutes is not possible",
        ),
        ("the request is not valid: x", [], "the request is not valid: x"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_its_option(
    server: NucleusServer, client: Client, detail: str, errors: list[tuple[str, str]], expected: str
) -> None:
    document = {
        "detail": detail,
        "errors": [{"pointer": pointer, "detail": text} for pointer, text in errors],
    }
    server.answers["/operation"] = answer(400, json.dumps(document).encode())
    with pytest.raises(CometError) as refused:
        client.operations()
    assert str(refused.value) == expected


# Answers of odd servers: cut off, of another program, with numbers and headers that are none.


PAGE = b"\n<!DOCTYPE html><title>Sign in to this network</title>"


def cut_once(server: NucleusServer, path: str, **headers: str) -> None:
    """The next answer to the path is done and replayed later, but only its beginning comes."""

    def cut(handler: BaseHTTPRequestHandler) -> None:
        del server.answers[path]
        segments = handler.path.partition("?")[0].strip("/").split("/")[2:]
        body = server.requests[-1][3]
        status, document, _ = handler.once(segments, {}, body)  # type: ignore[attr-defined]
        whole = json.dumps(document).encode()
        handler.send_response(status)
        for name, value in (headers or {"Content-Length": str(len(whole))}).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write((f"{len(whole):x}\r\n".encode() if headers else b"") + whole[:20])
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    server.answers[path] = cut


@pytest.mark.parametrize("headers", [{}, {"Transfer_Encoding": "chunked"}])
def test_an_answer_that_is_cut_off_is_no_wrong_address(
    server: NucleusServer, client: Client, headers: dict[str, str]
) -> None:
    cut_once(server, "/cluster", **headers)
    with pytest.raises(UnreachableError, match="cannot be reached: its answer was cut off$"):
        client.clusters()
    assert [it.name for it in client.clusters()] == ["vc2"]


@pytest.mark.slow
@pytest.mark.parametrize("headers", [{}, {"Transfer_Encoding": "chunked"}])
def test_a_change_whose_answer_is_cut_off_is_asked_again_with_its_key(
    server: NucleusServer, client: Client, headers: dict[str, str]
) -> None:
    cut_once(server, "/poweron", **headers)
    (outcome,) = client.power("vc2", "on")
    assert outcome.operation is not None and outcome.operation.state == "succeeded"
    keys = [it["Idempotency-Key"] for method, _, it, _ in server.requests if method == "PUT"]
    assert len(keys) == 2 and len(set(keys)) == len(server.operations) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda client: client.power("vc2", "off"),
        lambda client: client.delete_iso("public/debian.iso"),
        lambda client: client.rename("vc2", {"vm-vc2-0": "n0"}),
        lambda client: client.revoke_token("tok00000"),
        lambda client: client.clusters(),
        lambda client: list(client.events(follow=False)),
    ],
)
def test_a_page_is_no_success(
    server: NucleusServer, client: Client, change: Callable[[Client], object]
) -> None:
    """A proxy, or the sign-in of a network, gives one with 200, whatever is asked."""
    server.answers[""] = answer(200, PAGE, Content_Type="text/html; charset=utf-8")
    with pytest.raises(UnreachableError, match="answers with a page"):
        change(client)


@pytest.mark.parametrize(
    "value",
    [
        "\u00b2",
        "1.5",
        "-1",
        "99999",
        "Sun, 21 Oct 2096 07:28:00 GMT",
        "Oct",
        "Wed, 21 Oct 2026 99:28 GMT",
        "",
    ],
)
def test_an_odd_time_to_wait_is_none(server: NucleusServer, client: Client, value: str) -> None:
    server.answers["/cluster"] = answer(429, b"{}", Retry_After=value)
    with pytest.raises(RefusedError) as refused:
        client.clusters()
    assert refused.value.retry_after is None and len(server.requests) == 1


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Sun, 06 Nov 2016 08:49:47 GMT", 10),
        ("Sunday, 06-Nov-16 08:49:47 GMT", 10),
        ("Sun Nov  6 08:49:47 2016", 10),
        ("Sun, 06 Nov 2016 08:49:00 GMT", 0),
    ],
)
def test_a_moment_to_ask_again_is_one_by_the_clock_of_the_server(date: str, seconds: int) -> None:
    """The forms of RFC 9110. It was not waited for."""
    headers = Message()
    headers["Date"], headers["Retry-After"] = "Sun, 06 Nov 2016 08:49:37 GMT", date
    assert error_of(429, headers, b"{}").retry_after == seconds
    headers.replace_header("Date", "yesterday")
    assert error_of(429, headers, b"{}").retry_after == 0, "this machine's clock is later"


@pytest.mark.parametrize(
    "header", [b"Retry-After: \xb2", b"Content-Length: \xff", b"Sec-WebSocket-Accept: \xff"]
)
def test_headers_of_a_console_that_are_no_text(header: bytes) -> None:
    status = b"101 Switching Protocols" if b"Accept" in header else b"503 Service Unavailable"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            taken, _ = server.accept()
            with taken:
                taken.recv(65536)
                taken.sendall(b"HTTP/1.1 %s\r\n%s\r\n\r\n" % (status, header))

        threading.Thread(target=refuse, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(CometError):
            WebSocket(Connection(Endpoint("dev", url, "ann", TOKEN), timeout=60), "/ws/ticket")


@pytest.mark.parametrize("line", [("computeset", "1"), ("computeset", "--format=json"), ("usage",)])
def test_a_number_that_has_no_float_is_no_fault_of_the_program(comet: Comet, line: tuple[str, ...]) -> None:
    assert comet("start", "vc2", "--count=1").status == 0
    comet.server.sets[1] |= {"charged_so_far_seconds": 10**400, "start_time": 10**400}
    comet.server.answers["/usage"] = answer(200, b'[{"charged_seconds": 1%s}]' % (b"0" * 400))
    printed = comet(*line)
    assert (printed.status, "too large a number" in printed.err) == (
        (0, False) if line[0] == "usage" else (6, True)
    )


def test_a_time_that_does_not_fit_a_certificate_leads_to_the_clock() -> None:
    connection = Connection(Endpoint("dev", "https://n.example.org"))
    for reason, remedy in (
        ("certificate is not yet valid", "is the time of this machine right? See: date"),
        ("certificate has expired", "is the time of this machine right? See: date"),
        ("self-signed certificate", "comet init --ca=FILE"),
    ):
        with pytest.raises(UnreachableError) as failed, connection._guarded():
            raise OSError(
                f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {reason} (_ssl.c:1000)"
            )
        assert str(failed.value).endswith(remedy)


def test_https_to_a_port_without_tls_leads_to_the_address(server: NucleusServer) -> None:
    url = server.url.replace("http:", "https:")
    with Client(Endpoint("dev", url, "ann", TOKEN)) as client, pytest.raises(UnreachableError) as failed:
        client.clusters()
    assert "it does not answer with TLS, as https needs: is the address's port right?" in str(failed.value)
    assert "_ssl" not in str(failed.value)


def test_somebody_at_a_terminal_reads_that_a_silent_server_is_waited_for(
    comet: Comet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and only there."""
    written, silences = threading.Event(), [0.2, 60.0]

    def late(handler: BaseHTTPRequestHandler) -> None:
        written.wait(silences.pop(0))
        answer(200, b"[]")(handler)

    def warn(message: str) -> None:
        sys.stderr.write(message)
        written.set()

    monkeypatch.setattr(connection, "_SILENCE_SECONDS", 0.01)
    comet.server.answers["/cluster"] = late
    assert "does not answer" not in comet("ll").err
    monkeypatch.setattr(context, "warn", warn)
    monkeypatch.setattr(context, "_is_read_by_somebody", lambda: True)
    assert comet("ll").err.count("does not answer; waiting for it, 30 s at most") == 1


def test_an_operation_on_an_image_names_it_and_a_detach_is_called_so(comet: Comet) -> None:
    comet.server.operation("remove_image", image="project/demo/a.iso")
    comet.server.operation("attach_iso", cluster="vc2", node="vc2", image=None)
    table = comet("operation", "list").out
    assert "| project/demo/a.iso |" in table and "| detach_iso " in table and "attach_iso" not in table
    assert "attach_iso" in comet("operation", "list", "--format=json").out


def test_an_image_is_not_deleted_by_its_place_in_an_old_list(comet: Comet) -> None:
    """The server was away when it was asked, and is back for the change."""
    comet.server.images = ["public/b.iso", "public/c.iso"]
    assert comet("iso", "list").out == "1: b.iso\n2: c.iso\n"
    comet.server.images.insert(0, "public/a.iso")

    def away(handler: BaseHTTPRequestHandler) -> None:
        del comet.server.answers["/image"]
        answer(502, b"<html>")(handler)

    comet.server.answers["/image"] = away
    refused = comet("iso", "delete", "2", "--yes")
    assert refused.status == 6 and "nothing was changed: repeat the command" in refused.err
    assert sent(comet.server, "DELETE") == []
    assert comet("iso", "delete", "2", "--yes").out == "b.iso is being deleted\n"


def test_a_name_with_a_very_long_number_is_listed(comet: Comet) -> None:
    comet.server.clusters[0]["computes"][0]["name"] = f"vm{'1' * 5000}"
    for typed in (("ll",), ("cluster", "--sort=name")):
        assert comet(*typed).status == 0, typed


def test_the_answer_of_a_proxy_that_refuses_a_body_before_it_has_come_is_read() -> None:
    """It ends the connection, which is no reason to send the same again."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            taken, _ = server.accept()
            with taken:
                taken.recv(1000)
                taken.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 6\r\n\r\n<html>")

        threading.Thread(target=refuse, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        connection = Connection(Endpoint("dev", url, "ann", TOKEN), timeout=60)
        with pytest.raises(RefusedError, match="a proxy before the server refuses a request of this size"):
            connection.request("PATCH", "/image/upload/1", bytes(32 << 20), repeat=False)


@pytest.mark.parametrize("intervals", [b"null", b"3", b"[3]", b'{"begin": "x"}'])
def test_a_reservation_without_times_is_no_answer_of_nucleus(comet: Comet, intervals: bytes) -> None:
    comet.server.answers["/reservation"] = answer(200, b'[{"id": 1, "intervals": %s}]' % intervals)
    refused = comet("reservation", "list")
    assert (refused.status, "a reservation has no list of intervals" in refused.err) == (6, True)


@pytest.mark.parametrize("status", [0, 502])
def test_a_change_without_an_answer_may_be_done(server: NucleusServer, status: int) -> None:
    """The server goes on after the client's time: a node may be switched off a minute later."""
    left = threading.Event()
    answered = answer(status or 200, b"")

    def late(handler: BaseHTTPRequestHandler) -> None:
        if not status:
            left.wait(60)
        answered(handler)

    server.answers["/poweroff"] = server.answers["/cluster/vc2"] = late
    endpoint = Endpoint("dev", server.url, "ann", TOKEN)
    with Client(endpoint, timeout=0.2) as client:
        with pytest.raises(UnreachableError, match=r"look before you repeat it \(comet operation list\)$"):
            client.terminate(1, hard=True)
        with pytest.raises(UnreachableError) as asked:
            client.cluster("vc2")
    left.set()
    nobody = Client(endpoint._replace(url=f"http://127.0.0.1:{free_port()}/nucleus"), timeout=5)
    with nobody, pytest.raises(UnreachableError, match="refused") as away:
        nobody.terminate(1, hard=True)
    assert "repeat" not in f"{asked.value}{away.value}", "nothing can be done"
