"""What one owner can take of the service, so that the others do not notice."""

import hashlib
import json
import select
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from nucleus.api import operations, quotas
from nucleus.api import service as service_module
from nucleus.api.access.throttles import AtOnce, Rate
from nucleus.configuration import Configuration
from nucleus.mirror import driver, identity
from nucleus.mirror import pool as pools
from nucleus.mirror.pool import Pool, Session
from tests.patience import patience
from tests.system.nucleus.api.conftest import ISO, MODERN, PROBLEMS
from tests.system.nucleus.api.http_client import Client, Connection
from tests.system.nucleus.conftest import frozen, sql
from tests.waiting import at_once, wait_until

POWER = "/v1/cluster/vc2/frontend/poweron"


def test_a_project_has_a_limit_of_unfinished_changes(
    service: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "MAX_UNFINISHED", 2)

    def power(who: str, cluster: str, action: str) -> tuple[int, str]:
        path = f"/v1/cluster/{cluster}/frontend/{action}"
        answer = service.ask(who, "PUT", path, headers={**MODERN, **PROBLEMS})
        return answer.status_code, answer.headers.get("Retry-After", "")

    assert [power("ann", "vc2", one)[0] for one in ("poweron", "poweroff", "poweroff")] == [202] * 3
    assert power("ann", "vc2", "poweron") == (429, "10"), "two wait: what was merged is none more"
    assert power("bob", "vc3", "poweron")[0] == 202
    sent = service.ask("ann", "POST", "/v1/image?name=a.iso", body=ISO, headers=MODERN)
    assert sent.status_code == 202, "an image is no operation of a node"
    sql(pool, "UPDATE operation SET state = 'succeeded'")
    many = {"nodes": "vm-vc2-[0-3]", "iso_name": ""}
    codes = [service.ask("ann", "PUT", "/v1/cluster/vc2/attach_iso", json=many).status_code for _ in range(2)]
    assert codes == [204, 400], "one of four nodes counts as four, and can be asked for all the same"
    assert power("ann", "vc2", "poweron")[0] == 429
    sql(pool, "UPDATE operation SET state = 'succeeded'")
    assert power("ann", "vc2", "poweron")[0] == 202


def test_the_rate_of_changes_is_that_of_the_person(service: Client) -> None:
    made = [service.ask("ann", "POST", "/v1/token", json={}).json()["token"] for _ in range(3)]
    service.tokens.update({f"ann{number}": text for number, text in enumerate(made)})
    service.application.state.service.change_rate = Rate("changes", 1 / 3600, 2)
    codes = [service.ask(f"ann{n}", "PATCH", "/v1/user", json={}).status_code for n in range(3)]
    assert codes == [200, 200, 400], "each with a token of its own"
    assert service.ask("bob", "PATCH", "/v1/user", json={}).status_code == 200


@pytest.mark.slow
def test_of_changes_one_after_the_other_none_is_refused(service: Client) -> None:
    """Far more than the burst, at a rate below that of a slow machine's answers; the published client repeats none."""
    service.application.state.service.change_rate = Rate("changes", 5, 2, max_waiting=4)
    codes = [service.ask("ann", "PATCH", "/v1/user", json={}).status_code for _ in range(12)]
    assert codes == [200] * 12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/computeset", "", 200),
        ("PATCH", "/v1/user", "{}", 200),
        ("PUT", "/v1/cluster/vc2/attach_iso", '{"nodes": "vm-[0-9999]", "iso_name": ""}', 404),
        ("GET", "/page/reservations/week?begin=2026-11-30", "", 200),
        ("POST", "/page/computesets/launcher", "nodes = ", 400),
    ],
)
def test_what_takes_long_counts_as_many(
    service: Client, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: str, status: int
) -> None:
    """Long lists in a loop, or changes that are refused, would take the processor from all others."""
    monkeypatch.setattr(service_module, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(
        service_module, "SECONDS_OF_A_REQUEST", 1e-7
    )  # each takes more than 200 times as long
    headers = {**PROBLEMS, "Content-Type": "application/json"}
    assert service.ask("ann", method, path, body=body or None, headers=headers).status_code == status
    refused = service.get("ann", "/v1/user", headers=PROBLEMS)
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) > 1
    assert service.get("bob", "/v1/user").status_code == 200


def test_what_is_not_there_has_a_rate_of_its_own(service: Client) -> None:
    service.application.state.service.change_rate = Rate("changes", 1 / 3600, 1)
    service.application.state.service.unknown_rate = Rate("requests for what is not there", 1 / 3600, 2)
    assert service.ask("ann", "PATCH", "/v1/user", json={}).status_code == 200
    answers = [service.get("ann", "/v1/cluster/none", headers=PROBLEMS) for _ in range(3)]
    assert [one.status_code for one in answers] == [404, 404, 429], "changes do not count"
    assert "requests for what is not there in a second" in answers[2].json()["detail"]
    assert service.get("ann", "/v1/cluster/vc2").status_code == 200


class CountedPool(Pool):
    """`asked`: how many transactions were begun."""

    asked = 0

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        self.asked += 1
        with super().transaction() as session:
            yield session


@pytest.fixture
def one_connection(service: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Iterator[CountedPool]:
    """The handlers have one connection. Nobody waits for it, nor for locked rows."""
    monkeypatch.setattr(pools, "WAIT_SECONDS", 0.01)
    patient = f"innodb_lock_wait_timeout = {driver.LOCK_WAIT_SECONDS}"
    assert patient in driver._SESSION
    monkeypatch.setattr(driver, "_SESSION", driver._SESSION.replace(patient, "innodb_lock_wait_timeout = 0"))
    found = CountedPool(replace(pool.settings, connections=1))
    service.application.state.service.pool = found
    yield found
    found.close()


def outcomes(service: Client) -> list[tuple[int, str, str | None]]:
    """The answers to a change and to a question."""
    answers = [
        service.ask("ann", "PUT", POWER, headers=PROBLEMS),
        service.get("ann", "/v1/user", headers=PROBLEMS),
    ]
    return [(one.status_code, one.json().get("code", ""), one.headers.get("Retry-After")) for one in answers]


def test_who_has_waited_for_a_connection_waits_for_no_other(
    service: Client, one_connection: CountedPool
) -> None:
    with one_connection.reading():
        assert outcomes(service) == [(503, "backend-unavailable", "2")] * 2
    assert one_connection.asked == 1


def test_a_change_of_rows_that_stay_locked_is_tried_again_and_its_refusal_recorded(
    service: Client, pool: Pool, one_connection: CountedPool
) -> None:
    with pool.transaction() as session:
        session.execute("SELECT id FROM cluster FOR UPDATE")
        assert outcomes(service) == [(503, "backend-unavailable", "2"), (200, "", None)]
    assert one_connection.asked == 4, "three attempts, and the record"
    assert sql(pool, "SELECT action, outcome FROM audit") == [("poweron", "backend-unavailable")]


def rename(service: Client, who: str, cluster: str) -> int:
    """The status of a change that needs the row of the cluster."""
    body = {"map": {f"vm-{cluster}-0": f"vm-{cluster}-0"}}
    return service.ask(who, "POST", f"/v1/cluster/{cluster}/rename", json=body, headers=PROBLEMS).status_code


def test_changes_of_a_user_that_wait_for_a_row_leave_connections_to_others(
    service: Client, pool: Pool
) -> None:
    """Four of them wait with a connection each; the others are refused soon, and wait without one."""
    service.application.state.service.changes.wait_seconds = 0.05
    few = Pool(replace(pool.settings, connections=6))
    service.application.state.service.pool = few
    with closing(few), ThreadPoolExecutor(8) as threads:
        with pool.transaction() as session:
            session.execute("SELECT id FROM cluster FOR UPDATE")
            sent = [threads.submit(rename, service, "ann", "vc2") for _ in range(8)]
            wait_until(lambda: sum(one.done() for one in sent) == 4, "the refusal of four")
            assert service.ask("bob", "PATCH", "/v1/user", json={}).status_code == 200
            assert sum(one.done() for one in sent) == 4
        assert Counter(one.result() for one in sent) == {204: 4, 429: 4}


def test_changes_of_all_users_that_wait_for_rows_leave_connections_to_readings(
    service: Client, pool: Pool
) -> None:
    """A quarter of them, however many users there are: a further change is refused, and waits without one."""
    of_service = service.application.state.service
    assert of_service.all_changes.max_of_all == 12 == of_service.configuration.database.connections * 3 / 4
    of_service.all_changes = limit = AtOnce("changes under way", 3, 2, wait_seconds=0.05)
    of_service.pool = few = Pool(replace(pool.settings, connections=3))
    with closing(few), ThreadPoolExecutor(2) as threads:
        with pool.transaction() as session:
            session.execute("SELECT id FROM cluster FOR UPDATE")
            sent = [threads.submit(rename, service, *one) for one in (("ann", "vc2"), ("bob", "vc3"))]
            wait_until(lambda: limit.count == 2, "both changes")
            refused = service.ask("root", "PATCH", "/v1/user", json={}, headers=PROBLEMS)
            assert refused.status_code == 429
            assert "there are 2 changes under way already, and no more" in refused.json()["detail"]
            assert service.get("root", "/v1/cluster").status_code == 200
        assert [one.result() for one in sent] == [204, 204]
    assert limit.count == 0


def test_a_new_project_has_limits_of_images(service: Client, pool: Pool) -> None:
    with pool.transaction() as session:
        identity.add_project(session, "new")
        project = identity.project_by_name(session, "new")
    assert project and project.limits == {"images": 100, "image_bytes": 200 * 10**9}
    sql(pool, "UPDATE project SET limits = '{\"images\": 1}' WHERE name = 'alpha'")

    def upload(name: str) -> int:
        return service.ask("ann", "POST", f"/v1/image?name={name}", body=ISO, headers=PROBLEMS).status_code

    assert sorted(at_once(upload, ["a.iso", "b.iso"])) == [204, 403]


@pytest.mark.slow
@pytest.mark.parametrize("state", ["'nostate-error'", "NULL", "'crashed'", "'paused'"])
def test_a_machine_that_may_run_counts_as_one_that_runs(service: Client, pool: Pool, state: str) -> None:
    """Also the one that is started again: it is counted once."""
    sql(pool, "UPDATE project SET limits = '{\"vms\": 2}' WHERE name = 'alpha'")
    sql(pool, f"UPDATE node SET state = {state} WHERE name IN ('vm-vc2-0', 'vm-vc2-1')")
    assert service.ask("ann", "PUT", POWER, headers=PROBLEMS).status_code == 403
    sql(pool, "UPDATE node SET state = 'nostate-error', physical_host = NULL WHERE name = 'vm-vc2-1'")
    sql(pool, f"UPDATE node SET state = {state} WHERE name = 'vc2'")
    assert service.ask("ann", "PUT", POWER).status_code == 204, "one was never started, and two are the limit"


def test_starts_at_once_stay_below_the_limit(service: Client, pool: Pool) -> None:
    sql(pool, "UPDATE project SET limits = '{\"vms\": 2}'")
    sql(pool, "UPDATE node SET state = 'nostate-error' WHERE name LIKE 'vm-vc2-%'")
    sql(pool, "UPDATE node SET physical_host = NULL WHERE name LIKE 'vm-vc2-%'")

    def start(number: int) -> int:
        body = {"cluster": "vc2", "computes": f"vm-vc2-{number}", "walltime_mins": 60}
        return service.ask("ann", "POST", "/v1/computeset", json=body, headers=PROBLEMS).status_code

    codes = at_once(start, range(4))
    assert sorted(codes) == [201, 201, 403, 403], codes


def test_who_waits_is_woken_by_the_own_operation_only(
    service: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renames beside waits: no wait reads anything until its operation has ended."""
    looks: list[str] = []
    look = operations._look

    def counted(call: object, identifier: str) -> object:
        looks.append(identifier)
        return look(call, identifier)  # type: ignore[arg-type]

    monkeypatch.setattr(operations, "_look", counted)
    identifier = service.ask("ann", "PUT", POWER, headers=MODERN).json()["id"]
    with ExitStack() as connections:
        waiting = [begun(service, identifier, connections) for _ in range(20)]
        wait_until(lambda: len(looks) == 20, "the first looks")
        for number in range(10):
            body = {"map": {f"vm-vc2-{number % 2}": f"vm-vc2-{number % 2}"}}
            assert service.ask("ann", "POST", "/v1/cluster/vc2/rename", json=body).status_code == 204
        other = service.ask("ann", "PUT", "/v1/cluster/vc2/frontend/reset", headers=MODERN).json()["id"]
        assert service.ask("ann", "DELETE", f"/v1/operation/{other}").status_code == 204
        assert service.get("ann", f"/v1/operation/{other}?wait=60").json()["state"] == "cancelled"
        assert looks.count(identifier) == 20
        assert service.ask("ann", "DELETE", f"/v1/operation/{identifier}").status_code == 204
        assert {json.loads(one().read())["state"] for one in waiting} == {"cancelled"}
    assert looks.count(identifier) == 40
    assert not service.application.state.hub._watches


def begun(service: Client, identifier: str, connections: ExitStack):  # type: ignore[no-untyped-def]
    """A wait of ann; what gives its answer."""
    connection = connections.enter_context(closing(Connection(service.path)))
    headers = {"Authorization": f"Bearer {service.tokens['ann']}"}
    connection.request("GET", f"/v1/operation/{identifier}?wait=60", headers=headers)
    return connection.getresponse


def test_a_person_has_a_limit_of_waits(service: Client) -> None:
    service.application.state.service.waits = AtOnce("waits", 2)
    mine = service.ask("ann", "PUT", POWER, headers=MODERN).json()["id"]
    with ExitStack() as connections:
        waiting = [begun(service, mine, connections) for _ in range(2)]
        waits = service.application.state.service.waits
        wait_until(lambda: waits.count == 2, "both waits")
        third = service.get("ann", f"/v1/operation/{mine}?wait=60")  # it is not held back
        assert third.status_code == 200 and third.json()["state"] == "queued" and waits.count == 2
        assert service.ask("ann", "DELETE", f"/v1/operation/{mine}").status_code == 204
        assert [one().status for one in waiting] == [200, 200]
    wait_until(lambda: waits.count == 0, "the end of both")


def test_an_upload_above_the_quota_is_refused_with_its_first_byte(
    service: Client, pool: Pool, configuration: Configuration
) -> None:
    """A client that sends all of it before it reads gets the answer, too; one that does not state its length, none."""
    block = 1 << 20
    sql(pool, "UPDATE project SET limits = '{\"image_bytes\": 100000}' WHERE name = 'alpha'")
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.iso"\r\n\r\n'
    headers = {
        "Authorization": f"Bearer {service.tokens['ann']}",
        "Content-Type": "multipart/form-data; boundary=x",
        "md5": hashlib.md5(ISO).hexdigest(),
        **PROBLEMS,
    }
    chunked = {"Transfer-Encoding": "chunked"}
    for reads_at_once, length, expected in (
        (False, {"Content-Length": str(100 * block)}, (403, "quota-exceeded")),
        (True, {"Content-Length": str(100 * block)}, (403, "quota-exceeded")),
        (True, chunked, (400, "invalid-request")),
    ):
        with closing(Connection(service.path)) as connection:
            connection.putrequest("POST", "/v1/image")
            for name, value in (headers | length).items():
                connection.putheader(name, value)
            connection.endheaders()
            connection.send(b"%x\r\n%s\r\n" % (len(head), head) if length is chunked else head)
            sent = 0
            while sent < 99 * block and not (
                reads_at_once and select.select([connection.sock], [], [], 0.05)[0]
            ):
                connection.send(
                    b"%x\r\n%s\r\n" % (block, bytes(block)) if length is chunked else bytes(block)
                )
                sent += block
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["code"]) == expected
        assert sent < 32 * block or not reads_at_once, "the answer does not wait for the rest"
        assert not list(Path(configuration.images.folder).glob("*/*"))
        assert sql(pool, "SELECT COUNT(*) FROM image") == [(0,)]


@pytest.mark.slow
def test_a_database_that_does_not_answer(
    service: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More requests than there are threads and connections are refused; then it goes on by itself."""
    monkeypatch.setattr(driver, "SILENCE_SECONDS", patience(1))
    opened: list[object] = []
    connect = driver.connect
    monkeypatch.setattr(driver, "connect", lambda *a, **b: (opened.append(a), connect(*a, **b))[1])
    assert service.get("ann", "/v1/cluster").status_code == 200

    def ask(number: int) -> tuple[int, str, str]:
        method, path = (("GET", "/v1/cluster"), ("PUT", POWER), ("GET", "/v1/cluster?limit=1"))[number % 3]
        answer = service.ask("ann", method, path, headers={**MODERN, **PROBLEMS})
        return answer.status_code, answer.json()["code"], answer.headers["Retry-After"]

    with frozen(pool):
        answers = at_once(ask, range(60))
        assert set(answers) == {(503, "backend-unavailable", "2")}
        opened.clear()
        assert set(at_once(ask, range(30))) == {(503, "backend-unavailable", "2")}
        assert len(opened) <= 3, "one asks, and the others do not wait"
        assert service.get("", "/healthz").status_code == 200
    wait_until(lambda: service.get("ann", "/v1/cluster").status_code == 200, "an answer")
    assert service.ask("ann", "PUT", POWER, headers=MODERN).status_code == 202
