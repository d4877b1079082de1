"""Bad input and faults as strangers and the site bring them; docs/security.md has the list with its outcomes."""

import base64
import contextlib
import json
import logging
import socket
import time
from pathlib import Path

import pytest

from nucleus.api.access.throttles import Rate
from nucleus.configuration import Configuration
from nucleus.mirror import audit
from nucleus.mirror.pool import Pool
from tests.system.nucleus.api.conftest import ISO, PROBLEMS, changed, started
from tests.system.nucleus.api.http_client import SECONDS, Client

SETS = "/v1/computeset"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
JSON = {"Content-Type": "application/json", **PROBLEMS}


def raw(service: Client, head: str, body: bytes = b"") -> contextlib.AbstractContextManager[socket.socket]:
    """A connection on which this was sent, with the token of ann."""
    authorization = f"Authorization: Bearer {service.tokens['ann']}"
    return service.connected(f"{head}\r\n{authorization}\r\n\r\n".encode("latin-1") + body)


def status_of(connection: socket.socket) -> int:
    """The status of the answer that comes."""
    with connection.makefile("rb") as answer:
        return int(answer.readline().split()[1])


def test_a_database_that_is_away_and_comes_back(
    configuration: Configuration, pool: Pool, people: dict[str, str], tmp_path: Path
) -> None:
    """Owners are refused with a reason, no thread waits, and the next request after its return is answered."""
    place = tmp_path / "mysql.sock"
    away = changed(configuration, "database", socket=str(place))
    service_pool = Pool(away.database)
    try:
        with started(away, service_pool, people) as service:
            for _ in range(50):  # more than the service has threads and connections
                answer = service.get("ann", "/v1/cluster", headers=PROBLEMS)
                assert (answer.status_code, answer.json()["code"]) == (503, "backend-unavailable")
            assert service.get("", "/healthz").status_code == 200, "the process itself is well"
            ready = service.get("", "/readyz")
            assert ready.status_code == 503 and "/" not in ready.text, "anybody may ask"
            place.symlink_to(configuration.database.socket)
            assert service.get("ann", "/v1/cluster").status_code == 200
            place.unlink()
            assert service.get("", "/healthz").status_code == 200
    finally:
        service_pool.close()


@pytest.mark.slow
def test_a_hundred_slow_uploads_hold_up_nobody(service: Client) -> None:
    with contextlib.ExitStack() as connections:
        sending = []
        for n in range(100):
            head = f"POST /v1/image?name={n}.iso HTTP/1.1\r\nHost: x\r\nContent-Length: {len(ISO)}"
            sending.append(connections.enter_context(raw(service, head, b"some bytes")))
        refused, end = 0, time.monotonic() + SECONDS
        while refused < 96:  # four wait for more bytes
            assert time.monotonic() < end, f"{refused} of 100 were refused"
            answered = [one for one in sending if _has_answer(one)]
            refused += len(answered)
            for one in answered:
                assert status_of(one) in (400, 429)
                sending.remove(one)
        assert service.get("bob", "/v1/cluster").status_code == 200
        assert service.ask("bob", "POST", "/v1/image?name=b.iso", body=ISO).status_code == 204


def _has_answer(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
    finally:
        connection.settimeout(SECONDS)


def test_no_log_has_what_proves_who_somebody_is(
    service: Client, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = service.tokens["ann"]
    secret = token.split("_")[2]
    basic = base64.b64encode(f"ann:{token}".encode()).decode()
    service.get("ann", "/v1/cluster")
    service.get("", "/v1/cluster", headers={"Authorization": f"Basic {basic}"})
    service.get("", "/v1/cluster", headers={"Authorization": f"Bearer {token}x"})
    service.get("", "/v1/cluster", headers={"X-Request-ID": token, "traceparent": token})
    service.get("ann", f"/v1/cluster?name={token}&fields={token}")
    service.ask("", "POST", "/rest-auth/login", json={"username": "ann", "password": token})
    service.ask("ann", "POST", "/v1/token", json={"note": "n", "scopes": [token]})
    made = service.ask("ann", "POST", "/v1/token", json={"scopes": ["read"]}).json()["token"]
    service.ask("ann", "DELETE", f"/v1/token/{token}")
    service.get("ann", f"/v1/cluster/{token}")
    with pool.transaction() as session:
        rows = [str(row.entry) for row in audit.rows(session)]
    assert any(f"target='/v1/token/{token[:12]}_…'" in row for row in rows), "which token it was"
    logged = [one.getMessage() for one in caplog.records if not one.name.startswith("uvicorn")]
    assert len(rows) >= 5 and len(logged) >= 8
    for text in (*rows, *logged):
        assert secret not in text and made.split("_")[2] not in text and basic not in text, text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/cluster", 200),
        ("GET", "/docs", 200),
        ("GET", "/v1/cluster/none", 404),
        ("GET", "/nothing", 404),
        ("POST", "/v1/cluster", 405),
        ("PUT", "/v1/user", 400),
        ("GET", "/console/vnc/none", 200),
        ("GET", "/assets/none", 404),
    ],
)
def test_every_answer_forbids_frames_and_scripts_of_others(
    service: Client, method: str, path: str, status: int
) -> None:
    answer = service.ask("ann", method, path, body=b"x", headers=JSON)
    assert answer.status_code == status
    (policy,) = answer.headers.get_all("Content-Security-Policy", [])
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "script-src" not in policy.replace("script-src 'self'", "")
    for name, value in HEADERS.items():
        assert answer.headers.get_all(name) == [value]


def test_clients_choose_no_header_of_an_answer(service: Client) -> None:
    """Names and identifiers with line ends, hosts that are none; a request with two lengths is none."""
    answer = service.get("ann", "/v1/cluster/a%0d%0aSet-Cookie:%20x=1", headers=PROBLEMS)
    assert answer.status_code == 404 and "Set-Cookie" not in answer.headers
    for value in ("a b", "x" * 65, "\xe9", "nuc_a", "a\tb", "<b>"):
        answer = service.get("ann", "/v1/user", headers={"X-Request-ID": value, "traceparent": value})
        assert answer.status_code == 200 and answer.headers["X-Request-ID"] != value
    for host in ("a.example/..", "a.example@b.example", "a b", '"', "[::1"):
        head = f"PUT /v1/cluster/vc2/frontend/poweron HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0"
        with raw(service, head, b"") as connection:
            text = connection.recv(65536).decode("latin-1")
        if text.startswith("HTTP/1.1 204"):
            assert "\r\nlocation: /v1/operation/" in text.lower(), text
        else:
            assert text.startswith("HTTP/1.1 400") or text.startswith("HTTP/1.1 409"), text
    with raw(
        service, "POST /v1/user HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2", b"ab"
    ) as two:
        assert status_of(two) == 400
    both = "POST /v1/user HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 9"
    with raw(service, both, b"0\r\n\r\n") as smuggled:
        assert status_of(smuggled) in (400, 405)


BOMBS: dict[str, bytes] = {
    "deep arrays": b"[" * 500_000,
    "deep objects": b'{"cluster":' * 50_000,
    "a large number": b'{"cluster": "vc2", "count": ' + b"9" * 500_000 + b"}",
    "a small number": b'{"cluster": "vc2", "count": 1e999999}',
    "NaN": b'{"cluster": "vc2", "count": NaN}',
    "one name twice": b'{"cluster": "vc3", "cluster": "none"}',
    "many names": b"{" + b",".join(b'"%d": 1' % n for n in range(50_000)) + b"}",
    "a list that is large when it is written out": b'{"cluster": "vc2", "computes": "n[0-9999999]"}',
    "a list of ranges": json.dumps(
        {"cluster": "vc2", "computes": f"n[{','.join(['0-99999'] * 500)}]"}
    ).encode(),
    "a list of long names": json.dumps({"cluster": "vc2", "computes": "n[0-99999]" + "[0]" * 1300}).encode(),
    "lists of lists": b'{"cluster": "vc2", "computes": "a[0-99]b[0-99]c[0-99]d[0-99]"}',
    "a lone surrogate": b'{"cluster": "\\ud800"}',
    "NUL": b'{"cluster": "vc2\\u0000"}',
    "no UTF-8": b'{"cluster": "\xff"}',
    "UTF-16": '{"cluster": "vc2"}'.encode("utf-16"),
    "nothing": b"",
}


@pytest.mark.slow
def test_odd_json_is_refused_at_once(service: Client) -> None:
    for kind, body in BOMBS.items():
        service.forget_rates()
        answer = service.ask("ann", "POST", SETS, body=body, headers=JSON)
        assert answer.status_code in (400, 404, 413, 422), (kind, answer.text)
        assert len(answer.content) < 20_000 and answer.json()["code"] != "internal-error", kind


def test_a_large_body_is_read_of_people_only_and_counts_as_many_requests(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its JSON is read in the thread of all: four of them in a second would keep the others out."""
    body = b'{"cluster": "' + b"x" * 900_000  # no JSON, which is seen by who reads it
    wrong = {"Authorization": f"Bearer nuc_{'A' * 8}_{'B' * 43}"}
    for headers in ({}, wrong):
        answer = service.ask("", "POST", SETS, body=body, headers={**JSON, **headers})
        assert answer.status_code == 401
    known = service.application.state.service
    known.request_rate = Rate("requests", 1 / 3600, 100)
    answers = [service.ask("ann", "POST", SETS, body=body, headers=JSON) for _ in range(3)]
    assert [one.status_code for one in answers] == [400, 400, 429]
    asked, identify = list[object](), known.authenticator.identify
    monkeypatch.setattr(
        known.authenticator, "identify", lambda request: (asked.append(request), identify(request))[1]
    )
    assert service.ask("bob", "POST", SETS, body=body + b'"}', headers=JSON).status_code == 400
    assert len(asked) == 1, "a signature is taken once"


def test_a_cursor_of_other_characters_is_none(service: Client) -> None:
    """The database compares identifiers with ASCII only."""
    cursor = base64.urlsafe_b64encode("é".encode()).decode()
    for path in ("/v1/cluster", "/v1/operation", "/v1/reservation", SETS):
        assert service.get("ann", f"{path}?cursor={cursor}", headers=PROBLEMS).status_code == 400, path


def test_a_compressed_body_is_not_unpacked(service: Client) -> None:
    answer = service.ask(
        "ann", "POST", SETS, body=b"\x1f\x8b" + bytes(100), headers={**JSON, "Content-Encoding": "gzip"}
    )
    assert answer.status_code == 400
