"""Events: to those who may see them, from where they were, without waiting for those who do not read."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from nucleus.api import events
from nucleus.api import service as service_module
from nucleus.mirror.events import NEWS, append_events
from nucleus.mirror.pool import Pool
from nucleus.records import NewEvent
from tests.patience import patience
from tests.system.nucleus.api.conftest import MODERN
from tests.system.nucleus.api.http_client import Client, Connection
from tests.system.nucleus.conftest import sql


@contextlib.contextmanager
def stream(
    service: Client, who: str, query: str = "", **headers: str
) -> Iterator[Iterator[tuple[str, str, str]]]:
    """(id, event, data) as they come, but for signs of life."""
    with contextlib.closing(Connection(service.path)) as connection:
        sent = {"Authorization": f"Bearer {service.tokens[who]}", **headers}
        connection.request("GET", f"/v1/events{query}", headers=sent)
        response = connection.getresponse()
        assert response.status == 200, response.read()

        def read() -> Iterator[tuple[str, str, str]]:
            fields: dict[str, str] = {}
            while line := response.readline().decode():
                name, _, value = line.strip().partition(": ")
                if line.strip():
                    fields[name] = value
                elif "event" in fields:
                    if fields["event"] != "alive":
                        yield fields.get("id", ""), fields["event"], fields["data"]
                    fields = {}

        yield read()


def emit(pool: Pool, *targets: str, project: str = "alpha") -> None:
    """Events of a project's cluster."""
    with pool.transaction() as session:
        number = (session.row("SELECT id FROM project WHERE name = %s", (project,)) or (0,))[0]
        cluster = (session.row("SELECT id FROM cluster WHERE project_id = %s", (number,)) or (0,))[0]
        append_events(session, [NewEvent("node.power", one, "off", "on", number, cluster) for one in targets])
    NEWS.give()


def test_events_come_to_those_who_may_see_them(service: Client, pool: Pool) -> None:
    with (
        stream(service, "ann") as ann,
        stream(service, "bob") as bob,
        stream(service, "root", "?cluster=vc3") as root,
    ):
        emit(pool, "first")
        emit(pool, "second", project="beta")
        emit(pool, "third")
        number, kind, data = next(ann)
        assert kind == "node.power" and '"target": "first"' in data and '"cluster": "vc2"' in data
        last, _, data = next(ann)
        assert '"target": "third"' in data
        assert '"target": "second"' in next(bob)[2] and '"target": "second"' in next(root)[2]
    with stream(service, "ann", **{"Last-Event-ID": number}) as again:
        assert next(again)[0] == last
    assert service.get("ann", "/v1/events?cluster=vc3").status_code == 404
    refused = sql(pool, "SELECT actor, action, target, outcome FROM audit")
    assert refused == [("ann", "read", "/v1/events", "unknown-cluster")]
    assert service.get("ann", "/v1/events?types=none").status_code == 400
    with stream(
        service, "ann", "?types=poll.fresh,node.power&types=alarm", **{"Last-Event-ID": number}
    ) as two:
        assert next(two)[:2] == (last, "node.power")
    assert service.get("ann", "/v1/events?types=alarm,none").status_code == 400


def test_a_rename_is_in_the_history_and_an_event(service: Client) -> None:
    """Once for a request that is repeated; one that changes no name, or is refused, is not there."""
    path, old = "/v1/cluster/vc2/rename", {"vm-vc2-0": "login", "vm-vc2-1": "data"}
    key = {"Idempotency-Key": "rename-1"}
    before = service.get("ann", "/v1/operation").json()
    with stream(service, "ann") as events:
        for _ in range(2):
            assert service.ask("ann", "POST", path, json={"map": old}, headers=key).status_code == 204
        for names, status in (({"login": "login"}, 204), ({"login": "data"}, 400), ({"login": "n0"}, 204)):
            assert service.ask("ann", "POST", path, json={"map": names}).status_code == status
        news = [json.loads(next(events)[2]) for _ in range(2)]
    one, both, *rest = service.get("ann", "/v1/operation").json()
    assert rest == before
    assert [event["operation"] for event in news] == [both["id"], one["id"]]
    assert both["result"] == {"names": old} and both["node"] is None
    assert one["result"] == {"names": {"login": "n0"}} and one["node"] == "n0"
    for done in (one, both):
        found = [done[field] for field in ("kind", "state", "actor", "cluster")]
        assert found == ["rename", "succeeded", "ann", "vc2"] and done["created"] == done["ended"]
    assert service.get("bob", f"/v1/operation/{one['id']}").status_code == 404


def test_a_user_has_few_streams(service: Client) -> None:
    with contextlib.ExitStack() as open_streams:
        for _ in range(20):
            open_streams.enter_context(stream(service, "ann"))
        assert service.get("ann", "/v1/events").status_code in (400, 429)
        open_streams.enter_context(stream(service, "bob"))


def test_streams_of_a_user_read_what_they_missed_one_after_the_other(
    service: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit(pool, "first", "second")
    at_work, seen, missed = list[int](), list[int](), events._missed

    def slow(*given: Any) -> Any:
        at_work.append(1)
        seen.append(len(at_work))
        time.sleep(0.2)
        at_work.pop()
        return missed(*given)

    monkeypatch.setattr(events, "_missed", slow)
    with contextlib.ExitStack() as open_streams:
        begun = [
            open_streams.enter_context(stream(service, "ann", **{"Last-Event-ID": "0"})) for _ in range(3)
        ]
        for one in begun:
            assert ['"target": "first"' in next(one)[2], '"target": "second"' in next(one)[2]] == [True] * 2
    assert seen == [1] * 3


def test_missed_events_count_as_other_questions(
    service: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(service_module, "SECONDS_OF_A_REQUEST", 1e-7)
    emit(pool, "first")
    with stream(service, "ann", **{"Last-Event-ID": "0"}) as ann:
        assert '"target": "first"' in next(ann)[2]
        assert service.get("ann", "/v1/user", headers=MODERN).status_code == 429
        assert service.get("bob", "/v1/user").status_code == 200


@pytest.mark.slow
def test_a_stream_ends_with_its_token_also_while_events_come(
    service: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RIGHTS_SECONDS", 5.0)
    with stream(service, "ann") as ann:
        emit(pool, "before")
        assert '"target": "before"' in next(ann)[2]
        token = service.tokens["ann"].split("_")[1]
        assert service.ask("ann", "DELETE", f"/v1/token/{token}").status_code == 204
        end = time.monotonic() + patience(60)
        emit(pool, "after")
        while next(ann, None) is not None:
            emit(pool, "after")
            assert time.monotonic() < end, "the stream goes on"
