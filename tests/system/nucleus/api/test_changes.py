"""What is changed: operations, keys, rules of computesets, quotas, names, tokens, and the record of it all."""

import json
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from nucleus.api.access.throttles import Rate
from nucleus.configuration import Configuration
from nucleus.mirror import audit
from nucleus.mirror.driver import LOCK_WAIT_SECONDS
from nucleus.mirror.pool import Pool
from tests.system.nucleus.api.conftest import MODERN, PROBLEMS, changed, started
from tests.system.nucleus.api.http_client import Answer, Client, Connection
from tests.system.nucleus.conftest import run_on, sql
from tests.waiting import at_once

SETS = "/v1/computeset/"


def start(service: Client, who: str = "ann", **body: Any) -> Any:
    """POST of a set of vc2."""
    return service.ask(who, "POST", SETS, json={"cluster": "vc2", **body}, headers=PROBLEMS)


@pytest.mark.slow
def test_old_and_new_clients_get_their_answers(service: Client) -> None:
    path = "/nucleus/v1/cluster/vc2/frontend/poweron"
    old = service.ask("ann", "PUT", path)
    assert old.status_code == 204 and old.content == b""
    place = old.headers["Operation-Location"]
    assert place.startswith("http://site.example/nucleus/v1/operation/")
    new = service.ask("ann", "PUT", path, headers=MODERN)
    assert new.status_code == 202 and new.headers["Operation-Location"] == place, "queued twice, done once"
    operation = new.json()
    assert operation["kind"] == "poweron" and operation["node"] == "vc2" and operation["state"] == "queued"
    found = service.get("ann", f"/v1/operation/{operation['id']}")
    assert found.json() == operation
    assert service.get("ann", "/v1/operation?target=vc2/vc2&state=queued").json() == [operation]
    assert service.ask("ann", "DELETE", f"/v1/operation/{operation['id']}").status_code == 204
    assert service.get("ann", f"/v1/operation/{operation['id']}?wait=60").json()["state"] == "cancelled"


def test_operators_read_what_the_site_reported_of_a_failure(service: Client, pool: Pool) -> None:
    """Hosts and paths are none of an owner's, in no answer."""
    power_on = "/v1/cluster/vc2/frontend/poweron"
    place = f"/v1/operation/{service.ask('ann', 'PUT', power_on, headers=MODERN).json()['id']}"
    error = json.dumps({"code": "host", "detail": "of owners", "cause": "of operators"})
    sql(pool, "UPDATE operation SET error = %s, generation = generation + 1", (error,))
    for who, detail in (("ann", "of owners"), ("root", "of operators")):
        again = service.ask("ann", "PUT", power_on, headers=MODERN).json()
        assert again["error"] == {"code": "host", "detail": "of owners"}, "it is the same operation"
        for found in (service.get(who, place).json(), service.get(who, "/v1/operation").json()[0]):
            assert found["error"] == {"code": "host", "detail": detail}


def test_a_set_is_checked_before_it_exists(service: Client, pool: Pool) -> None:
    sql(pool, "UPDATE node SET image_state = 'mapped' WHERE name = 'vm-vc2-3'")
    sql(pool, "UPDATE node SET admin_disabled = 1 WHERE name = 'vm-vc2-2'")
    refused = [
        ({"computes": "vm-vc2-9"}, 404, "unknown-node"),
        ({"computes": "vm-vc2-[0-3]"}, 409, "node-disabled"),
        ({"computes": "vm-vc2-3"}, 423, "node-syncing"),
        ({"computes": "vm-vc2-0,vm-vc2-0"}, 400, "invalid-request"),
        ({"computes": "vm[0-"}, 400, "invalid-request"),
        ({}, 400, "invalid-request"),
        ({"count": 1, "computes": "vm-vc2-0"}, 400, "invalid-request"),
        ({"count": 3}, 409, "not-enough-nodes"),
        ({"count": 0}, 409, "not-enough-nodes"),
        ({"count": "0"}, 409, "not-enough-nodes"),
        ({"count": -1}, 400, "invalid-request"),
        ({"count": "", "computes": ""}, 400, "invalid-request"),
        ({"count": 1, "walltime_mins": "99999999"}, 400, "invalid-request"),
        ({"count": 1, "allocation": "beta-account"}, 422, "bad-allocation"),
        ({"count": 1, "hosts": "host-1"}, 403, "missing-scope"),
        ({"count": 1, "extra": 1}, 400, "invalid-request"),
        ({"count": 1, "reservation": "foo"}, 400, "invalid-request"),
    ]
    for body, status, code in refused:
        answer = start(service, **body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    for minutes, named in ((43201, "43201 minutes is"), (10_000_000, "10000000 minutes or more is")):
        assert start(service, count=1, walltime_mins=minutes).json()["detail"] == (
            f"a walltime of {named} not possible here: it may be 1 to 43200 minutes (30d)"
        )
    none = {start(service, count=count).json()["detail"] for count in (0, "0")}
    assert none == {"you asked for 0 of the nodes of vc2, and 2 are available"}
    unknown = start(service, computes="vm-vc2-9").json()["detail"]
    assert unknown == "the cluster vc2 has no node 'vm-vc2-9'; `comet cluster vc2` lists its nodes"
    empty = dict.fromkeys(("computes", "hosts", "reservation", "allocation"), "")
    answer = start(service, count="2", walltime_mins="60", **empty)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["Location"] == f"http://site.example/v1/computeset/{made['id']}"
    assert made["state"] == "created" and made["account"] == "alpha-account" and made["walltime_mins"] == 60
    assert [one["name"] for one in made["computes"]] == ["vm-vc2-0", "vm-vc2-1"] and "jobid" not in made
    busy = start(service, computes="vm-vc2-1")
    assert busy.status_code == 409 and f"computeset {made['id']}" in busy.json()["detail"]
    node = service.get("ann", "/v1/cluster/vc2/compute/vm-vc2-1").json()
    assert node["active_computeset"] == made["id"] and node["active_computeset_state"] == "created"
    assert service.get("ann", f"{SETS}?state=queued&state=submitted&state=created").json() == [made]
    assert service.get("ann", f"{SETS}?state=queued").json() == []
    assert service.get("ann", f"{SETS}?state=queued&state=waiting").status_code == 400
    assert "jobid" in service.get("root", f"{SETS}{made['id']}").json()
    for action in ("reboot", "reset"):
        assert service.ask("ann", "PUT", f"{SETS}{made['id']}/{action}").status_code == 400, "not running"
    sql(pool, "UPDATE node SET state = 'active' WHERE name = 'vm-vc2-3'")
    sql(pool, "UPDATE cluster SET observed_power = UTC_TIMESTAMP(3)")  # on a slow machine it is old by now
    for node, way_out in (
        ("vm-vc2-1", f"its set {made['id']} is created"),
        ("vm-vc2-2", "`comet start vc2 vm-vc2-2` starts one"),
        ("vm-vc2-3", "and on; ask the site's operators to power it off"),
    ):
        powered = service.ask("ann", "PUT", f"/v1/cluster/vc2/compute/{node}/poweroff", headers=PROBLEMS)
        assert powered.status_code == 409 and way_out in powered.json()["detail"]
    service.forget_rates()
    for _ in range(2):
        assert service.ask("ann", "PUT", f"{SETS}{made['id']}/shutdown").status_code == 204
    sql(pool, "UPDATE computeset SET state = 'cancelled'")
    assert service.ask("ann", "PUT", f"{SETS}{made['id']}/shutdown").status_code == 204
    assert service.ask("ann", "PUT", f"{SETS}{made['id']}/shutdown", headers=MODERN).status_code == 409


def test_a_set_that_no_list_of_hosts_can_hold_is_refused(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    with started(changed(configuration, "batch", hosts=["host-1", "host-2"]), pool, people) as service:
        answer = start(service, computes="vm-vc2-[0-2]")
        assert (answer.status_code, answer.json()["code"]) == (409, "not-enough-nodes")
        assert answer.json()["detail"] == (
            "3 nodes need as many hosts, and this site has 2 for computesets; ask for fewer nodes"
        )
        assert start(service, count=3).json()["code"] == "not-enough-nodes"
        chosen = {"cluster": "vc2", "count": 1, "hosts": "host-3"}
        unknown = service.ask("root", "POST", SETS, json=chosen, headers=PROBLEMS)
        assert (
            unknown.status_code == 400 and "'host-3' is not in the list of hosts" in unknown.json()["detail"]
        )
        chosen = {"cluster": "vc2", "count": 2, "hosts": "host-1,host-1"}
        twice = service.ask("root", "POST", SETS, json=chosen, headers=PROBLEMS)
        assert twice.status_code == 400 and "has a name twice" in twice.json()["detail"]
        chosen = {"cluster": "vc2", "count": 2, "hosts": "host-1,HOST-1"}
        twice = service.ask("root", "POST", SETS, json=chosen, headers=PROBLEMS)
        assert twice.status_code == 400 and "hosts has a name twice" in twice.json()["detail"]
        assert service.get("ann", SETS).json() == [], "nothing was accepted"
        assert start(service, count=2).status_code == 201
    with started(
        changed(configuration, "batch", hosts=["host-1"], most_walltime_minutes=60), pool, people
    ) as service:
        sql(pool, "UPDATE computeset_node SET active = NULL")
        sql(pool, "UPDATE computeset SET state = 'completed'")
        assert start(service, count=1).json()["walltime_mins"] == 60, "not the default, which is longer"
    with started(changed(configuration, "batch", hosts=[]), pool, people) as service:
        assert start(service, count=1).json()["detail"] == (
            "this site has no hosts for new computesets; ask its operators, who add some: nucleus host add HOSTS"
        )


def test_two_at_once_never_share_a_node(service: Client) -> None:
    computes = ("vm-vc2-[0-1]", "vm-vc2-[1-2]")
    answers = at_once(lambda names: int(start(service, computes=names).status_code), computes)
    assert sorted(answers) == [201, 409]


def test_a_key_is_used_once(service: Client, pool: Pool) -> None:
    key = {"Idempotency-Key": "k1"}
    first = service.ask("ann", "POST", SETS, json={"cluster": "vc2", "count": 1}, headers=key)
    again = service.ask("ann", "POST", SETS, json={"cluster": "vc2", "count": 1}, headers=key)
    assert again.status_code == 201 and again.content == first.content
    assert (
        again.headers["Idempotency-Replayed"] == "true"
        and again.headers["Location"] == first.headers["Location"]
    )
    other = service.ask("ann", "POST", SETS, json={"cluster": "vc2", "count": 2}, headers=key | PROBLEMS)
    assert other.status_code == 422 and other.json()["code"] == "key-reused"
    with pool.transaction() as session:
        assert session.row("SELECT COUNT(*) FROM computeset") == (1,)
        session.execute(
            "INSERT INTO idempotency (actor, key_text, request_hash) VALUES ('ann', 'k2', REPEAT('x', 32))"
        )
        began = time.monotonic()
        busy = service.ask(
            "ann",
            "POST",
            SETS,
            json={"cluster": "vc2", "count": 1},
            headers={"Idempotency-Key": "k2", **PROBLEMS},
        )
        assert busy.status_code == 409 and busy.headers["Retry-After"] == "1"
        assert time.monotonic() - began < LOCK_WAIT_SECONDS, "it waits as long as for other rows"


def test_computes_are_powered_in_their_running_set_only(service: Client, pool: Pool) -> None:
    path = "/v1/cluster/vc2/compute/vm-vc2-0/poweroff"
    assert service.ask("ann", "PUT", path, headers=PROBLEMS).json()["code"] == "not-in-running-set"
    number = start(service, computes="vm-vc2-0").json()["id"]
    assert service.ask("ann", "PUT", path, headers=PROBLEMS).json()["code"] == "not-in-running-set"
    run_on(pool, number, "host-0", ["host-0"])
    sql(pool, "UPDATE node SET state = 'active' WHERE name = 'vm-vc2-0'")
    for action in ("reboot", "reset", "poweroff", "shutdown", "poweron"):
        asked = path.replace("poweroff", action)
        operation = service.ask("ann", "PUT", asked, headers=MODERN).json()
        assert operation["kind"] == action and operation["computeset"] == number
    assert service.ask("ann", "PUT", f"{SETS}{number}/reboot", headers=MODERN).json()["kind"] == "reboot_set"
    poweron = path.replace("poweroff", "poweron")
    sql(pool, "UPDATE node SET physical_host = 'host-1' WHERE name = 'vm-vc2-0'")  # operators have moved it
    for hosts, status in (("host-0", 202), ("host-1", 409)):
        run_on(pool, number, "host-0", [hosts])
        answer = service.ask("ann", "PUT", poweron, headers={**MODERN, **PROBLEMS})
        assert answer.status_code == status, answer.text
    assert f"the site took the host of vm-vc2-0 from computeset {number}" in answer.json()["detail"]


def test_a_cluster_is_not_destroyed_while_something_of_it_starts_nor_started_while_it_is_destroyed(
    service: Client, pool: Pool
) -> None:
    destroy = ("ann", "DELETE", "/v1/cluster/vc2?confirm=vc2")
    poweron = ("ann", "PUT", "/v1/cluster/vc2/frontend/poweron")
    asked = service.ask(*poweron, headers=MODERN).json()
    refused = service.ask(*destroy, headers={**MODERN, **PROBLEMS})
    assert refused.status_code == 409 and "is being powered on" in refused.json()["detail"]
    assert service.ask("ann", "DELETE", f"/v1/operation/{asked['id']}").status_code == 204
    computes = service.ask(
        "ann", "DELETE", "/v1/cluster/vc2/compute/vm-vc2-3?confirm=vm-vc2-3", headers=MODERN
    )
    assert computes.status_code == 202 and start(service, computes="vm-vc2-0").status_code == 201
    sql(pool, "UPDATE computeset_node SET active = NULL")
    assert service.ask(*destroy, headers=MODERN).status_code == 202
    for state in ("queued", "running"):
        sql(pool, "UPDATE operation SET state = %s WHERE kind = 'destroy' AND target_node IS NULL", (state,))
        service.forget_rates()
        for answer in (start(service, count=1), service.ask(*poweron, headers={**MODERN, **PROBLEMS})):
            assert answer.status_code == 409 and "vc2 is being destroyed" in answer.json()["detail"]
    sql(pool, "UPDATE operation SET state = 'failed' WHERE kind = 'destroy'")
    assert start(service, computes="vm-vc2-1").status_code == 201
    assert service.ask(*poweron, headers=MODERN).status_code == 202


def test_too_few_nodes_are_refused_with_what_the_others_do(service: Client, pool: Pool) -> None:
    """An owner saw a compute in no computeset, and read that none is available."""
    sql(pool, "UPDATE node SET state = 'active' WHERE name = 'vm-vc2-0'")
    refused = start(service, count=4).json()["detail"]
    assert refused.startswith(
        "you asked for 4 of the nodes of vc2, and 3 are available: vm-vc2-0 is on and in no computeset"
    )


def test_a_node_that_is_being_destroyed_is_in_no_new_set(service: Client, pool: Pool) -> None:
    """It was: its set, which was charged for its host, could not start it."""
    destroy = "/v1/cluster/vc2/compute/vm-vc2-0?confirm=vm-vc2-0"
    assert service.ask("ann", "DELETE", destroy, headers=MODERN).status_code == 202
    refused = start(service, computes="vm-vc2-[0-1]")
    assert refused.status_code == 409 and refused.json()["detail"].startswith("vm-vc2-0 is being destroyed")
    assert "3 are available" in start(service, count=4).json()["detail"]
    assert [one["name"] for one in start(service, count=2).json()["computes"]] == ["vm-vc2-1", "vm-vc2-2"]
    sql(pool, "UPDATE operation SET state = 'failed' WHERE kind = 'destroy'")
    assert start(service, computes="vm-vc2-0").status_code == 201


def test_a_node_that_is_off_is_not_reset(service: Client, pool: Pool) -> None:
    path = "/v1/cluster/vc2/frontend/"
    sql(pool, "UPDATE node SET state = 'nostate' WHERE name = 'vc2'")
    sql(pool, "UPDATE cluster SET observed_power = UTC_TIMESTAMP(3) - INTERVAL 9 SECOND")
    for action in ("reset", "reboot"):
        refused = service.ask("ann", "PUT", path + action, headers=PROBLEMS)
        assert refused.status_code == 409 and "vc2 is off (as was seen " in refused.json()["detail"]
    assert service.ask("ann", "PUT", f"{path}poweron", headers=MODERN).status_code == 202
    assert service.ask("ann", "PUT", f"{path}reset", headers=MODERN).status_code == 202, "it comes after that"


AFTER_OFF = {"poweron": 202, "poweroff": 202, "shutdown": 202, "reboot": 409, "reset": 409}
AFTER_ON = dict.fromkeys(AFTER_OFF, 202)


@pytest.mark.slow
@pytest.mark.parametrize("node", ["frontend", "compute/vm-vc2-0"])
@pytest.mark.parametrize("state", ["queued", "running"])
@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (["poweroff"], AFTER_OFF),
        (["shutdown"], AFTER_OFF),
        (["poweron"], AFTER_ON),
        (["reboot"], AFTER_ON),
        (["reset"], AFTER_ON),
        (["poweroff", "poweron"], AFTER_ON),
        (["poweron", "shutdown"], AFTER_OFF),
    ],
)
def test_each_pair_of_power_operations(
    service: Client, pool: Pool, node: str, state: str, before: list[str], expected: dict[str, int]
) -> None:
    """What is accepted does not fail because of what was accepted before it: comes an off first, a reboot would."""
    if node != "frontend":
        number = start(service, computes="vm-vc2-0").json()["id"]
        run_on(pool, number, "host-0", ["host-0"])
        sql(pool, "UPDATE operation SET state = 'succeeded'")
    sql(pool, "UPDATE node SET state = 'active' WHERE name IN ('vc2', 'vm-vc2-0')")
    path = f"/v1/cluster/vc2/{node}/"
    for action in before:
        assert service.ask("ann", "PUT", path + action, headers=MODERN).status_code == 202
    # of a node one runs at a time
    sql(pool, "UPDATE operation SET state = %s WHERE state = 'queued' ORDER BY id LIMIT 1", (state,))
    newest = sql(pool, "SELECT MAX(id) FROM operation")[0][0]
    for action, status in expected.items():
        service.forget_rates()
        answer = service.ask("ann", "PUT", path + action, headers={**MODERN, **PROBLEMS})
        assert answer.status_code == status, (action, answer.text)
        if status == 409:
            assert "is being powered off; wait until it is off, and power it on" in answer.json()["detail"]
            assert answer.json()["operation"] == newest
        sql(pool, "DELETE FROM operation WHERE id > %s", (newest,))
    if node != "frontend":
        whole = service.ask("ann", "PUT", f"{SETS}{number}/reset", headers={**MODERN, **PROBLEMS})
        assert whole.status_code == expected["reset"], whole.text
    sql(pool, "UPDATE operation SET state = 'failed'")
    assert service.ask("ann", "PUT", f"{path}reset", headers=MODERN).status_code == 202, "nothing is to come"


def test_nothing_is_asked_of_a_set_whose_end_was_asked_for(service: Client, pool: Pool) -> None:
    """It runs still, and each of these would be cancelled by its end."""
    number = start(service, computes="vm-vc2-0").json()["id"]
    run_on(pool, number, "host-0", ["host-0"])
    assert service.ask("ann", "PUT", f"{SETS}{number}/shutdown", headers=MODERN).status_code == 202
    node = "/v1/cluster/vc2/compute/vm-vc2-0/"
    many = {"iso_name": "", "nodes": "vm-vc2-[0-3]"}
    for path, body in (
        *((f"{node}{action}", None) for action in AFTER_OFF),
        (f"{node}attach_iso?iso_name=", None),
        ("/v1/cluster/vc2/attach_iso", many),
        (f"{SETS}{number}/reset", None),
        (f"{SETS}{number}/reboot", None),
    ):
        service.forget_rates()
        refused = service.ask("ann", "PUT", path, json=body, headers={**MODERN, **PROBLEMS})
        assert refused.status_code == 409 and f"computeset {number} " in refused.json()["detail"], path
        assert " is ending" in refused.json()["detail"], refused.text
    again = service.ask("ann", "PUT", f"{SETS}{number}/poweroff", headers=MODERN)
    assert again.status_code == 202, "at once, where a shutdown was asked for"
    assert sql(pool, "SELECT DISTINCT kind FROM operation ORDER BY kind") == [("end_set",), ("start_set",)]


def test_a_computeset_is_extended_within_what_a_new_one_may_have(service: Client, pool: Pool) -> None:
    number = start(service, computes="vm-vc2-0").json()["id"]
    ((now,),) = sql(pool, "SELECT walltime_minutes FROM computeset")

    def extend(minutes: object, who: str = "ann") -> Answer:
        body = {"walltime_mins": minutes}
        return service.ask(who, "PATCH", f"{SETS}{number}", json=body, headers={**MODERN, **PROBLEMS})

    assert [extend(one).status_code for one in (now - 1, 10**7, 0, "x")] == [409, 400, 400, 400]
    assert extend(now + 60, "bob").status_code == 404
    sql(pool, """UPDATE project SET limits = '{"walltime_minutes": 10}' WHERE name = 'alpha'""")
    assert extend(now + 60).json()["code"] == "quota-exceeded"
    sql(pool, "UPDATE project SET limits = '{}' WHERE name = 'alpha'")
    assert extend(now + 60).status_code == 202
    asked = "SELECT target_set, JSON_VALUE(arguments, '$.minutes') FROM operation WHERE kind = 'extend_set'"
    assert sql(pool, asked) == [(number, str(now + 60))]
    assert "is being extended" in extend(now + 90).json()["detail"]
    sql(pool, "UPDATE computeset SET cancel_requested = 'shutdown'")
    assert "is ending" in extend(now + 60).json()["detail"]


def test_a_start_is_estimated_and_refused_as_one_and_nothing_is_started(service: Client, pool: Pool) -> None:
    def estimate(**body: Any) -> Any:
        asked = {"cluster": "vc2", "walltime_mins": 90, **body}
        return service.ask("ann", "POST", f"{SETS}estimate", json=asked, headers=PROBLEMS).json()

    sql(pool, """UPDATE project SET limits = '{"node_hours": 100}' WHERE name = 'alpha'""")
    found = estimate(count=2)
    start_at = found.pop("estimated_start")
    assert found == {
        "cluster": "vc2", "computes": ["vm-vc2-0", "vm-vc2-1"], "allocation": "alpha-account", "walltime_mins": 90,
        "node_minutes": 180, "left_minutes": 6000, "waiting": None,
    }  # fmt: skip
    assert start_at is not None
    assert estimate(count=9)["code"] == "not-enough-nodes"
    assert estimate(count=2, walltime_mins=6000)["code"] == "quota-exceeded"
    assert estimate(cluster="vc1", count=1)["code"] == "unknown-cluster"
    assert (
        sql(pool, "SELECT COUNT(*) FROM computeset") == sql(pool, "SELECT COUNT(*) FROM operation") == [(0,)]
    )
    assert start(service, count=2, walltime_mins=90).status_code == 201
    assert estimate(count=2)["left_minutes"] == 5820


def test_merged_computesets_are_extended_restarted_and_ended_as_one(service: Client, pool: Pool) -> None:
    first, second, third = (start(service, computes=f"vm-vc2-{n}").json()["id"] for n in range(3))
    begin, headers = "UTC_TIMESTAMP(3) - INTERVAL %s MINUTE", {**MODERN, **PROBLEMS}

    def merge(number: int, other: int, who: str = "ann") -> Answer:
        service.forget_rates()
        path, body = f"{SETS}{number}/merge", {"computeset": other}
        return service.ask(who, "POST", path, json=body, headers=headers)

    waiting = merge(first, second)
    assert waiting.status_code == 409 and "only a running one can be merged" in waiting.json()["detail"]
    for number, minutes in ((first, 30), (second, 10), (third, 5)):
        run_on(pool, number, f"host-{number}", [f"host-{number}"])
        sql(
            pool,
            f"UPDATE computeset SET walltime_minutes = 60, start_time = {begin},"
            f" walltime_end = start_time + INTERVAL 60 MINUTE, nodelist = 'h{number}' WHERE id = %s",
            (minutes, number),
        )
    sql(pool, "UPDATE node SET state = 'active' WHERE name LIKE 'vm-vc2-_'")
    assert [merge(first, second, "bob").status_code, merge(first, 99).status_code] == [404, 404]
    assert merge(first, first).status_code == 400
    sql(pool, "UPDATE computeset SET account = 'other' WHERE id = %s", (second,))
    assert "to other; only computesets of one allocation" in merge(first, second).json()["detail"]
    sql(pool, "UPDATE computeset SET account = 'alpha-account' WHERE id = %s", (second,))
    assert [merge(second, third).status_code, merge(first, second).status_code] == [204, 204]
    assert merge(third, first).status_code == 204, "they are one already"

    (listed,) = service.get("ann", "/v1/computeset/?state=running").json()
    assert (
        listed == service.get("ann", f"{SETS}{third}").json() == service.get("ann", f"{SETS}{first}").json()
    )
    assert (listed["id"], listed["merged"], listed["nodes_ready"]) == (first, [second, third], 3)
    assert [one["name"] for one in listed["computes"]] == ["vm-vc2-0", "vm-vc2-1", "vm-vc2-2"]
    assert {one["active_computeset"] for one in listed["computes"]} == {first}
    assert listed["walltime_mins"] == 60 and listed["charged_seconds"] is None
    cluster = service.get("ann", "/v1/cluster/vc2").json()
    assert [one["active_computeset"] for one in cluster["computes"]] == [first, first, first, None]
    assert (
        start(service, computes="vm-vc2-2")
        .json()["detail"]
        .startswith(f"vm-vc2-2 is in the computeset {first},")
    )

    body = {"walltime_mins": 90}
    assert service.ask("ann", "PATCH", f"{SETS}{second}", json=body, headers=headers).status_code == 202
    ((number, arguments),) = sql(
        pool, "SELECT target_set, arguments FROM operation WHERE kind = 'extend_set'"
    )
    assert number == first and json.loads(arguments)["parts"] == {
        str(first): 90,
        str(second): 70,
        str(third): 65,
    }
    assert service.ask("ann", "PUT", f"{SETS}{first}/reboot", headers=MODERN).status_code == 202
    ((number, arguments),) = sql(
        pool, "SELECT target_set, arguments FROM operation WHERE kind = 'reboot_set'"
    )
    assert number == first and len(json.loads(arguments)["nodes"]) == 3

    ended = "UPDATE computeset SET state = 'completed', end_reason = 'walltime', ended_at = UTC_TIMESTAMP(3)"
    sql(pool, f"{ended}, charged_seconds = 100 WHERE id = %s", (first,))
    sql(pool, "UPDATE computeset_node SET active = NULL WHERE computeset_id = %s", (first,))
    (left,) = service.get("ann", "/v1/computeset/?state=running").json()
    assert (left["id"], left["state"], left["nodes_total"]) == (first, "running", 2), "the others go on"
    assert left["start_time"] == listed["start_time"], "so a walltime in all means the same as before"
    assert service.get("ann", "/v1/computeset/?state=completed").json() == []
    assert service.get("ann", "/v1/computeset/?limit=1").json()[0]["id"] == first

    assert service.ask("ann", "PUT", f"{SETS}{first}/shutdown", headers=MODERN).status_code == 202
    assert sql(pool, "SELECT target_set FROM operation WHERE kind = 'end_set' ORDER BY target_set") == [
        (second,),
        (third,),
    ]
    sql(pool, f"{ended}, charged_seconds = 100 WHERE id <> %s", (first,))
    whole = service.get("ann", f"{SETS}{second}").json()
    assert (whole["state"], whole["charged_seconds"], whole["nodes_total"]) == ("completed", 300, 3)


def test_nothing_is_put_into_the_drive_of_what_is_being_destroyed(service: Client, pool: Pool) -> None:
    one, all_of_it = "/v1/cluster/vc2/compute/vm-vc2-0", "/v1/cluster/vc2?confirm=vc2"
    attach = ("ann", "PUT", f"{one}/attach_iso?iso_name=")
    assert service.ask(*attach, headers=MODERN).status_code == 202
    early = service.ask("ann", "DELETE", all_of_it, headers={**MODERN, **PROBLEMS})
    assert early.status_code == 409 and "drive of a node of vc2 is being changed" in early.json()["detail"]
    sql(pool, "UPDATE operation SET state = 'succeeded'")
    for path, name in ((f"{one}?confirm=vm-vc2-0", "vm-vc2-0"), (all_of_it, "vc2")):
        service.forget_rates()
        assert service.ask("ann", "DELETE", path, headers=MODERN).status_code == 202
        refused = service.ask(*attach, headers={**MODERN, **PROBLEMS})
        assert refused.status_code == 409, refused.text
        assert refused.json()["detail"].startswith(f"{name} is being destroyed")
        sql(pool, "UPDATE operation SET state = 'failed'")
    assert service.ask(*attach, headers=MODERN).status_code == 202


def test_names_change_all_at_once(service: Client) -> None:
    path = "/v1/cluster/vc2/rename"
    names = lambda: [one["name"] for one in service.get("ann", "/v1/cluster/vc2").json()["computes"]]  # noqa: E731
    swap = {"map": {"vm-vc2-0": "vm-vc2-1", "vm-vc2-1": "vm-vc2-0", "vm-vc2-3": "n3"}}
    assert service.ask("ann", "POST", path, json=swap).status_code == 204
    assert sorted(names()) == ["n3", "vm-vc2-0", "vm-vc2-1", "vm-vc2-2"]
    assert service.get("ann", "/v1/cluster/vc2/compute/n3").status_code == 200
    assert service.get("ann", "/v1/cluster/vc2/compute/vm-vc2-3").status_code == 404
    for body, code in (
        ({"map": {"n3": "vm-vc2-0"}}, "name-conflict"),
        ({"map": {"n3": "VC2"}}, "name-conflict"),
        ({"map": {"n3": "a", "vm-vc2-2": "a"}}, "name-conflict"),
        ({"map": {"n3": "a b"}}, "invalid-request"),
        ({"map": {"n3": "a" * 64}}, "invalid-request"),
        ({"map": {"n3": "12"}}, "invalid-request"),  # for comet that is a computeset
        ({"map": {}}, "invalid-request"),
        ({"map": {"none": "a"}}, "unknown-node"),
        ({"map": {"vc2": "a"}}, "unknown-node"),
    ):
        answer = service.ask("ann", "POST", path, json=body, headers=PROBLEMS)
        assert answer.json()["code"] == code, (body, answer.text)
    one = "/v1/cluster/vc2/compute/n3/rename"
    assert service.ask("ann", "POST", one, json={"name": "n4"}).status_code == 204
    assert service.ask("ann", "POST", "/v1/cluster/vc2/compute/n4/rename", json={}).status_code == 400


def test_users_change_their_names_and_nothing_else(service: Client) -> None:
    assert service.get("ann", "/v1/user/").json()["username"] == "ann"
    names = {"first_name": "Änn", "last_name": "B"}
    assert service.ask("ann", "PUT", "/v1/user", json=names).json()["first_name"] == "Änn"
    assert service.ask("ann", "PATCH", "/v1/user", json={"last_name": "C"}).json()["last_name"] == "C"
    known = service.get("ann", "/v1/user").json()
    assert service.ask("ann", "PUT", "/v1/user", json=known).json() == known, "as it was read"
    others = {"username": "root", "email": "x@example.org", "is_operator": True, "projects": ["beta"]}
    assert service.ask("ann", "PATCH", "/v1/user", json=others).json() == known
    assert service.get("ann", "/v1/user").json() == known
    for body in ({"last_name": "a\nb"}, {"id": 1}, [1]):
        assert service.ask("ann", "PATCH", "/v1/user", json=body).status_code == 400, body
    assert service.ask("ann", "PUT", "/v1/user", json={"first_name": "A"}).status_code == 400
    assert [one["name"] for one in service.get("ann", "/v1/project").json()] == ["alpha"]


def test_everything_is_in_the_audit_log_and_the_chain_holds(service: Client, pool: Pool) -> None:
    service.ask("ann", "PUT", "/v1/cluster/vc2/frontend/poweron", headers={"X-Request-ID": "r1"})
    service.ask("bob", "PUT", "/v1/cluster/vc2/frontend/poweron", headers={"X-Request-ID": "r2"})
    service.get("bob", "/v1/cluster/vc2", headers={"X-Request-ID": "r3"})
    service.get(
        "",
        "/v1/cluster/vc2",
        headers={"Authorization": f"Bearer nuc_AAAAAAAA_{'0' * 43}", "X-Request-ID": "r4"},
    )
    with pool.transaction() as session:
        rows = audit.rows(session)
    seen = [(row.entry.request_id, row.entry.actor, row.entry.action, row.entry.outcome) for row in rows]
    assert seen == [
        ("r1", "ann", "poweron", "accepted"),
        ("r2", "bob", "poweron", "unknown-cluster"),
        ("r3", "bob", "read", "unknown-cluster"),
        ("r4", "", "authenticate", "not-authenticated"),
    ]

    def faults() -> list[str]:
        with pool.transaction() as session:
            return list(audit.faults(audit.whole_chain(session, Path("/nonexistent"))))

    assert faults() == []
    sql(pool, "UPDATE audit SET actor = 'eve' WHERE seq = %s", (rows[1].seq,))
    assert len(faults()) == 1
    sql(pool, "DELETE FROM audit WHERE seq = %s", (rows[1].seq,))
    assert len(faults()) == 1


def test_changes_are_limited_in_number_and_size(service: Client) -> None:
    service.application.state.service.change_rate = Rate("changes", 1 / 3600, 2)
    codes = [service.ask("ann", "PATCH", "/v1/user", json={}, headers=MODERN).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    service.application.state.service.change_rate = Rate("changes", 20, 20)
    large = service.ask("ann", "POST", SETS, body=b" " * ((1 << 20) + 1), headers=PROBLEMS)
    assert large.status_code == 413
    deep = service.ask("bob", "POST", SETS, body=b"[" * 100_000, headers={"Content-Type": "application/json"})
    number = service.ask(
        "bob", "POST", SETS, body=b"1" * 100_000, headers={"Content-Type": "application/json"}
    )
    assert deep.status_code == number.status_code == 400


@pytest.mark.slow
def test_who_waits_for_operations_keeps_nobody_from_asking(service: Client) -> None:
    """More clients wait than the service has threads."""
    path = "/v1/cluster/vc2/frontend/poweron"
    identifier = service.ask("ann", "PUT", path, headers=MODERN).json()["id"]
    headers = {"Authorization": f"Bearer {service.tokens['ann']}"}
    with ExitStack() as connections:
        waiting = [connections.enter_context(closing(Connection(service.path))) for _ in range(45)]
        for one in waiting:
            one.request("GET", f"/v1/operation/{identifier}?wait=60", headers=headers)
        assert service.get("bob", "/v1/user").status_code == 200
        assert service.ask("ann", "DELETE", f"/v1/operation/{identifier}").status_code == 204
        answers = [json.loads(one.getresponse().read()) for one in waiting]
    assert {one["state"] for one in answers} == {"cancelled"}


def test_nodes_of_a_set_are_as_fresh_as_the_cluster_in_which_they_are(service: Client, pool: Pool) -> None:
    """No poll confirms a cluster any more that is gone, but it may have left nodes to another."""
    number = start(service, count=1).json()["id"]

    def is_stale() -> bool:
        (node,) = service.get("ann", f"{SETS}{number}").json()["computes"]
        return bool(node["stale"])

    assert not is_stale()
    sql(pool, "UPDATE cluster SET observed_power = UTC_TIMESTAMP(3) - INTERVAL 100 SECOND WHERE name = 'vc2'")
    assert is_stale()
    sql(pool, "UPDATE cluster SET gone_at = UTC_TIMESTAMP(3) WHERE name = 'vc2'")
    assert not is_stale()
    sql(
        pool,
        "INSERT INTO cluster (name, rocks_name, project_id) SELECT 'new', 'new', project_id FROM cluster"
        " WHERE name = 'vc2'",
    )
    sql(
        pool,
        "UPDATE node SET cluster_id = (SELECT id FROM cluster WHERE name = 'new') WHERE name LIKE 'vm-vc2-%'",
    )
    assert is_stale(), "the other one has not been seen yet"
