"""Commands of computesets against a small server."""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from comet.cli.computesets import CHARGE_KEYS
from comet.cli.operations import TOKEN_KEYS
from comet.client import waiting
from comet.client.errors import RefusedError
from comet.client.files import request_key
from lab.namespace import CHECKOUT
from rocks.core.process import start_with_pipes
from tests.nucleus_server import answer, cluster
from tests.unit.comet.conftest import Comet, sent
from tests.waiting import wait_until


def test_start_checks_all_before_it_asks(comet: Comet) -> None:
    for typed in (
        ("vm-vc2-[0-1]", "--walltime=6"),
        ("vm-vc2-[1-0]",),
        (),
        ("vm-vc2-0", "--count=2"),
        ("--count=0",),
        ("--count=two",),
    ):
        assert comet("start", "vc2", *typed).status == 2, typed
    assert comet.server.requests == []


def test_start_prints_the_set_and_how_to_follow_it(comet: Comet) -> None:
    started = comet("start", "vc2", "vm-vc2-[0-1]", "--walltime=6h")
    assert started.out == "computeset 1 is accepted. Follow it: comet computeset 1 --wait\n"
    assert sent(comet.server, "POST") == [
        ("computeset/", {"cluster": "vc2", "walltime_mins": 360, "computes": ["vm-vc2-0", "vm-vc2-1"]})
    ]
    (headers,) = [it for method, _, it, _ in comet.server.requests if method == "POST"]
    assert headers["Prefer"] == "respond-async"
    held = comet("start", "vc2", "vm-vc2-[1-2]")
    assert held.status == 5
    assert held.err == "vm-vc2-1 is in computeset 1\n"
    few = comet("start", "vc2", "--count=3")
    assert (few.status, few.err) == (5, "2 computes of vc2 are available\n")
    assert comet("start", "vc2", "--count=2", "--wait").out == "computeset 2 is running\n"


def test_a_killed_start_that_is_given_again_starts_one_set(comet: Comet) -> None:
    """With a count it would take other computes; a third command means another set."""
    start, server = ("start", "vc2", "--count=1"), comet.server
    route, is_started, goes_on = server.route, threading.Event(), threading.Event()

    def late(method: str, *request: Any) -> Any:
        found = route(method, *request)
        if method == "POST":
            is_started.set()
            goes_on.wait(60)
        return found

    server.route = late  # type: ignore[method-assign]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src")}
    with start_with_pipes([sys.executable, "-m", "comet", *start], environment) as killed:
        assert is_started.wait(60)
        killed.kill()
        killed.communicate(timeout=60)
    goes_on.set()
    wait_until(lambda: server.replayed != {}, "the server has answered")
    again = comet(*start)
    assert again.out.startswith("computeset 1 is accepted.")
    assert again.err == "this command was given before, and had no answer: it is continued\n"
    assert list(server.sets) == [1]
    assert comet(*start).out.startswith("computeset 2 is accepted.")


def test_the_same_start_at_the_same_time_starts_two_sets(folder: Path) -> None:
    with request_key("a set") as (first, _), request_key("a set") as (second, is_repeated):
        assert first != second and not is_repeated
    assert list(folder.rglob("unanswered/*")) == []


def test_a_key_without_an_answer_is_used_for_an_hour(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt), request_key("a set") as (first, _):
        raise KeyboardInterrupt
    with pytest.raises(RefusedError), request_key("a set") as (again, is_repeated):
        raise RefusedError("too many requests")
    assert again == first and is_repeated
    (path,) = folder.rglob("unanswered/*")
    os.utime(path, (time.time() - 3601,) * 2)
    with pytest.raises(RefusedError), request_key("a set") as (later, is_repeated):
        raise RefusedError("no free computes")
    assert later != first and not is_repeated
    assert not path.exists()


def test_without_a_folder_for_state_a_set_is_started(comet: Comet, folder: Path) -> None:
    (folder / ".local").write_text("")
    assert comet("start", "vc2", "--count=1").out.startswith("computeset 1 is accepted.")


def test_several_allocations_need_a_choice(comet: Comet) -> None:
    comet.server.clusters[0]["allocations"] = ["alp1", "alp2"]
    refused = comet("start", "vc2", "--count=1")
    assert refused.status == 2
    assert "--allocation: alp1, alp2" in refused.err
    assert comet("start", "vc2", "--count=1", "--allocation=alp2").status == 0


def test_computesets_and_their_end(comet: Comet) -> None:
    comet("start", "vc2", "vm-vc2-[0-1]", "--walltime=6h")
    visible = comet("computeset", "1")
    assert "Cluster: vc2\tComputeset: 1\tState: running\tAllocation: alp1" in visible.out
    assert "Requested: 06:00\tRunning: 00:00\tRemaining: 05:59" in visible.out
    assert "| name     | state  | type | mac               | cpus | cluster | host | memory |" in visible.out
    comet.server.sets[1]["computes"][0]["physical_host"] = "compute-0-0"
    assert "| vc2     | compute-0-0 | 2048   |" in comet("computeset").out, "of a server that states it"
    comet.server.sets[1]["computes"][0]["physical_host"] = None
    (one,) = json.loads(comet("computeset", "--format=json").out)
    assert [it["name"] for it in one["computes"]] == ["vm-vc2-0", "vm-vc2-1"]
    assert comet("computeset", "--cluster=vc9", "--format=json").out == "[]\n"
    assert comet("terminate", "1", "--wait").out == "computeset 1 is cancelled\n"
    assert comet("computeset", "1", "--wait").status == 8
    assert comet("computeset", "--state=all", "--format=csv").out.count("\n") == 3
    assert comet("terminate", "7").status == 4
    assert comet("terminate", "seven").status == 2


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The zone of the terminal."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_an_ended_set_has_its_real_end_and_no_nodes(comet: Comet) -> None:
    comet("start", "vc2", "vm-vc2-0", "--walltime=2d")
    comet.server.sets[1]["start_time"] = 1_800_000_000
    assert (
        "Est. start: 2027-01-15 09:00 +0100\tEst. end: 2027-01-17 09:00 +0100" in comet("computeset", "1").out
    )
    comet.server.sets[1]["charged_so_far_seconds"] = 60
    assert "Charged so far: 0.02 node hours (60 node seconds)\n" in comet("computeset", "1").out
    del comet.server.sets[1]["charged_so_far_seconds"]
    comet("terminate", "1")
    comet.server.sets[1] |= {
        "ended_at": "2027-01-15T09:30:00.000Z",
        "end_reason": "user",
        "charged_seconds": 5460,
    }
    comet("start", "vc2", "vm-vc2-0")
    printed = comet("computeset", "1").out
    assert "Start: 2027-01-15 09:00 +0100\tEnd: 2027-01-15 10:30 +0100" in printed
    assert "Requested: 2-00:00\tRunning: 01:30\tRemaining: -" in printed
    assert "Charged: 1.52 node hours (5460 node seconds)\n" in printed
    assert "(ended by its owners or an operator)" in printed
    comet.server.sets[1]["ended_by"] = "kim"
    assert "(ended by kim)" in comet("computeset", "1").out
    assert "active" not in printed, "its node is on, in another set"
    (one,) = json.loads(comet("computeset", "1", "--format=json").out)
    assert (one["running"], one["remaining"], one["computes"][0]["node_state"]) == ("01:30", None, None)


def test_what_a_set_waits_for_is_printed(comet: Comet) -> None:
    comet.patch.setattr(waiting, "FIRST_PAUSE", 0.01)
    comet("start", "vc2", "vm-vc2-[0-2]")
    (one, *others), states = (
        comet.server.sets[1]["computes"],
        iter(("submitted", "running", "running", "ending")),
    )

    def answer_next(handler: BaseHTTPRequestHandler) -> None:
        comet.server.sets[1]["state"] = next(states)
        document = json.loads(json.dumps(comet.server.sets[1]))
        one["power"] = "on"
        answer(200, json.dumps(document).encode(), Content_Type="application/json")(handler)

    for it in (one, *others):
        it["power"] = "off"
    comet.server.answers["/computeset/1"] = answer_next
    assert comet("computeset", "1", "--wait").err.splitlines() == [
        "computeset 1: submitted; it waits for 3 free hosts",
        "computeset 1: running; it waits until vm-vc2-[1-2] are on",
        "computeset 1: ending; it waits until its nodes are off, their disks written back, and its job ended",
        "computeset 1 is ending and will not run. See: comet computeset 1",
    ]


@pytest.mark.usefixtures("berlin")
def test_a_set_that_waits_says_why_at_which_place_and_until_when(comet: Comet) -> None:
    comet("start", "vc2", "vm-vc2-0", "--walltime=2d")
    comet.server.sets[1] |= {
        "state": "submitted", "start_time": None, "estimated_start": "2027-01-15T08:00:00.000Z", "place": 2,
        "waiting": "alp1 has no node hours left for it",
    }  # fmt: skip
    printed = comet("computeset", "1").out
    assert "Waiting: alp1 has no node hours left for it\tPlace: 2\n" in printed
    assert "Est. start: 2027-01-15 09:00 +0100\tEst. end: 2027-01-17 09:00 +0100" in printed
    waited = comet("computeset", "1", "--wait=0.1")
    assert waited.err.startswith("computeset 1: submitted; alp1 has no node hours left for it (place 2)\n")
    (one,) = json.loads(comet("computeset", "1", "--format=json").out)
    assert (one["waiting"], one["place"]) == ("alp1 has no node hours left for it", 2)


@pytest.mark.parametrize(
    ("typed", "minutes"), [("60d", "86400 minutes"), ("99999999h", "10000000 minutes or more")]
)
def test_a_walltime_beyond_that_of_the_site_is_refused_as_it_was_typed(
    comet: Comet, typed: str, minutes: str
) -> None:
    detail = f"a walltime of {minutes} is not possible here: it may be 1 to 43200 minutes (30d)"
    problem = {"type": "/problems/invalid-request", "detail": detail}
    comet.server.answers["/computeset"] = answer(400, json.dumps(problem).encode())
    for command in (("start", "vc2", "--count=1"), ("power", "on", "vc2", "--count=1")):
        refused = comet(*command, f"--walltime={typed}")
        assert refused.status == 2
        assert (
            refused.err == f"a walltime of {typed} is not possible here: it may be 1 to 43200 minutes (30d)\n"
        )
    problem["detail"] = f"the site closes in {minutes}"
    comet.server.answers["/computeset"] = answer(400, json.dumps(problem).encode())
    assert comet("start", "vc2", "--count=1", f"--walltime={typed}").err == f"{problem['detail']}\n", "other"


def test_what_remains_goes_by_the_end_that_the_site_has_extended(comet: Comet) -> None:
    comet("start", "vc2", "vm-vc2-0", "--walltime=1h")
    end = datetime.fromtimestamp(time.time() + 7259, UTC)
    comet.server.sets[1]["walltime_end"] = end.isoformat(timespec="milliseconds")
    printed = comet("computeset", "1").out
    assert "Requested: 01:00 (extended by the site)\tRunning: 00:00\tRemaining: 02:00" in printed
    # the scheduler's start was two minutes before the one that is stated
    end = datetime.fromtimestamp(time.time() + 3480, UTC)
    comet.server.sets[1]["walltime_end"] = end.isoformat(timespec="milliseconds")
    assert "Requested: 01:00\tRunning: 00:00\tRemaining: 00:57" in comet("computeset", "1").out


def test_a_cancelled_operation_has_its_own_word(comet: Comet) -> None:
    found = comet.server.operation("start_set", "the computeset 1 was ended by its owner")
    found["state"] = "cancelled"
    ended = comet("operation", "wait", found["id"])
    assert (ended.status, ended.err) == (
        8,
        f"operation {found['id']} was cancelled: the computeset 1 was ended by its owner\n",
    )


def test_power_on_of_free_computes_starts_a_set(comet: Comet) -> None:
    assert comet("power", "on", "vc2", "vm-vc2-[0-1]", "--walltime=1h").status == 0
    assert comet("power", "on", "vc2", "--count=1", "--wait").status == 0
    assert sorted(comet.server.sets) == [1, 2]
    mixed = comet("power", "on", "vc2", "vm-vc2-[0,3]")
    assert mixed.status == 5
    assert "vm-vc2-3 is free, but vm-vc2-0 is in computeset 1" in mixed.err
    assert comet("power", "on", "vc2", "vm-vc2-0", "--walltime=1h").status == 2
    assert comet("power", "on", "vc2", "vm-vc2-0").status == 0
    assert comet("power", "on", "vc2", "vm-vc2-9").status == 4
    assert comet("power", "on", "vc2", "1").status == 2


def test_power_of_a_set_asks_before_it_ends(comet: Comet) -> None:
    comet("start", "vc2", "vm-vc2-[0-1]")
    assert comet("power", "reboot", "vc2", "1").out == "computeset 1: is being asked to reboot\n"
    assert comet("power", "reboot", "vc2", "1", "--wait").out == "computeset 1: was asked to reboot\n"
    assert comet("power", "off", "vc2", "1").status == 2
    assert comet.server.sets[1]["state"] == "running"
    comet.server.clusters.append(cluster("vc4"))
    assert comet("power", "off", "vc4", "1", "--yes").status == 4
    assert comet("power", "off", "vc2", "1", "--yes", "--wait").out == "computeset 1 is cancelled\n"


def test_no_computeset_names_a_command_that_shows_more(comet: Comet) -> None:
    advice = "no computeset is running. Those of every state: comet computeset --state=all\n"
    assert comet("computeset").err == advice
    assert (
        "no computeset of cluster vc2 is active" in comet("computeset", "--state=active", "--cluster=vc2").err
    )
    everything = comet("computeset", "--state=all")
    assert "--state" not in everything.err
    assert "comet start CLUSTER --count=N" in everything.err
    comet("start", "vc2", "--count=1")
    comet("terminate", "1")
    assert comet("computeset").err == advice
    comet("start", "vc2", "--count=1")
    comet.server.sets[2]["state"] = "submitted"
    several = "no computeset is running, and 1 waits{}: comet computeset --state=active\n"
    assert comet("computeset").err == several.format("")
    comet.server.sets[1]["state"] = "ending"
    assert comet("computeset").err == several.format(", 1 ends")
    assert comet("computeset", "--cluster=vc3").err == advice.replace(
        "computeset is", "computeset of cluster vc3 is", 1
    )
    comet.server.sets[1]["state"] = "running"
    assert "Computeset: 2" not in comet("computeset").out
    comet.server.sets[1]["state"] = "cancelled"
    assert "State: cancelled" in comet("computeset", "--state=all").out


def test_an_active_set_is_one_that_has_not_ended(comet: Comet) -> None:
    """One that ends is still charged."""
    comet("start", "vc2", "--count=1")
    for state in ("created", "submitted", "running", "ending", "completed"):
        comet.server.sets[1]["state"] = state
        found = json.loads(comet("computeset", "--state=active", "--format=json").out)
        assert [it["state"] for it in found] == ([] if state == "completed" else [state])
    comet.server.sets[1]["state"] = "ending"
    assert "alp1" in comet("cluster", "vc2").out


def test_a_list_without_rows_has_the_header_of_one_with_rows_in_csv(comet: Comet) -> None:
    """Those of the server's own documents are in its description."""
    comet("start", "vc2", "--count=1")
    lists = ("ll", "cluster", "computeset", "iso list", "operation list")
    headers = {it: comet(*it.split(), "--format=csv").out.partition("\r")[0] for it in lists}
    for it in (comet.server.clusters, comet.server.sets, comet.server.images, comet.server.operations):
        it.clear()
    for it in lists:
        assert comet(*it.split(), "--format=csv").out.strip() == headers[it], it
    assert headers["cluster"].startswith("name,state,kind,type,mac,ip,")
    described = json.loads((CHECKOUT / "docs/reference/nucleus-openapi.json").read_text("utf-8"))
    schemas = described["components"]["schemas"]
    fields = {name: list(it.get("properties", ())) for name, it in schemas.items()}
    # that of a day is asked for by --by
    assert CHARGE_KEYS.split() == schemas["Charge"]["required"] and TOKEN_KEYS.split() == fields["Token"]
    reserved = dict.fromkeys(fields["ReservationAnswer"])
    reserved["intervals"] = [dict.fromkeys(fields["ReservedInterval"])]
    comet.server.answers["/reservation"] = answer(200, json.dumps([reserved]).encode())
    header = comet("reservation", "list", "--format=csv").out.partition("\r")[0]
    assert header.startswith("id,site,") and header.endswith(",address")
    for name in ("usage", "token", "reservation"):
        comet.server.answers[f"/{name}"] = answer(200, b"[]")
    assert comet("usage", "--format=csv").out.split() == [",".join([*CHARGE_KEYS.split(), "node_hours"])]
    assert comet("token", "list", "--format=csv").out.split() == [TOKEN_KEYS.replace(" ", ",")]
    assert comet("reservation", "list", "--format=csv").out.split() == [header]


@pytest.mark.parametrize("line", [("power", "shutdown", "vc2", "1"), ("power", "off", "vc2", "1", "--yes")])
def test_a_set_that_has_ended_is_not_asked_about(comet: Comet, line: tuple[str, ...]) -> None:
    comet("start", "vc2", "vm-vc2-0")
    comet.server.sets[1]["state"] = "cancelled"
    refused = comet(*line)
    assert (refused.status, refused.err) == (5, "computeset 1 is cancelled; there is nothing to end\n")


def test_usage_is_asked_for_a_time(comet: Comet) -> None:
    charge = {"allocation": "alp1", "project": "alpha", "user": "ann", "cluster": "vc2", "computesets": 2}
    found = [{**charge, "charged_seconds": 5400}, {**charge, "charged_seconds": None}]
    comet.server.answers["usage"] = answer(200, json.dumps(found).encode())
    listed = json.loads(comet("usage", "--format=json").out)
    assert listed == [{**found[0], "node_hours": 1.5}, {**found[1], "node_hours": None}]
    assert json.loads(comet("usage", "--format=rest").out) == found
    asked_before = len(comet.server.requests)
    for typed, advice in (
        (("--from=last",), "--from=last: give a date, or a date and a time: 2026-12-01, 2026-12-01T10:00\n"),
        (("--from=2026-12-02", "--to=2026-12-01"), "--to is not after --from: choose a later --to\n"),
    ):
        refused = comet("usage", *typed)
        assert (refused.status, refused.err) == (2, advice)
    assert len(comet.server.requests) == asked_before
    of_days = [{**charge, "charged_seconds": 3600, "day": f"2026-11-0{day}"} for day in (1, 2)]
    comet.server.answers["usage"] = answer(200, json.dumps(of_days).encode())
    assert "| 2026-11-02 | alp1 " in comet("usage", "--by=day").out
    by_day = comet("usage", "--by=day", "--format=csv", "--to=2026-12-02T00:00Z").out.splitlines()
    assert by_day[0].startswith("day,allocation,") and by_day[1].startswith("2026-11-01,alp1,")
    begin, end = re.findall(r"(?:from|to)=(\d+-\d+-\d+)", comet.server.requests[-1][1])
    assert (begin, end) == ("2026-11-01", "2026-12-02") and "by=day" in comet.server.requests[-1][1]
    assert comet("usage", "--by=week").status == 2
    comet.server.answers["usage"] = answer(200, b"[]")
    asked = comet("usage", "--from=2026-11-01T00:00Z", "--to=2026-12-01T00:00+01:00")
    assert asked.status == 0 and "no computeset that has ended" in asked.err
    assert "from=2026-1" in comet.server.requests[-1][1] and "&to=2026-1" in comet.server.requests[-1][1]
