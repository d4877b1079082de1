"""Answers of odd servers: cut off, of another program, with numbers and headers that are none."""

import json
import socket
import sys
import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler

import pytest

from comet import Client, CometError, RefusedError, UnreachableError
from comet.cli import context
from comet.client import connection
from comet.client.configuration import Endpoint
from comet.client.connection import Connection
from comet.client.problems import error_of
from comet.client.websocket import WebSocket
from tests.nucleus_server import TOKEN, NucleusServer, answer
from tests.servers import free_port
from tests.unit.comet.conftest import Comet, sent

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
