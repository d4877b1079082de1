"""What computesets were charged: by allocation, project, user and cluster, in a time."""

from __future__ import annotations

import csv
import json
import re

import pytest

from nucleus.cli.main import main
from nucleus.mirror.columns import new_ulid, oldest_ulid
from nucleus.mirror.pool import Pool
from tests.system.nucleus.api.conftest import PROBLEMS
from tests.system.nucleus.api.http_client import Client
from tests.system.nucleus.conftest import sql

_DAYS = ("2026-11-01", "2026-11-02", "2026-11-03")


@pytest.fixture(autouse=True)
def sets(pool: Pool, people: dict[str, str], environment: None) -> None:
    """Three sets of ann and one of bob that have ended, at 10 o'clock of a day; one that runs; one that never ran."""
    for cluster, person, account, day, nodes, seconds, charged in (
        ("vc2", "ann", "alpha-account", 1, 2, 601, None),
        ("vc2", "ann", "alpha-account", 2, 1, 3600, None),
        ("vc2", "ann", "alpha-account", 2, 3, 3600, 7201),
        ("vc3", "bob", "beta-account", 2, 1, 60, None),
    ):
        end = f"2026-11-{day:02} 10:00:00"
        sql(
            pool,
            "INSERT INTO computeset (cluster_id, project_id, state, account, walltime_minutes, node_count,"
            " requested_by, start_time, ended_at, charged_seconds) SELECT id, project_id, 'completed', %s, 60, %s, %s,"
            " %s - INTERVAL %s SECOND, %s, %s FROM cluster WHERE name = %s",
            (account, nodes, person, end, seconds, end, charged, cluster),
        )
    for state, times in (("running", "UTC_TIMESTAMP(3), NULL"), ("failed", "NULL, '2026-11-02'")):
        sql(
            pool,
            "INSERT INTO computeset (cluster_id, project_id, state, account, walltime_minutes, node_count,"
            " requested_by, start_time, ended_at)"
            f" SELECT id, project_id, '{state}', 'alpha-account', 60, 1, 'ann', {times} FROM cluster"
            " WHERE name = 'vc2'",
        )


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What `nucleus usage` prints."""
    assert main(["usage", *options]) == 0
    return capsys.readouterr().out


def test_times_that_follow_each_other_add_up_to_what_allocations_were_charged(
    service: Client, pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    """What Slurm has counted stands in the place of what Nucleus would."""
    found = json.loads(printed(capsys, "--format=json"))
    assert [(one["user"], one["project"], one["cluster"], one["computesets"]) for one in found] == [
        ("ann", "alpha", "vc2", 4), ("bob", "beta", "vc3", 1),
    ]  # fmt: skip
    seconds = [one["charged_seconds"] for one in found]
    assert seconds == [2 * 660 + 3600 + 7201, 60] and found[0]["node_hours"] == seconds[0] / 3600
    parts = [(f"--to={_DAYS[0]}",), (f"--from={_DAYS[0]}", f"--to={_DAYS[1]}"), (f"--from={_DAYS[1]}",)]
    summed = 0
    for options in parts:
        rows = list(csv.DictReader(printed(capsys, "--format=csv", *options).splitlines()))
        summed += sum(int(row["charged_seconds"]) for row in rows)
    assert summed == sum(seconds)
    sql(pool, "UPDATE computeset SET charged_seconds = NULL, jobid = id")
    (usage,) = service.get("ann", "/v1/project").json()[0]["allocations"]
    (row,) = service.get("ann", "/v1/usage").json()
    assert row["charged_seconds"] == usage["charged_minutes"] * 60
    listed = service.get("ann", "/v1/computeset").json()
    assert [one["charged_seconds"] for one in listed if one["state"] == "running"] == [None]
    assert sum(one["charged_seconds"] or 0 for one in listed) == row["charged_seconds"]
    assert "NODE HOURS" in printed(capsys).splitlines()[0]


def test_owners_see_their_projects_only(service: Client) -> None:
    assert [one["cluster"] for one in service.get("bob", "/v1/usage").json()] == ["vc3"]
    assert [one["cluster"] for one in service.get("root", "/v1/usage").json()] == ["vc2", "vc3"]
    later = {"from": "2026-11-02T12:00:00+02:00", "to": "2026-11-02T12:00:01+02:00"}
    (row,) = service.get("ann", "/v1/usage", params=later).json()
    assert (row["computesets"], row["charged_seconds"]) == (2, 3600 + 7201)
    assert service.get("ann", "/v1/usage", params={"to": later["from"]}).json()[0]["computesets"] == 2


def test_days_add_up_to_their_time_also_as_csv(service: Client) -> None:
    """A day is one of UTC. Of an owner, the days of the owner's projects only."""
    time = {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"}
    rows = service.get("ann", "/v1/usage", params={**time, "by": "day"}).json()
    assert [(one["day"], one["computesets"], one["charged_seconds"]) for one in rows] == [
        (_DAYS[0], 1, 2 * 660), (_DAYS[1], 3, 3600 + 7201),
    ]  # fmt: skip
    (whole,) = service.get("ann", "/v1/usage", params=time).json()
    assert whole["charged_seconds"] == sum(one["charged_seconds"] for one in rows) and "day" not in whole
    answer = service.get("ann", "/v1/usage", params={**time, "by": "day", "format": "csv"})
    assert answer.headers["Content-Type"].startswith("text/csv")
    first, *_ = csv.DictReader(answer.text.splitlines())
    assert first == {
        "day": _DAYS[0], "allocation": "alpha-account", "project": "alpha", "user": "ann", "cluster": "vc2",
        "computesets": "1", "charged_seconds": "1320", "node_hours": "0.37",
    }  # fmt: skip
    assert "day" not in service.get("ann", "/v1/usage", params={"format": "csv"}).text.splitlines()[0]
    for bad in ({"by": "day"}, {**time, "to": "2027-11-03T00:00:00Z", "by": "day"}, {"by": "hour"}):
        assert service.get("ann", "/v1/usage", params=bad).status_code == 400, bad


def test_the_sets_that_ended_in_a_time_are_those_that_were_charged_in_it(service: Client) -> None:
    """Also a page at a time; those that have not ended are in no such list."""
    time = {"from": "2026-11-02T00:00:00Z", "to": "2026-11-03T00:00:00Z"}
    found = service.get("ann", "/v1/computeset", params=time).json()
    assert [one["state"] for one in found] == ["completed", "completed", "failed"]
    (usage,) = service.get("ann", "/v1/usage", params=time).json()
    assert sum(one["charged_seconds"] or 0 for one in found) == usage["charged_seconds"]
    first = service.get("ann", "/v1/computeset", params={**time, "limit": 2})
    following = re.search("(/v1/[^>]*)>", first.headers["Link"])
    assert following is not None
    rest = service.get("ann", following[1])
    assert [one["id"] for one in first.json() + rest.json()] == [one["id"] for one in found]
    assert service.get("ann", "/v1/computeset", params={**time, "state": "running"}).json() == []
    early = service.get("ann", "/v1/computeset", params={"to": time["from"]}).json()
    assert [one["ended_at"][:10] for one in early] == [_DAYS[0]]
    assert service.get("ann", "/v1/computeset", params={"from": "yesterday"}).status_code == 400


def test_who_gets_a_cluster_sees_neither_its_former_sets_nor_their_charges(
    service: Client, pool: Pool
) -> None:
    """They stay with the project that was charged; `nucleus usage` says so, too."""
    before = service.get("ann", "/v1/usage").json()
    number = service.get("ann", "/v1/computeset").json()[0]["id"]
    sql(
        pool,
        "UPDATE cluster SET project_id = (SELECT id FROM project WHERE name = 'beta') WHERE name = 'vc2'",
    )
    assert service.get("bob", "/v1/cluster/vc2").status_code == 200
    clusters = {one["cluster"] for one in service.get("bob", "/v1/computeset").json()}
    assert clusters == {"vc3"} and service.get("bob", "/v1/computeset?cluster=vc2").json() == []
    assert service.get("bob", f"/v1/computeset/{number}").status_code == 404
    assert service.ask("bob", "PUT", f"/v1/computeset/{number}/shutdown").status_code == 404
    assert [one["cluster"] for one in service.get("bob", "/v1/usage").json()] == ["vc3"]
    assert service.get("ann", "/v1/usage").json() == before and before[0]["project"] == "alpha"
    assert service.get("ann", f"/v1/computeset/{number}").status_code == 404, "its cluster is another's"
    assert service.get("root", f"/v1/computeset/{number}").json()["cluster"] == "vc2"
    assert [one["project"] for one in service.get("root", "/v1/usage").json()] == ["alpha", "beta"]


def test_times_that_are_none_are_refused(service: Client, capsys: pytest.CaptureFixture[str]) -> None:
    for bad in ({"from": "yesterday"}, {"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z"}):
        assert service.get("ann", "/v1/usage", params=bad).status_code == 400
    year = service.get(
        "ann", "/v1/usage", params={"from": "2026"}, headers=PROBLEMS
    )  # of which it is no second, either
    assert "it must be a moment with its zone, such as 2026-12-01T10:00:00Z" in year.json()["detail"]
    assert main(["usage", "--from=2026-11-02", "--to=2026-11-02"]) == 1
    assert "choose a later --to" in capsys.readouterr().err
    with pytest.raises(SystemExit) as raised:
        main(["usage", "--from=yesterday"])
    assert raised.value.code == 2 and "give a date such as" in capsys.readouterr().err


def test_metrics_have_the_time_that_operations_of_the_last_hour_took(service: Client, pool: Pool) -> None:
    """From their begin, where they had to wait for it; of a set, whose controller has no begin, from its request."""
    for identifier, kind, state, begin, end in (
        (new_ulid(), "poweron", "succeeded", 10, 12),
        (new_ulid(), "poweron", "failed", 10, 15),
        (new_ulid(), "poweron", "cancelled", None, 59),
        (new_ulid(), "poweroff", "running", 10, None),
        (new_ulid(), "start_set", "succeeded", None, 30),
        (oldest_ulid(3700), "shutdown", "succeeded", 10, 11),
    ):
        at = "TIMESTAMP('2026-01-01') + INTERVAL %s SECOND"
        sql(
            pool,
            "INSERT INTO operation (id, kind, actor, state, created, started, ended)"
            f" VALUES (%s, %s, 'ann', %s, {at}, {at}, {at})",
            (identifier, kind, state, 0, begin, end),
        )
    text = service.get("", "/metrics").text
    assert re.findall(r'^nucleus_operation_seconds{kind="(.*)"} (.*)$', text, re.MULTILINE) == [
        ("poweron", "3.5"),
        ("start_set", "30.0"),
    ]


def test_metrics_have_the_errors_of_the_last_hour(service: Client, pool: Pool) -> None:
    """Also those of operations that are tried again, as while the executor is away."""
    for identifier, kind, state, family in (
        (new_ulid(), "poweron", "failed", "host"),
        (new_ulid(), "poweron", "queued", "host"),
        (new_ulid(), "poweron", "failed", "tool"),
        (new_ulid(), "poweron", "succeeded", None),
        (new_ulid(), "poweroff", "cancelled", "cancelled"),
        (oldest_ulid(3700), "shutdown", "failed", "host"),
    ):
        error = None if family is None else json.dumps({"code": family, "detail": "…"})
        sql(
            pool,
            "INSERT INTO operation (id, kind, actor, state, error) VALUES (%s, %s, 'ann', %s, %s)",
            (identifier, kind, state, error),
        )
    found = r'^nucleus_operation_errors{family="(.*)",kind="(.*)"} (.*)$'
    assert re.findall(found, service.get("", "/metrics").text, re.MULTILINE) == [
        ("host", "poweron", "2.0"),
        ("tool", "poweron", "1.0"),
    ]
