"""What is read: shapes, ETags, pages, age, and that a stranger's answer is that of a name which does not exist."""

import dataclasses
import json
import re
from datetime import timedelta

import pytest

from nucleus.api import app
from nucleus.api.cached_clusters import CachedClusters, store_texts
from nucleus.api.openapi import description
from nucleus.api.representations import Freshness
from nucleus.configuration import Configuration, PollSettings
from nucleus.mirror import clusters
from nucleus.mirror.observations import database_now
from nucleus.mirror.pool import Guard, Pool
from nucleus.records import SYSTEM
from tests.system.nucleus.api.conftest import MODERN, PROBLEMS, started
from tests.system.nucleus.api.http_client import Client
from tests.system.nucleus.conftest import sql


def test_clusters_are_those_of_the_caller_s_projects(service: Client) -> None:
    (cluster,) = service.get("ann", "/nucleus/v1/cluster/").json()
    assert cluster["name"] == "vc2" and cluster["project"] == "alpha" and "status" not in cluster
    assert (
        cluster["allocations"] == ["alpha-account"] and cluster["stale"] is False and cluster["observed_at"]
    )
    assert [compute["name"] for compute in cluster["computes"]] == [f"vm-vc2-{n}" for n in range(4)]
    assert cluster["frontend"]["frontend_state"] == "ready" and cluster["frontend"]["pub_ip"] is None
    assert {one["name"] for one in service.get("root", "/v1/cluster").json()} == {"vc2", "vc3"}
    assert service.get("ann", "/v1/cluster/vc2").json() == cluster
    assert service.get("ann", "/v1/cluster/vc2/compute/vm-vc2-1").json() == cluster["computes"][1]
    assert service.get("ann", "/v1/cluster/vc2/frontend/").json() == cluster["frontend"]


def test_a_name_is_found_in_any_case_and_only_so(service: Client, pool: Pool) -> None:
    sql(pool, "INSERT INTO image (name, size_bytes, state) VALUES ('a.iso', 1, 'ready')")
    node = "/v1/cluster/vc2/compute/vm-vc2-0"
    for path in ("/v1/cluster/VC2", "/v1/cluster/Vc2/compute/VM-vc2-0"):
        assert service.get("ann", path).status_code == 200, path
    assert service.get("ann", "/v1/operation?target=VC2/VM-VC2-0").status_code == 200
    for path in ("/v1/cluster/vc2%20", "/v1/cluster/v%C3%A72", f"{node}%20"):
        assert service.get("ann", path, headers=PROBLEMS).status_code == 404, path
    for target in ("vc2%20", "vc2/vm-vc2-0%20"):
        assert service.get("ann", f"/v1/operation?target={target}", headers=PROBLEMS).status_code == 404
    for project, count in (("ALPHA", 1), ("alpha%20", 0), ("%C3%A0lpha", 0)):
        assert len(service.get("ann", f"/v1/cluster?project={project}").json()) == count, project
    attach = "/v1/cluster/VC2/frontend/attach_iso?iso_name="
    for name, status in (("public/a.iso", 202), ("public/A.iso", 404), ("public/a.iso%20", 404)):
        assert service.ask("ann", "PUT", f"{attach}{name}", headers=MODERN).status_code == status, name


def test_an_etag_holds_until_something_changes(service: Client, pool: Pool) -> None:
    for path in ("/v1/cluster", "/v1/cluster/vc2", "/v1/cluster/vc2/frontend", "/v1/user", "/v1/computeset"):
        first = service.get("ann", path)
        again = service.get("ann", path, headers={"If-None-Match": first.headers["ETag"]})
        assert (
            again.status_code == 304
            and again.content == b""
            and again.headers["ETag"] == first.headers["ETag"]
        )
    etag = service.get("ann", "/v1/cluster/vc2").headers["ETag"]
    sql(pool, "UPDATE cluster SET generation = generation + 1")
    assert service.get("ann", "/v1/cluster/vc2", headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize(
    "part", ["", "?fields=name", "/frontend", "/compute/vm-vc2-0", "/compute/vm-vc2-0?fields=name"]
)
def test_a_change_is_done_in_the_state_that_any_etag_of_the_cluster_is_of(
    service: Client, pool: Pool, part: str
) -> None:
    def status(etag: str) -> int:
        headers = {"If-Match": etag, **MODERN}
        return service.ask("ann", "PUT", "/v1/cluster/vc2/frontend/poweron", headers=headers).status_code

    etag = service.get("ann", f"/v1/cluster/vc2{part}").headers["ETag"]
    other = service.get("bob", "/v1/cluster/vc3").headers["ETag"]
    sql(pool, "UPDATE cluster SET observed_power = '2026-01-02 03:04:05.678'")
    assert [status(one) for one in (etag, f'"x", W/{etag}', "*")] == [202] * 3, (
        "it became stale, and is the same"
    )
    assert [status(one) for one in (other, '"x"', "x", "")] == [412] * 4
    sql(pool, "UPDATE cluster SET generation = generation + 1")
    assert status(etag) == 412


def test_what_the_site_has_not_confirmed_is_stale(service: Client, pool: Pool) -> None:
    sql(pool, "UPDATE cluster SET observed_power = UTC_TIMESTAMP(3) - INTERVAL 100 SECOND")
    answer = service.get("ann", "/v1/cluster/vc2")
    assert answer.json()["stale"] is True and int(answer.headers["Age"]) >= 100
    assert [one["stale"] for one in answer.json()["computes"]] == [True] * 4


def test_how_fresh_it_is_is_stated_without_a_change_of_the_cluster(service: Client, pool: Pool) -> None:
    before = service.get("ann", "/v1/cluster/vc2")
    sql(pool, "UPDATE cluster SET observed_power = '2026-01-02 03:04:05.678'")
    after = service.get("ann", "/v1/cluster/vc2")
    assert before.json()["stale"] is False and before.headers["ETag"] != after.headers["ETag"]
    nodes = [after.json(), after.json()["frontend"], *after.json()["computes"]]
    assert [(one["observed_at"], one["stale"]) for one in nodes] == [("2026-01-02T03:04:05.678Z", True)] * 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "path"),
    [
        ("ann", "/v1/cluster"),
        ("ann", "/nucleus/v1/cluster/vc2/"),
        ("ann", "/v1/cluster/VC2/compute/vm-vc2-1"),
        ("ann", "/v1/cluster/vc2/compute/none"),
        ("ann", "/v1/cluster/vc2/frontend"),
        ("ann", "/v1/cluster/vc3"),
        ("ann", "/v1/cluster/none%0A"),
        ("root", "/v1/cluster/vc3"),
        ("", "/v1/cluster/vc2"),
    ],
)
def test_a_query_that_means_nothing_changes_no_answer(
    service: Client, pool: Pool, who: str, path: str
) -> None:
    def ask(path: str, **headers: str) -> tuple[object, ...]:
        answer = service.get(who, path, headers={**PROBLEMS, "X-Request-ID": "one", **headers})
        found = {name.lower(): value for name, value in answer.headers.items()}
        assert found.pop("date") and ("age" not in found or int(found.pop("age")) < 60)
        return answer.status_code, found, answer.content

    answers = [ask(path), ask(f"{path}?unknown=1")]
    assert answers[0] == answers[1]
    headers = answers[0][1]
    assert isinstance(headers, dict)
    unchanged = 304 if "etag" in headers else answers[0][0]
    some = [ask(asked, **{"If-None-Match": "*"}) for asked in (path, f"{path}?x")]
    assert [one[0] for one in some] == [unchanged] * 2, "what is not there is not unchanged"
    if "etag" in headers:
        assert ask(path, **{"If-None-Match": headers["etag"]})[0] == 304
    refused = sql(pool, "SELECT actor, action, target, outcome, request_id FROM audit ORDER BY seq")
    assert refused[: len(refused) // 2] == refused[len(refused) // 2 :]
    assert bool(refused) == (answers[0][0] == 404)
    counted = set(
        re.findall(r'nucleus_requests_total{[^}]*route="([^"]*)"', service.get("", "/metrics").text)
    )
    assert len(counted) == 1 and "none" not in counted


def test_texts_are_stored_before_they_are_asked_for(service: Client, pool: Pool) -> None:
    guard = Guard(pool.settings, "poller")
    assert guard.take()

    def names() -> list[str]:
        """Of the computes of vc2, for a service that has just started."""
        with pool.reading() as session:
            asked = [(one, Freshness(None, True, 0)) for one in clusters.list_clusters(session, SYSTEM)]
            first = json.loads(CachedClusters().texts(session, SYSTEM, asked)[0])
        return [compute["name"] for compute in first["computes"]]

    before = names()
    store_texts(guard)
    sql(pool, "UPDATE node SET name = CONCAT('new-', name)")
    assert names() == before, "it is the stored text"
    stored = sql(pool, "SELECT * FROM cluster_text ORDER BY cluster_id")
    sql(pool, "UPDATE cluster SET generation = generation + 1 WHERE name = 'vc2'")
    assert names() == [f"new-{name}" for name in before], "that of an older generation is none"
    store_texts(guard)
    again = sql(pool, "SELECT * FROM cluster_text ORDER BY cluster_id")
    assert (again[0] != stored[0], again[1:]) == (True, stored[1:]), "only what has changed is written"
    sql(pool, "UPDATE node SET name = CONCAT('newer-', name)")
    sql(pool, "UPDATE cluster_text SET written_by = 'others'")
    assert names() == [f"newer-new-{name}" for name in before], "nor is that of other sources"
    sql(pool, "UPDATE cluster SET gone_at = UTC_TIMESTAMP(3) WHERE name = 'vc2'")
    store_texts(guard)
    guard.release()
    assert sql(pool, "SELECT cluster_id FROM cluster_text") == [again[1][:1]]


def test_pages_have_every_entry_once(service: Client, pool: Pool) -> None:
    with pool.transaction() as session:
        session.execute("UPDATE cluster SET project_id = (SELECT id FROM project WHERE name = 'alpha')")
        for number in (10, 9):
            session.execute(
                "INSERT INTO cluster (name, rocks_name, project_id) SELECT %s, %s, id FROM project"
                " WHERE name = 'alpha'",
                (f"vc{number}", f"vc{number}"),
            )
    path, names = "/v1/cluster?limit=2&fields=name", []
    while path:
        answer = service.get("ann", path)
        names += [one["name"] for one in answer.json()]
        found = re.fullmatch(r'<(.+)>; rel="next"', answer.headers.get("Link", ""))
        path = found[1] if found else ""
    assert names == ["vc2", "vc3", "vc9", "vc10"]
    assert [one["name"] for one in service.get("ann", "/v1/cluster?name=vc?0&fields=name").json()] == ["vc10"]
    for query in ("cursor=x", "limit=0", "fields=nothing", "limit=many"):
        assert service.get("ann", f"/v1/cluster?{query}").status_code == 400


def test_refusals_have_two_forms(service: Client) -> None:
    old = service.get("ann", "/v1/cluster/none")
    assert old.status_code == 404 and isinstance(old.json(), str) and "comet ll" in old.json()
    new = service.get("ann", "/v1/cluster/none", headers=PROBLEMS)
    assert new.headers["Content-Type"] == "application/problem+json"
    body = new.json()
    assert (
        body["code"] == "unknown-cluster"
        and body["status"] == 404
        and body["type"].endswith("/unknown-cluster")
    )
    assert body["instance"].endswith(new.headers["X-Request-ID"])
    busy = ("PUT", "/v1/cluster/vc2/compute/vm-vc2-0/poweroff")
    assert service.ask("ann", *busy).status_code == 400
    assert service.ask("ann", *busy, headers=MODERN).status_code == 409


ROUTES = [
    (method.upper(), path)
    for path, methods in sorted(description()["paths"].items())
    for method in sorted(methods)
    if "{c}" in path or "{s}" in path or path.startswith("/v1/operation/")
]


@pytest.mark.parametrize("headers", [{}, MODERN], ids=["legacy", "modern"])
def test_a_foreign_object_is_one_that_does_not_exist(
    service: Client, pool: Pool, headers: dict[str, str]
) -> None:
    """Every route that names a cluster, a set or an operation, byte by byte."""
    start = service.ask("bob", "POST", "/v1/computeset", json={"cluster": "vc3", "count": 1}, headers=MODERN)
    operation, number = start.json()["id"], start.json()["computeset"]
    pairs = {
        "{c}": ("vc3", "vc8"), "{n}": ("vm-vc3-0", "vm-vc8-0"), "{s}": (str(number), str(number + 50)),
        "{id}": (operation, operation[:-2] + ("AB" if operation[-2:] != "AB" else "CD")),
    }  # fmt: skip
    bodies: dict[str, dict[str, object]] = {
        "rename": {"name": "new"}, "attach_iso": {"iso_name": ""}, "console": {"type": "vnc"},
        "{s}": {"walltime_mins": 60}, "merge": {"computeset": 99},
        "reinstall": {"confirm": "vm-vc3-0"}, "clone": {"confirm": "vm-vc3-0", "original": "vm-vc3-1"},
    }  # fmt: skip
    assert len(ROUTES) > 25
    for method, path in ROUTES:
        seen = []
        for which in (0, 1):
            asked = path
            for mark, values in pairs.items():
                asked = asked.replace(mark, values[which])
            body = (
                {"map": {"a": "b"}} if path == "/v1/cluster/{c}/rename" else bodies.get(path.split("/")[-1])
            )
            options = {"json": body} if method in ("PUT", "POST", "PATCH") and body is not None else {}
            answer = service.ask(
                "ann",
                method,
                asked,
                headers={"X-Request-ID": "same", **headers},
                params={"iso_name": ""},
                **options,
            )
            text = answer.text
            # the operation's first: the digits of the other set may be in it
            for values in reversed(pairs.values()):
                text = text.replace(values[1], values[0])
            visible = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in ("date", "content-length", "server")
            }
            seen.append((answer.status_code, text, visible))
        assert seen[0] == seen[1] and seen[0][0] == 404, (method, path, seen)
        service.forget_rates()


def test_a_name_of_any_length_that_names_nothing_gets_one_answer(service: Client) -> None:
    for method, path, code in (
        ("DELETE", "/v1/token/", "unknown-token"),
        ("DELETE", "/v1/image/public/", "unknown-image"),
        ("DELETE", "/v1/image/project/", "unknown-image"),
        ("PATCH", "/v1/reservation/site/", "unknown-site"),
    ):
        for name in ("x", "x" * 300, "%C3%A9" * 70):
            named = f"{path}{name}/{name}" if path.endswith("project/") else path + name
            options = {"json": {}} if "site" in path else {}
            answer = service.ask("ann", method, named, headers=PROBLEMS, **options)
            assert (answer.status_code, answer.json()["code"]) == (404, code), named


def test_nobody_gets_401_and_a_method_that_is_not_there_405(service: Client) -> None:
    for path in ("/v1/cluster", "/v1/computeset/1", "/v1/events", "/v1/image", "/getkey"):
        assert service.get("", path).status_code == 401
        wrong = service.get("", path, headers={"Authorization": "Bearer nuc_AAAAAAAA_" + "0" * 43})
        assert wrong.status_code == 401
    answer = service.ask("ann", "DELETE", "/v1/image")
    assert answer.status_code == 405 and answer.headers["Allow"] == "GET, HEAD, POST"
    answer = service.ask("ann", "OPTIONS", "/v1/reservation/site")  # DELETE is of /v1/reservation/1
    assert answer.status_code == 405 and answer.headers["Allow"] == "GET, HEAD"
    assert service.ask("ann", "POST", "/v1/cluster/").status_code == 405
    assert service.get("ann", "/v1/nothing").status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "path", "status"),
    [
        ("ann", "/nucleus/v1/cluster/", 200),
        ("ann", "/v1/cluster/vc2", 200),
        ("ann", "/v1/computeset?state=running", 200),
        ("ann", "/v1/cluster/vc3", 404),
        ("", "/v1/cluster", 401),
        ("", "/docs", 200),
        ("", "/", 303),
        ("", "/assets/page.css", 200),
    ],
)
def test_head_answers_as_get_without_content(service: Client, who: str, path: str, status: int) -> None:
    """RFC 9110 §9.3.2. Behind the headers comes nothing but the next answer."""
    got, same = service.get(who, path), {"X-Request-Id": "x"}
    asked = service.ask(who, "HEAD", path, headers=same)
    assert (asked.status_code, got.status_code, asked.content) == (status, status, b"")
    assert asked.headers["Content-Length"] == str(len(got.content))
    assert {**dict(asked.headers), **same} == {**dict(service.get(who, path, headers=same).headers), **same}
    lines = f"HEAD {path} HTTP/1.1\r\nHost: site.example\r\nConnection: "
    with service.connected(f"{lines}keep-alive\r\n\r\n{lines}close\r\n\r\n".encode()) as raw:
        parts = raw.makefile("rb").read().split(b"\r\n\r\n")
    assert [part[:8] for part in parts] == [b"HTTP/1.1", b"HTTP/1.1", b""]


def test_head_has_the_conditions_of_get_and_ends(service: Client, caplog: pytest.LogCaptureFixture) -> None:
    """An answer that ends with its client only has no HEAD. The log has what was sent."""
    caplog.set_level("INFO", "nucleus.access")
    tag = service.ask("ann", "HEAD", "/v1/cluster/vc2").headers["ETag"]
    assert service.ask("ann", "HEAD", "/v1/cluster/vc2", headers={"If-None-Match": tag}).status_code == 304
    refused = service.ask("ann", "HEAD", "/v1/events")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET")
    assert [json.loads(line)["method"] for line in caplog.messages[:2]] == ["HEAD"] * 2
    assert 'method="HEAD",route="/v1/cluster/{c}",status="304"' in service.get("", "/metrics").text


def test_head_changes_nothing(service: Client, pool: Pool) -> None:
    """RFC 9110 §9.2.1. There is no HEAD where GET makes a ticket or a key, or ends a sign-in."""
    sql(pool, "UPDATE node SET state = 'active', physical_host = 'host-0'")
    for path, allowed in (
        ("/nucleus/v1/cluster/vc2/frontend/console/", "GET, POST"),
        ("/v1/cluster/vc2/compute/vm-vc2-0/console", "GET, POST"),
        ("/getkey", "GET"),
        ("/session/provider/answer?code=x&state=x", "GET"),
    ):
        asked = service.ask("ann", "HEAD", path)
        assert (asked.status_code, asked.headers["Allow"], asked.content) == (405, allowed, b""), path
    assert sql(pool, "SELECT hash FROM console_ticket") + sql(pool, "SELECT action FROM audit") == []
    assert service.ask("ann", "HEAD", "/v1/cluster/vc2/frontend/console/log").status_code != 405


def test_the_description_is_written_once(service: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers may ask for it, and the event loop answers."""
    first = {path: service.get("", path).content for path in ("/docs", "/openapi.json")}

    def written_again(_: object) -> None:
        raise AssertionError("it is written again")

    monkeypatch.setattr(app, "describe", written_again)
    assert {path: service.get("", path).content for path in first} == first


def test_pages_for_people_and_machines(service: Client) -> None:
    for path in ("/docs", "/problems/node-busy", "/healthz", "/metrics", "/openapi.json"):
        assert service.get("", path).status_code == 200, path
    text = service.get("", "/docs").text
    assert "http://" not in text and "https://" not in text and "<script" not in text
    for path in ("/none", "/v1/cluster/none", "/problems/none"):
        page = service.get("ann", path, headers={"Accept": "text/html,*/*"})
        assert page.status_code == 404 and page.headers["Content-Type"].startswith("text/html"), path
        assert "json" in service.get("ann", path).headers["Content-Type"], path
    assert service.get("", "/readyz").status_code == 503, "nothing was polled"
    assert 'nucleus_requests_total{method="GET",route="/v1/cluster"' not in service.get("", "/metrics").text
    service.get("ann", "/v1/cluster")
    service.forget_rates()
    assert 'route="/v1/cluster",status="200"' in service.get("", "/metrics").text


def test_a_service_is_ready_while_each_poll_is_of_late(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    """Three times the longer interval; the poll of images on their way and of the library do not count."""
    polls = PollSettings(power_seconds=20.0, topology_seconds=100.0)
    with started(dataclasses.replace(configuration, poll=polls), pool, people) as service:
        for source, age, status in (("", 240, 200), ("vm", 290, 200), ("vm", 310, 503), ("vm", None, 503)):
            with pool.transaction() as session:
                for name in (source,) if source else ("cluster", "interface", "route", "vm"):
                    moment = None if age is None else database_now(session) - timedelta(seconds=age)
                    session.execute("UPDATE source SET observed = %s WHERE name = %s", (moment, name))
            service.forget_rates()
            answer = service.get("", "/readyz")
            assert answer.status_code == status, (source, age, answer.text)
            checks = answer.json()
            assert checks["database"] == "ok"
            expected = "ok" if status == 200 else "never polled" if age is None else "last polled 31"
            assert expected in checks["poll"]
