"""What one owner or stranger could have grow without end, or stay for ever, has an end."""

from typing import Any

import pytest

from nucleus.api import idempotency, quotas
from nucleus.api.access.throttles import DailyRate
from nucleus.api.recent_answers import RecentAnswer
from nucleus.configuration import Configuration
from nucleus.limits import FIRST_LIMITS
from nucleus.mirror import operations, status
from nucleus.mirror.pool import Pool
from nucleus.records import NewOperation
from owners.computesets import records as computesets
from owners.computesets import rest as sets_api
from owners.consoles import rest
from tests.system.nucleus.api.conftest import ISO, MODERN, PROBLEMS, changed, start, started
from tests.system.nucleus.api.http_client import Client
from tests.system.nucleus.api.test_consoles import is_refused
from tests.system.nucleus.api.test_images import send, send_raw
from tests.system.nucleus.conftest import compute_numbers, sql

SETS = "/v1/computeset"


def ended_sets(pool: Pool, *sizes: int) -> list[int]:
    """Sets of vc2 with the first so many of its nodes, which have ended; their numbers."""
    numbers = []
    with pool.transaction() as session:
        (cluster,) = session.row("SELECT id FROM cluster WHERE name = 'vc2'") or (0,)
        for size in sizes:
            nodes = compute_numbers(session, cluster)[:size]
            new = computesets.NewComputeset(cluster, nodes, "ann", "alpha-account", None, 60, "ann")
            number = computesets.insert_computeset(session, new)
            session.execute("UPDATE computeset SET state = 'completed' WHERE id = %s", (number,))
            computesets.release_nodes(session, number)
            numbers.append(number)
    return numbers


def listed(service: Client, query: str = "") -> tuple[list[int], str]:
    """The numbers of the sets of an answer, and where the next page is."""
    answer = service.get("ann", f"{SETS}{query}", headers=PROBLEMS)
    assert answer.status_code == 200, answer.text
    link = answer.headers.get("Link", "")
    return [one["id"] for one in answer.json()], link.partition("<")[2].partition(">")[0].removeprefix(SETS)


@pytest.mark.slow
def test_of_all_sets_that_ever_were_the_newest_are_listed(
    service: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = ended_sets(pool, 1, 2, 3, 1, 1)
    living = start(service, count=4).json()["id"]
    assert listed(service) == ([*numbers, living], "")
    monkeypatch.setattr(sets_api, "MAX_PER_PAGE", 3)
    assert listed(service) == ([*numbers[3:], living], ""), "and none is read that is not listed"
    assert listed(service, "?state=completed") == (numbers[2:], "")
    assert listed(service, "?state=created") == ([living], "")
    monkeypatch.setattr(sets_api, "MAX_NODES_PER_PAGE", 5)
    assert listed(service) == ([numbers[4], living], ""), "four nodes and one"
    found, query = [], "?limit=4"
    pages = 0
    while query:
        part, query = listed(service, query)
        found, pages = found + part, pages + 1
    assert (found, pages) == ([*numbers, living], 3), "3 nodes, 5 nodes, 4 nodes: each once"
    monkeypatch.setattr(sets_api, "MAX_NODES_PER_PAGE", 1)
    assert listed(service, "?limit=1&state=created") == ([living], ""), "a set is whole"


def test_the_nodes_of_sets_are_those_of_each(service: Client, pool: Pool) -> None:
    ended_sets(pool, 2, 4)
    names = [[node["name"] for node in one["computes"]] for one in service.get("ann", SETS).json()]
    assert names == [[f"vm-vc2-{number}" for number in range(count)] for count in (2, 4)]


def test_a_node_of_a_set_that_ends_gets_no_image(service: Client, pool: Pool) -> None:
    """Having something to do it would not be free, and its set never end."""
    number = start(service, computes="vm-vc2-[0-1]").json()["id"]
    many = {"nodes": "vm-vc2-[1-2]", "iso_name": ""}
    single = ("PUT", "/v1/cluster/vc2/compute/vm-vc2-0/attach_iso")
    for state, expected in (("running", 204), ("ending", 409)):
        sql(pool, "UPDATE computeset SET state = %s", (state,))
        answers = [
            service.ask("ann", *single, params={"iso_name": ""}, headers=PROBLEMS),
            service.ask("ann", "PUT", "/v1/cluster/vc2/attach_iso", json=many, headers=PROBLEMS),
        ]
        assert [one.status_code for one in answers] == [expected] * 2
    assert answers[1].json()["detail"] == (
        f"the computeset {number} of vm-vc2-1 is ending; wait until it has ended"
    )
    assert service.ask("ann", "PUT", "/v1/cluster/vc2/frontend/attach_iso?iso_name=").status_code == 204


def test_names_that_are_stored_for_ever_do_not_change_all_the_time(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "MAX_RENAMED_PER_HOUR", 3)

    def rename(**names: str) -> Any:
        body = {"map": {f"vm-vc2-{old[1:]}": new for old, new in names.items()}}
        return service.ask("ann", "POST", "/v1/cluster/vc2/rename", json=body, headers=PROBLEMS)

    everyone = {f"n{number}": f"x{number}" for number in range(4)}
    assert rename(**everyone).status_code == 204
    back = {"map": {new: f"vm-vc2-{old[1:]}" for old, new in everyone.items()}}
    assert service.ask("ann", "POST", "/v1/cluster/vc2/rename", json=back).status_code == 204
    assert rename(n0="vm-vc2-0").status_code == 204, "nothing changes"
    assert rename(n0="y").status_code == 204 and rename(n1="z").status_code == 204
    refused = rename(n2="u")
    assert refused.status_code == 429 and refused.headers["Retry-After"] == "600"
    assert (
        refused.json()["detail"] == "10 nodes of vc2 at most are renamed within an hour; rename these later"
    )


def test_a_cluster_has_a_limit_of_computesets_in_an_hour(
    service: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets_api, "MAX_SETS_PER_HOUR", 2)
    assert [start(service, count=1).status_code for _ in range(2)] == [201, 201]
    refused = start(service, count=1)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate-limited")
    sql(pool, "UPDATE computeset SET created = created - INTERVAL 1 HOUR ORDER BY id LIMIT 1")
    assert start(service, count=1).status_code == 201


def test_a_long_answer_is_not_stored_for_a_repetition(
    service: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MAX_STORED_ANSWER_BYTES", 100)
    key, body = {"Idempotency-Key": "k1", **PROBLEMS}, {"cluster": "vc2", "count": 2}
    first, again = (service.ask("ann", "POST", SETS, json=body, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 409), again.text
    assert again.json()["detail"].endswith(f"too long to keep; read {first.headers['Location']}")
    assert sql(pool, "SELECT LENGTH(body) FROM idempotency") == [(0,)]
    assert sql(pool, "SELECT COUNT(*) FROM computeset") == [(1,)]


@pytest.mark.parametrize(
    ("path", "code", "answer", "question"),
    [("/metrics", 200, "metrics_text", "gauges"), ("/readyz", 503, "readiness", "oldest_poll_seconds")],
)
def test_what_anybody_may_ask_is_read_once_in_a_while(
    service: Client, monkeypatch: pytest.MonkeyPatch, path: str, code: int, answer: str, question: str
) -> None:
    asked = []
    read = getattr(status, question)

    def counted(*given: Any) -> Any:
        asked.append(1)
        return read(*given)

    monkeypatch.setattr(status, question, counted)
    setattr(service.application.state.service, answer, RecentAnswer(60.0))
    assert {service.get("", path).status_code for _ in range(20)} == {code}, "nothing was polled"
    assert len(asked) == 1
    setattr(service.application.state.service, answer, RecentAnswer(0.0))
    for _ in range(2):
        service.get("", path)
    assert len(asked) == 3


def test_of_what_is_no_ticket_the_database_is_not_asked(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by its page, nor when it is used, nor by the refusal."""
    asked = []

    def find(_: Any, text: str) -> None:
        asked.append(text)

    monkeypatch.setattr(rest, "console_of", find)
    monkeypatch.setattr(rest, "use_ticket", find)
    for text in ("none", "A" * 42, "A" * 44, f"{'A' * 42}.", f"{'A' * 43}%0A", "A" * 43):
        assert service.get("", f"/console/vnc/{text}").status_code == 200, "its script says what is wrong"
        assert is_refused(service, text)
    assert asked == ["A" * 43] * 3


def test_a_set_of_many_nodes_has_one_end(service: Client, pool: Pool) -> None:
    """However many operations of it are newer than the first request for its end."""
    number = start(service, computes="vm-vc2-0").json()["id"]

    def end() -> str:
        answer = service.ask("ann", "PUT", f"{SETS}/{number}/shutdown", headers=MODERN)
        return str(answer.json()["id"])

    first = end()
    with pool.transaction() as session:
        for index in range(101):
            new = NewOperation("start_member", "nucleus", target_set=number, project_id=None)
            operations.insert_operation(session, new._replace(unique_key=f"set/{number}/1/{index}"))
        session.execute("UPDATE operation SET project_id = (SELECT id FROM project WHERE name = 'alpha')")
    assert end() == first


def test_an_owner_who_may_publish_has_limits_of_images(
    configuration: Configuration, pool: Pool, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FIRST_LIMITS, "images", 2)
    with started(changed(configuration, "images", owners_publish=True), pool, people) as service:

        def upload(who: str, name: str, **more: str) -> int:
            return int(send_raw(service, name, who=who, **more).status_code)

        assert [upload("ann", f"{number}.iso") for number in range(3)] == [204, 204, 403]
        assert send(service, "form.iso").status_code == 403
        assert upload("ann", "own.iso", project="alpha") == upload("bob", "b.iso") == 204
        assert [upload("root", f"r{number}.iso") for number in range(3)] == [204] * 3, "operators publish"
        monkeypatch.setitem(FIRST_LIMITS, "image_bytes", 2 * len(ISO) - 1)
        assert upload("bob", "c.iso") == 403


def test_tickets_are_stored_for_an_hour_and_found_by_their_age(pool: Pool, people: dict[str, str]) -> None:
    with pool.transaction() as session:
        (node,) = session.row("SELECT id FROM node WHERE name = 'vc2'") or (0,)
        (user,) = session.row("SELECT id FROM user WHERE username = 'ann'") or (0,)
        new = rest.Ticket(node, "vnc", user, None)
        old, recent = (rest.issue_ticket(session, new) for _ in range(2))
        for text, minutes in ((old, 61), (recent, 59)):
            session.execute(
                "UPDATE console_ticket SET expires = UTC_TIMESTAMP(3) - INTERVAL %s MINUTE WHERE hash = %s",
                (minutes, rest._hash(text)),  # noqa: SLF001
            )
        rest.issue_ticket(session, new)
        assert rest.console_of(session, old) is None and rest.console_of(session, recent)
    keys = [row[4] for row in sql(pool, "SHOW INDEX FROM console_ticket WHERE Key_name = 'expires'")]
    assert keys == ["expires"]


def test_an_owner_has_so_many_changes_of_nodes_in_a_day_and_as_many_ends(service: Client, pool: Pool) -> None:
    """What is charged can still be ended; another owner does not notice."""
    rates = service.application.state.service
    rates.daily_changes, rates.daily_endings = DailyRate("changes of nodes", 6), DailyRate("ends", 6)
    number = start(service, count=4).json()["id"]  # four nodes
    assert [service.ask("ann", "PATCH", "/v1/user", json={}).status_code for _ in range(2)] == [200, 200]
    before = sql(pool, "SELECT COUNT(*) FROM audit")
    refused = service.ask("ann", "PATCH", "/v1/user", json={}, headers=PROBLEMS)
    assert refused.status_code == 429 and "in a day; wait 240 minutes" in refused.json()["detail"]
    assert sql(pool, "SELECT COUNT(*) FROM audit") == before
    page = {"Sec-Fetch-Site": "same-origin", "Host": "site.example", **PROBLEMS}
    password = {"username": "", "password": service.tokens["ann"]}
    assert service.ask("", "POST", "/session", json=password, headers=page).status_code == 204, (
        "to end it there"
    )
    assert service.ask("ann", "PUT", f"{SETS}/{number}/poweroff").status_code == 204
    assert service.ask("bob", "PATCH", "/v1/user", json={}).status_code == 200
    assert service.get("ann", "/v1/user").status_code == 200


def test_the_audit_log_has_so_many_refusals_of_a_day(service: Client, pool: Pool) -> None:
    """Of a user, of strangers from one network, and of all strangers; the answers stay what they are."""
    authenticator = service.application.state.service.authenticator
    authenticator.recorded = DailyRate("refusals", 2)
    authenticator._recorded_of_strangers = DailyRate("refusals", 1)

    def recorded() -> list[tuple[Any, ...]]:
        return sql(pool, "SELECT actor, COUNT(*) FROM audit GROUP BY actor ORDER BY actor")

    for _ in range(3):
        assert service.get("ann", "/v1/cluster/none").status_code == 404
        assert service.ask("ann", "PUT", "/v1/cluster/none/frontend/poweron").status_code == 404
    assert recorded() == [("ann", 2)]
    for number in range(3):
        wrong = {"Authorization": f"Bearer nuc_AAAAAAA{number}_{'0' * 43}"}
        assert service.get("", "/v1/user", headers=wrong).status_code == 401
    assert recorded() == [("", 1), ("ann", 2)]


def test_a_sign_out_of_what_was_no_session_is_no_entry(
    service: Client, pool: Pool, people: dict[str, str]
) -> None:
    """A token stays, and could end as a session without end."""
    headers = {"Sec-Fetch-Site": "same-origin", "Cookie": f"nucleus={people['ann']}"}
    for _ in range(3):
        assert service.ask("", "DELETE", "/session", headers=headers).status_code == 204
    assert sql(pool, "SELECT COUNT(*) FROM audit") == [(0,)]
    assert service.get("ann", "/v1/user").status_code == 200
