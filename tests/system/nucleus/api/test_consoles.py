"""Consoles: a ticket opens one console once, for as long as its owner may have it."""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.sync.client import ClientConnection, unix_connect

from lab.simulator import Simulator
from nucleus.api.app import create_application
from nucleus.backends.executor import Answer, Stream
from nucleus.configuration import Configuration
from nucleus.mirror.pool import Pool
from owners.consoles import rest as consoles_api
from tests.system.nucleus.api.conftest import PROBLEMS
from tests.system.nucleus.api.http_client import BOUNDS, Client, serving
from tests.system.nucleus.conftest import sql

FRONTEND = "/v1/cluster/vc2/frontend/console"
COMPUTE = "/v1/cluster/vc2/compute/vm-vc2-0/console"
SECONDS = 120.0
UNKNOWN_HOST = Answer(1, "", "Error: vm-container-0-0 (10.1.1.9) did not answer within 5 s; is it up?")


@pytest.fixture
def site() -> Simulator:
    """The simulated site."""
    return Simulator(clusters=3)


@pytest.fixture
def consoles(
    configuration: Configuration, pool: Pool, people: dict[str, str], site: Simulator, tmp_path: Path
) -> Iterator[Client]:
    """The service over a simulated site, where the frontend vc2 and its compute vm-vc2-0 run."""
    for name in ("vc2", "vm-vc2-0"):
        site.guests[name].state = "active"
    sql(pool, "UPDATE node SET state = 'active' WHERE rocks_name IN ('vc2', 'vm-vc2-0')")
    application = create_application(configuration, pool, site)
    with serving(application, configuration, tmp_path, people, BOUNDS) as client:
        yield client


def ticket_for(client: Client, path: str, kind: str, who: str = "ann") -> str:
    answer = client.ask(who, "POST", path, json={"type": kind})
    assert answer.status_code == 201, answer.text
    content = answer.json()
    assert content["ws_url"] == f"ws://site.example/ws/console/{content['ticket']}"
    assert content["page_url"] == f"http://site.example/console/{kind}/{content['ticket']}"
    assert len(content["ticket"]) == 43
    return str(content["ticket"])


def connect(client: Client, ticket: str, **options: Any) -> ClientConnection:
    return unix_connect(
        str(client.path),
        f"ws://site.example/ws/console/{ticket}",
        open_timeout=SECONDS,
        close_timeout=1,
        **options,
    )


def refusal(client: Client, ticket: str, **options: Any) -> Response:
    with pytest.raises(InvalidStatus) as refused, connect(client, ticket, **options):
        pass
    return refused.value.response


def is_refused(client: Client, ticket: str, status: int = 403, **options: Any) -> bool:
    return refusal(client, ticket, **options).status_code == status


def test_a_ticket_opens_the_serial_console_once(consoles: Client) -> None:
    ticket = ticket_for(consoles, COMPUTE, "serial")
    with connect(consoles, ticket, subprotocols=["binary"]) as console:
        assert console.subprotocol == "binary"
        assert console.recv(SECONDS) == b"vm-vc2-0 login: "
        console.send(b"ro\x00ot\n")
        assert console.recv(SECONDS) == b"ro\x00ot\n"
        assert is_refused(consoles, ticket), "used"
    assert is_refused(consoles, ticket)
    assert is_refused(consoles, "A" * 43)


def test_a_used_ticket_is_refused_by_a_problem_with_its_page(consoles: Client) -> None:
    ticket = ticket_for(consoles, COMPUTE, "serial")
    with connect(consoles, ticket) as console:
        console.recv(SECONDS)
    problem = json.loads(refusal(consoles, ticket, additional_headers=PROBLEMS).body or b"")
    assert (problem["code"], problem["status"]) == ("ticket-used", 403)
    assert consoles.get("", "/problems/ticket-used").status_code == 200


def test_a_ticket_opens_the_screen(consoles: Client) -> None:
    with connect(consoles, ticket_for(consoles, FRONTEND, "vnc")) as console:
        assert console.recv(SECONDS) == b"RFB 003.008\n"


def test_a_ticket_waits_for_half_a_minute(consoles: Client, pool: Pool) -> None:
    ticket = ticket_for(consoles, FRONTEND, "vnc")
    sql(pool, "UPDATE console_ticket SET expires = expires - INTERVAL 30 SECOND")
    assert is_refused(consoles, ticket)


def test_a_page_of_another_site_cannot_use_a_ticket(
    consoles: Client, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    ticket = ticket_for(consoles, FRONTEND, "serial")
    assert is_refused(consoles, ticket, origin="https://elsewhere.example")
    assert sql(pool, "SELECT action, target, outcome FROM audit WHERE actor = ''") == [
        ("console", "vc2/vc2", "foreign-page")
    ]
    foreign = refusal(consoles, ticket, origin="https://elsewhere.example", additional_headers=PROBLEMS)
    assert json.loads(foreign.body or b"")["code"] == "foreign-page"
    assert is_refused(consoles, ticket, origin="http://["), "which is no address"
    assert caplog.messages == [], "it is nobody's error"
    with connect(consoles, ticket, origin="http://site.example") as console:
        assert console.recv(SECONDS) == b"vc2 login: "


def test_a_ticket_is_worth_nothing_when_its_owner_has_left_the_project(consoles: Client, pool: Pool) -> None:
    ticket = ticket_for(consoles, FRONTEND, "serial")
    sql(pool, "DELETE FROM membership WHERE user_id = (SELECT id FROM user WHERE username = 'ann')")
    assert is_refused(consoles, ticket)


def test_a_user_has_a_bounded_number_of_consoles(consoles: Client) -> None:
    with ExitStack() as opened:
        for _ in range(8):
            opened.enter_context(connect(consoles, ticket_for(consoles, FRONTEND, "serial"))).recv(SECONDS)
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(consoles, ticket_for(consoles, FRONTEND, "serial"), additional_headers=PROBLEMS),
        ):
            pass
        answer = refused.value.response
        assert answer.status_code == 429 and answer.headers["Retry-After"]
        assert json.loads(answer.body or b"")["detail"] == "you have 8 consoles; end one first, or wait"
        with connect(consoles, ticket_for(consoles, FRONTEND, "serial", "root")) as console:
            assert console.recv(SECONDS) == b"vc2 login: ", "another user has some of his own"


def test_a_project_has_as_many_consoles_as_its_limit(consoles: Client, pool: Pool) -> None:
    sql(pool, "UPDATE project SET limits = '{\"consoles\": 1}' WHERE name = 'alpha'")
    second = ticket_for(consoles, FRONTEND, "serial")
    with connect(consoles, ticket_for(consoles, FRONTEND, "serial")) as console:
        console.recv(SECONDS)
        refused = consoles.ask("ann", "POST", FRONTEND, json={"type": "vnc"}, headers=PROBLEMS)
        assert (refused.status_code, refused.json()["code"]) == (403, "quota-exceeded")
        assert "consoles that are open at the same time" in refused.json()["detail"]
        assert is_refused(consoles, second, 400), "a ticket of before does not help"


def test_a_node_that_is_off_has_no_console(consoles: Client) -> None:
    path = "/v1/cluster/vc2/compute/vm-vc2-1/console"
    refused = consoles.ask("ann", "POST", path, json={"type": "vnc"}, headers=PROBLEMS)
    assert (refused.status_code, refused.json()["code"]) == (409, "state-conflict")
    assert refused.json()["detail"] == "vm-vc2-1 is off, so it has no console; power it on first"
    assert consoles.get("ann", path).status_code == 400, "as the published client expects it"


def test_a_node_whose_host_did_not_answer_is_not_called_off(consoles: Client, pool: Pool) -> None:
    sql(pool, "UPDATE node SET state = 'nostate-error' WHERE rocks_name IN ('vc2', 'vm-vc2-0')")
    sql(pool, "UPDATE node SET physical_host = NULL WHERE rocks_name = 'vm-vc2-0'")
    never = consoles.ask("ann", "POST", COMPUTE, json={"type": "vnc"}, headers=PROBLEMS)
    assert never.json()["detail"].startswith("vm-vc2-0 is off"), "nothing can run that never had a host"
    refused = consoles.ask("ann", "POST", FRONTEND, json={"type": "vnc"}, headers=PROBLEMS)
    assert (refused.status_code, refused.json()["code"]) == (409, "state-conflict")
    assert refused.json()["detail"] == (
        "whether vc2 is on is not known, because its host did not answer; try again in a minute"
    )


@pytest.mark.slow
@pytest.mark.parametrize("path", [FRONTEND, COMPUTE])
def test_the_published_row_leads_to_a_page(consoles: Client, path: str) -> None:
    answer = consoles.get("ann", path)
    assert answer.status_code == 303
    address = answer.headers["Location"]
    assert answer.text == address
    assert answer.headers["Cache-Control"] == "no-store"
    page = consoles.get("", address.removeprefix("http://site.example"))
    assert page.status_code == 200
    ticket = address.rpartition("/")[2]
    assert ticket not in page.text
    name, kind = ("vm-vc2-0", "compute") if path == COMPUTE else ("vc2", "frontend")
    assert f'data-cluster="vc2" data-node="{name}" data-kind="{kind}"' in page.text
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["Referrer-Policy"] == "no-referrer"
    with connect(consoles, ticket) as console:
        assert console.recv(SECONDS) == b"RFB 003.008\n", "the page has not used the ticket"


def test_what_a_page_loads_is_served(consoles: Client) -> None:
    for kind in ("vnc", "serial"):
        script = consoles.get("", f"/nucleus/assets/console/{kind}.js")
        assert script.status_code == 200
        assert script.headers["Content-Type"].startswith("text/javascript")
    assert consoles.get("", "/assets/../consoles.py").status_code == 404
    assert consoles.get("", "/assets/..%2fconsoles.py").status_code == 404


def test_the_last_lines_of_a_console(
    consoles: Client, site: Simulator, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    assert consoles.get("ann", f"{COMPUTE}/log?lines=5").json() == {"lines": ["vm-vc2-0 login: "]}
    sql(pool, "UPDATE node SET physical_host = NULL WHERE rocks_name = 'vm-vc2-0'")
    never = consoles.get("ann", f"{COMPUTE}/log").json()
    assert never == {"lines": [], "reason": "vm-vc2-0 has never run"}
    log = ("report", "host", "vm", "console")
    site.faults += [(log, lambda: Answer(0, "", "the host of vc2 has nothing")), (log, lambda: UNKNOWN_HOST)]
    silent, failed = (consoles.get("ann", f"{FRONTEND}/log", headers=PROBLEMS) for _ in range(2))
    assert silent.json()["lines"] == [] and "written nothing" in silent.json()["reason"]
    assert failed.status_code == 503 and failed.headers["X-Request-Id"] in failed.json()["detail"]
    assert f"request {failed.headers['X-Request-Id']}: " in caplog.text and "vm-container-0-0" in caplog.text
    assert consoles.get("bob", f"{COMPUTE}/log", headers=PROBLEMS).status_code == 404


@pytest.mark.parametrize(
    ("most", "lines"),
    [(4, []), (5, ["énd"]), (8, ["énd"]), (9, ["two", "énd"]), (1 << 20, ["one", "two", "énd"])],
)
def test_the_lines_that_so_many_bytes_hold(
    consoles: Client, site: Simulator, most: int, lines: list[str]
) -> None:
    """Whole ones, each with its end, in UTF-8; of all that the site gives, not of the last 200."""

    def console() -> Answer:
        return Answer(0, "one\ntwo\nénd\n", "")

    site.faults.append((("report", "host", "vm", "console", "vm-vc2-0", "lines=10000"), console))
    assert consoles.get("ann", f"{COMPUTE}/log?bytes={most}").json() == {"lines": lines}
    assert [consoles.get("ann", f"{COMPUTE}/log?bytes={one}").status_code for one in (0, (1 << 20) + 1)] == [
        400
    ] * 2


def test_the_screen_of_a_node_that_is_on_is_a_picture(
    consoles: Client, site: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    answer = consoles.get("ann", f"{COMPUTE}/screen")
    assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == ("image/png", "no-store")
    assert answer.content.startswith(b"\x89PNG")
    off = consoles.get("ann", "/v1/cluster/vc2/compute/vm-vc2-1/console/screen", headers=PROBLEMS)
    assert off.status_code == 409 and "vm-vc2-1 is not on" in off.json()["detail"]
    site.guests["vc2"].state = "nostate"  # it went off, which no poll has seen yet
    failed = consoles.get("ann", f"{FRONTEND}/screen", headers=PROBLEMS)
    assert failed.status_code == 503 and failed.headers["X-Request-Id"] in failed.json()["detail"]
    assert f"request {failed.headers['X-Request-Id']}: " in caplog.text
    assert consoles.get("bob", f"{COMPUTE}/screen", headers=PROBLEMS).status_code == 404


def test_no_owner_sees_a_machine_that_got_the_name_since_the_last_poll(
    consoles: Client, site: Simulator, pool: Pool
) -> None:
    """Another one was added under the name: it may be another owner's."""
    guest = site.guests["vm-vc2-0"]
    sql(pool, "UPDATE node SET uuid = %s WHERE rocks_name = 'vm-vc2-0'", (guest.uuid,))
    with connect(consoles, ticket_for(consoles, COMPUTE, "serial")) as console:
        assert console.recv(timeout=SECONDS) == b"vm-vc2-0 login: "
    assert [consoles.get("ann", f"{COMPUTE}/{what}").status_code for what in ("log", "screen")] == [200] * 2
    guest.uuid = "11111111-2222-4333-8444-555555555555"
    for what in ("log", "screen"):
        answer = consoles.get("ann", f"{COMPUTE}/{what}", headers=PROBLEMS)
        assert answer.status_code == 503 and "could not do this for vm-vc2-0" in answer.json()["detail"]
    for kind in ("serial", "vnc"):
        assert is_refused(consoles, ticket_for(consoles, COMPUTE, kind))


def test_a_host_that_answers_slowly_holds_few_places_for_pictures(consoles: Client, pool: Pool) -> None:
    """One person leaves a place to others; nodes of other hosts have their pictures meanwhile."""
    begun, end = Semaphore(0), Event()

    def read_screen(name: str) -> bytes:
        if name == "vm-vc2-0":
            begun.release()
            assert end.wait(SECONDS)
        return b"picture"

    consoles.application.state.service.rocks.read_screen = read_screen
    sql(pool, "UPDATE node SET physical_host = 'vm-container-0-3' WHERE rocks_name = 'vm-vc2-0'")
    with ThreadPoolExecutor(3) as threads:
        slow = [threads.submit(consoles.get, who, f"{COMPUTE}/screen") for who in ("ann", "ann", "root")]
        try:
            for _ in slow:
                assert begun.acquire(timeout=SECONDS)
            refused = consoles.get("root", f"{COMPUTE}/screen", headers=PROBLEMS)
            assert refused.status_code == 429 and "of one host" in refused.json()["detail"]
            assert consoles.get("root", f"{FRONTEND}/screen").content == b"picture"
        finally:
            end.set()
        assert [one.result().content for one in slow] == [b"picture"] * 3
    assert consoles.get("root", f"{COMPUTE}/screen").content == b"picture"


def test_a_user_reads_few_consoles_at_the_same_time(consoles: Client) -> None:
    """Each starts a program of root's, and has a thread until that has ended."""
    begun, end = Semaphore(0), Event()

    def read_console(_name: str, _lines: int) -> list[str]:
        begun.release()
        assert end.wait(SECONDS)
        return ["last"]

    consoles.application.state.service.rocks.read_console = read_console
    with ThreadPoolExecutor(2) as threads:
        first = [threads.submit(consoles.get, "ann", f"{COMPUTE}/log") for _ in range(2)]
        try:
            for _ in first:
                assert begun.acquire(timeout=SECONDS)
            refused = consoles.get("ann", f"{COMPUTE}/log", headers=PROBLEMS)
            assert (refused.status_code, refused.json()["code"]) == (429, "rate-limited")
            assert consoles.get("ann", "/v1/cluster").status_code == 200
        finally:
            end.set()
        assert [one.result().json() for one in first] == [{"lines": ["last"]}] * 2
    assert consoles.get("ann", f"{COMPUTE}/log").status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize(("of_host", "at_a_time"), [(3, 2), (1, 1)])
def test_consoles_that_open_slowly_hold_up_no_others(
    consoles: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch, of_host: int, at_a_time: int
) -> None:
    """Two of a user are opened at a time, and three of a host, in threads of their own; the next ones wait."""
    monkeypatch.setattr(consoles_api, "MAX_OF_HOST", of_host)
    sql(pool, "UPDATE node SET physical_host = 'vm-container-0-3' WHERE rocks_name = 'vm-vc2-0'")
    begun, end = Semaphore(0), Event()
    rocks = consoles.application.state.service.rocks
    quickly = rocks.open_console

    def open_console(name: str, kind: str) -> Stream:
        if name == "vm-vc2-0":
            begun.release()
            assert end.wait(SECONDS)
        stream: Stream = quickly(name, kind)
        return stream

    def first_bytes(ticket: str) -> bytes:
        with connect(consoles, ticket) as console:
            return bytes(console.recv(SECONDS))

    rocks.open_console = open_console
    tickets = [ticket_for(consoles, COMPUTE, "serial") for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        slow = [threads.submit(first_bytes, one) for one in tickets]
        try:
            assert all(begun.acquire(timeout=SECONDS) for _ in range(at_a_time))
            assert not begun.acquire(timeout=1)
            others = ticket_for(consoles, FRONTEND, "serial", "root")
            assert first_bytes(others) == b"vc2 login: "
        finally:
            end.set()
        assert [one.result() for one in slow] == [b"vm-vc2-0 login: "] * 8


def test_a_token_without_the_right_to_consoles_gets_none(consoles: Client, pool: Pool) -> None:
    sql(pool, "UPDATE token SET scopes = 'read power' WHERE id = %s", (consoles.tokens["ann"].split("_")[1],))
    refused = consoles.ask("ann", "POST", FRONTEND, json={"type": "vnc"}, headers=PROBLEMS)
    assert (refused.status_code, refused.json()["code"]) == (403, "missing-scope")
    for what in ("log", "screen"):
        assert consoles.get("ann", f"{FRONTEND}/{what}", headers=PROBLEMS).status_code == 403


def test_refusals_of_consoles_are_in_the_audit_log(consoles: Client, pool: Pool) -> None:
    """Who sends a ticket is not known; of those that were made up a few are recorded."""
    ticket = ticket_for(consoles, COMPUTE, "serial")
    with connect(consoles, ticket) as console:
        console.recv(SECONDS)
    assert is_refused(consoles, ticket)
    assert [is_refused(consoles, one * 43) for one in "ABCDEFGHIJK"] == [True] * 10 + [False]
    sql(pool, "UPDATE token SET scopes = 'read power' WHERE id = %s", (consoles.tokens["ann"].split("_")[1],))
    assert consoles.ask("ann", "POST", FRONTEND, json={"type": "vnc"}).status_code == 403
    for what in ("log", "screen"):
        assert consoles.get("ann", f"{FRONTEND}/{what}").status_code == 403
    assert sql(pool, "SELECT actor, action, target, outcome FROM audit ORDER BY seq") == [
        ("ann", "console", "vc2/vm-vc2-0", "accepted"),
        ("", "console", "vc2/vm-vc2-0", "ticket-used"),
        *[("", "console", "/ws/console", "ticket-used")] * 10,
        ("ann", "console", FRONTEND, "missing-scope"),
        ("ann", "read", f"{FRONTEND}/log", "missing-scope"),
        ("ann", "read", f"{FRONTEND}/screen", "missing-scope"),
    ]


def test_no_log_has_a_ticket(consoles: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nucleus")
    ticket = ticket_for(consoles, FRONTEND, "serial")
    consoles.get("", f"/console/serial/{ticket}")
    with connect(consoles, ticket) as console:
        console.recv(SECONDS)
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("nucleus")]
    assert any(json.loads(line)["path"] == "/console/…" for line in logged if line.startswith("{")), logged
    assert not any(ticket in line for line in logged)
