"""Reservations of sites by REST: what fits, who sees and cancels what, and what is listed."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from threading import Event
from typing import Any

import pytest

from nucleus.backends.executor import Answer, LocalExecutor
from nucleus.backends.rocks import Rocks
from nucleus.cli.main import main
from nucleus.configuration import Configuration
from nucleus.mirror.pool import Guard, Pool
from owners.reservations import records
from owners.reservations import rest as reservations
from owners.reservations.controller import Controller
from owners.reservations.reserve import SlurmReservations
from rocks.core.errors import EXIT_UNKNOWN_COMMAND
from tests.system.nucleus.api.conftest import ALL, KEY, PROBLEMS, SITES, at, base, changed, reserve, started
from tests.system.nucleus.api.http_client import Client
from tests.system.nucleus.conftest import sql
from tests.waiting import at_once


def left(service: Client, begin: float = 0, hours: float = 2) -> tuple[int, int]:
    found = service.get("ann", f"{SITES}?begin={at(begin)}&end={at(begin + hours)}").json()
    assert [one["name"] for one in found] == ["NCHC", "UCSD"]
    return found[1]["cpus_left"], found[1]["memory_gb_left"]


@pytest.mark.slow
def test_the_published_site_has_48_cpus_and_188_gb_left(service: Client, sites: None) -> None:
    assert left(service) == (64, 192)
    made = reserve(service)
    assert made.status_code == 201, made.text
    assert left(service) == (48, 188) and left(service, 1, 5) == (48, 188) and left(service, 2) == (64, 192)
    assert reserve(service, cpus=49).status_code == 409
    refused = reserve(service, "bob", memory_gb=189).json()
    assert refused["code"] == "state-conflict"
    assert "UCSD has 48 CPUs and 188 GB left from" in refused["detail"]
    assert reserve(service, "bob", cpus=48, memory_gb=188).status_code == 201
    assert left(service) == (0, 0) and reserve(service, begin=2, cpus=64, memory_gb=192).status_code == 201
    days = [made.json()["intervals"][0][key] for key in ("begin", "end", "state")]
    assert days == [at(0)[:-1] + ".000Z", at(2)[:-1] + ".000Z", "waiting"]


def test_a_reservation_has_a_title_and_a_description(service: Client, sites: None) -> None:
    texts = {"title": "HKU BioLinux cluster (Shava Smallen)", "description": "<b>für</b> Montag"}
    assert texts.items() <= reserve(service, **texts).json().items()
    assert reserve(service).json()["title"] == ""
    assert [one["description"] for one in service.get("ann", ALL).json()] == [texts["description"], ""]
    for key, size in (("title", 100), ("description", 1000)):
        assert reserve(service, **{key: "ü" * size}).status_code == 201
        assert reserve(service, **{key: "x" * (size + 1)}).status_code == 400


def test_the_week_of_a_site_has_what_each_hour_has_left(service: Client, sites: None) -> None:
    reserve(service)
    begin = base()
    found = service.get("ann", f"/page/reservations/week?begin={begin:%Y-%m-%d}").json()
    assert [one["name"] for one in found] == ["NCHC", "UCSD"]
    left_of, full = found[1]["left"], [64, 192]
    assert len(left_of) == 168
    touched = range(begin.hour, begin.hour + 2 + (begin.minute > 0 or begin.second > 0))
    assert [number for number, one in enumerate(left_of) if one != full] == list(touched)
    assert {tuple(left_of[number]) for number in touched} == {(48, 188)}
    for day in ("x", "9999-12-31", "0001-01-01"):
        assert service.get("ann", f"/page/reservations/week?begin={day}").status_code == 400
    assert service.get("", "/page/reservations/week?begin=2026-12-01").status_code == 401


def test_a_site_that_is_gone_keeps_no_reservation(service: Client, sites: None, pool: Pool) -> None:
    mine = reserve(service).json()
    for begin in (0, 3):
        assert reserve(service, begin=begin, site="NCHC", cpus=1, memory_gb=1).status_code == 201
    sql(pool, "UPDATE reservation_interval SET state = 'stopping' ORDER BY id DESC LIMIT 1")
    assert main(["site", "retire", "NCHC"]) == 0
    found = [one["intervals"][0] for one in service.get("ann", ALL).json()]
    assert [one["state"] for one in found] == ["waiting", "failed", "failed"]
    assert found[2]["reason"] == "the site is gone"
    refused = reserve(service, begin=9, site="NCHC", cpus=1, memory_gb=1)
    assert refused.status_code == 409 and "cannot be reserved at present" in refused.json()["detail"]
    assert main(["site", "retire", "UCSD"]) == main(["site", "retire", "X"]) == 1
    assert {**service.get("ann", ALL).json()[0], "vc_checked": False} == mine
    assert main(["site", "retire", "NCHC"]) == 0


def test_what_runs_beyond_its_end_uses_the_site(service: Client, sites: None, pool: Pool) -> None:
    reserve(service)
    past = (
        "UPDATE reservation_interval SET state = 'stopping', begins_at = UTC_TIMESTAMP(3) - INTERVAL 2 HOUR,"
    )
    sql(pool, f"{past} ends_at = UTC_TIMESTAMP(3) - INTERVAL 1 HOUR")
    assert left(service, -1, 0.1) == (48, 188) and left(service) == (64, 192)
    sql(pool, "UPDATE reservation_interval SET state = 'stopped'")
    assert left(service, -1, 0.1) == (64, 192)


def test_a_misspelled_cluster_image_is_refused(
    service: Client, sites: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = '[{"virtual image": "dock6"}, {"virtual image": "basic"}]'
    monkeypatch.setattr(Rocks, "pragma", lambda self, arguments: printed)
    refused = reserve(service, vc="dokc6")
    assert refused.status_code == 400
    assert refused.json()["detail"] == "UCSD has no cluster image dokc6; did you mean dock6?"
    assert reserve(service, vc="x").json()["detail"] == "UCSD has no cluster image x; it has: basic, dock6"
    assert reserve(service).json()["vc_checked"] is True
    away = reserve(service, site="NCHC", vc="dokc6", cpus=1, memory_gb=1)
    assert away.json()["vc_checked"] is False, "another site is not asked"


def test_a_site_without_the_roll_pragma_is_not_reserved(
    service: Client, sites: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rocks` ends so for a command that no roll has."""
    unknown = Answer(EXIT_UNKNOWN_COMMAND, "", 'error - invalid rocks command "pragma"')
    monkeypatch.setattr(LocalExecutor, "run", lambda self, arguments, deadline_seconds: unknown)
    refused = reserve(service)
    assert refused.status_code == 409 and "install the roll pragma" in refused.json()["detail"]
    assert reserve(service, site="NCHC", cpus=1, memory_gb=1).status_code == 201, "another site is not asked"


@pytest.mark.slow
def test_a_site_is_asked_once_at_a_time_and_without_a_connection(
    service: Client, sites: None, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = []

    def pragma(self: Rocks, arguments: Sequence[str]) -> str:
        assert not others, "somebody asks already"
        others.append(reserve(service, "bob"))
        with ExitStack() as all_of_them:
            for _ in range(pool.settings.connections):
                all_of_them.enter_context(pool.reading())
        return '[{"virtual image": "dock6"}]'

    monkeypatch.setattr(Rocks, "pragma", pragma)
    assert reserve(service).json()["vc_checked"] is True
    assert [one.json()["vc_checked"] for one in others] == [False]


@pytest.mark.slow
def test_a_site_is_not_asked_for_those_who_cannot_reserve_and_not_for_each_request(
    service: Client, sites: None, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def pragma(self: Rocks, arguments: Sequence[str]) -> str:
        asked.append(arguments)
        return '[{"virtual image": "dock6"}]'

    monkeypatch.setattr(Rocks, "pragma", pragma)
    reader = service.ask("ann", "POST", "/v1/token", json={"scopes": ["read"]}).json()["token"]
    service.tokens["reader"] = reader
    for who in ("reader", "nobody"):
        assert (reserve(service, who).status_code, asked) == (403, [])
    for begin in (0, 2, 4):
        assert reserve(service, begin=begin).json()["vc_checked"] is True
    assert len(asked) == 1


def test_status_has_alarms_of_reservations(
    service: Client, sites: None, pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    number = reserve(service).json()["id"]
    main(["status"])
    assert "alarm: reservation" not in capsys.readouterr().out
    assert 'nucleus_alarms{kind="reservation"} 0.0' in service.get("", "/metrics").text
    sql(pool, "UPDATE reservation_interval SET state = 'failed', reason = 'it was not started'")
    assert main(["status"]) == 1
    assert f"alarm: reservation {number} of UCSD has failed: it was not started" in capsys.readouterr().out
    sql(
        pool,
        "UPDATE reservation_interval SET state = 'stopping', ends_at = UTC_TIMESTAMP(3) - INTERVAL 1 DAY",
    )
    assert main(["status"]) == 1
    assert f"alarm: reservation {number} of UCSD stays stopping" in capsys.readouterr().out
    service.forget_rates()
    assert 'nucleus_alarms{kind="reservation"} 1.0' in service.get("", "/metrics").text


def test_a_site_is_removed_when_its_reservations_have_ended(
    service: Client, sites: None, pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    number = reserve(service).json()["id"]
    assert main(["site", "remove", "UCSD"]) == 1
    assert f"comet reservation cancel {number}," in capsys.readouterr().err
    sql(pool, "UPDATE reservation_interval SET state = 'cancelled'")
    assert main(["site", "remove", "UCSD"]) == 0 and main(["site", "remove", "UCSD"]) == 1
    assert [one["name"] for one in service.get("ann", SITES).json()] == ["NCHC"]
    assert service.get("ann", ALL).json() == []


@pytest.mark.slow
def test_reservations_for_which_slurm_is_asked_hold_up_no_others(
    configuration: Configuration,
    pool: Pool,
    people: dict[str, str],
    sites: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does not answer. Who reserves here reads so at once; other sites are reserved, and all can be cancelled."""
    begun, end, deleted = Event(), Event(), list[Any]()

    def create(*_: Any) -> None:
        begun.set()
        assert end.wait(60)

    monkeypatch.setattr(SlurmReservations, "create", lambda *_: None)
    monkeypatch.setattr(SlurmReservations, "delete", lambda *given: deleted.append(given))
    monkeypatch.setattr(reservations._TURNS, "max_of_all", 1)
    with (
        started(changed(configuration, "batch", kind="slurm", hosts=[]), pool, people) as service,
        ThreadPoolExecutor(1) as threads,
    ):
        earlier = reserve(service, "bob").json()["id"]
        monkeypatch.setattr(SlurmReservations, "create", create)
        slow = threads.submit(reserve, service)
        try:
            assert begun.wait(60)
            for who, text in (
                ("ann", "you have 1 reservations that are being made"),
                ("bob", "there are 1 reservations that are being made already"),
            ):
                refused = reserve(service, who)
                assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
                assert text in refused.json()["detail"]
            assert reserve(service, "bob", site="NCHC", cpus=1, memory_gb=1).status_code == 201
            assert service.ask("bob", "DELETE", f"{ALL}/{earlier}").status_code == 204
            assert service.get("bob", ALL).json()[0]["intervals"][0]["state"] == "cancelled"
            assert not deleted, "Slurm is not asked beside it; the next round of the controller ends it there"
        finally:
            end.set()
        assert slow.result().status_code == 201
        assert reservations._TURNS.count == 0


def test_a_user_has_a_limit_of_times(service: Client, sites: None) -> None:
    daily: dict[str, Any] = {"cpus": 1, "memory_gb": 1, "repeat": "daily", "until": at(99 * 24)}
    answers = at_once(lambda site: reserve(service, site=site, **daily).status_code, ["UCSD", "NCHC"])
    assert sorted(answers) == [201, 409] and reserve(service, cpus=1).status_code == 201
    refused = reserve(service, cpus=1)
    assert refused.status_code == 409 and "more than 100 intervals" in refused.json()["detail"]
    refused = reserve(service, "nobody", begin=5, cpus=1)
    assert refused.status_code == 403 and "only members of a project" in refused.json()["detail"]
    assert [reserve(service, who, begin=5, cpus=1).status_code for who in ("bob", "root")] == [201, 201]


def test_owners_see_and_cancel_only_theirs(service: Client, sites: None, pool: Pool) -> None:
    mine = reserve(service).json()
    assert mine.pop("vc_checked") is False, "the site of the tests has no list"
    others = reserve(service, "bob", repeat="daily", until=at(60)).json()
    assert len(others["intervals"]) == 3 and others.pop("vc_checked") is False
    assert service.get("ann", ALL).json() == [mine] and service.get("bob", ALL).json() == [others]
    assert service.get("root", ALL).json() == service.get("eve", ALL).json() == [mine, others]
    assert service.ask("ann", "DELETE", f"{ALL}/{others['id']}", headers=PROBLEMS).status_code == 404
    assert service.ask("ann", "DELETE", f"{ALL}/9999", headers=PROBLEMS).status_code == 404
    assert service.ask("ann", "DELETE", f"{ALL}/x", headers=PROBLEMS).json()["code"] == "unknown-reservation"
    assert left(service, 24) == (48, 188)
    assert service.ask("bob", "DELETE", f"{ALL}/{others['id']}").status_code == 204
    assert {one["state"] for one in service.get("bob", ALL).json()[0]["intervals"]} == {"cancelled"}
    assert left(service, 24) == (64, 192) and left(service) == (48, 188)
    sql(pool, "UPDATE reservation_interval SET state = 'running' WHERE reservation_id = %s", (mine["id"],))
    assert service.ask("eve", "DELETE", f"{ALL}/{mine['id']}").status_code == 204, "her site"
    assert left(service) == (48, 188), "it runs until it is stopped"
    assert sql(pool, "SELECT is_cancelled FROM reservation_interval WHERE state = 'running'") == [(True,)]


def test_an_owner_reads_that_an_administrator_has_cancelled(service: Client, sites: None) -> None:
    own, others = (reserve(service, begin=begin).json()["id"] for begin in (0, 3))
    assert service.ask("ann", "DELETE", f"{ALL}/{own}").status_code == 204
    assert service.ask("eve", "DELETE", f"{ALL}/{others}").status_code == 204
    found = {one["id"]: one["intervals"][0]["reason"] for one in service.get("ann", ALL).json()}
    assert found == {own: None, others: "cancelled by the site's administrators"}


def test_a_site_is_changed_by_its_administrators_alone(service: Client, sites: None) -> None:
    reserve(service)
    for who, status in (("ann", 403), ("eve", 204), ("root", 204)):
        answer = service.ask(who, "PATCH", f"{SITES}/UCSD", json={"cpus": 20}, headers=PROBLEMS)
        assert answer.status_code == status, answer.text
    assert (
        service.ask("eve", "PATCH", f"{SITES}/NCHC", json={"cpus": 20}, headers=PROBLEMS).status_code == 403
    )
    assert service.ask("eve", "PATCH", f"{SITES}/none", json={}, headers=PROBLEMS).status_code == 404
    refused = service.ask("eve", "PATCH", f"{SITES}/UCSD", json={"available": 0}, headers=PROBLEMS)
    assert refused.status_code == 400 and left(service) == (4, 188)
    service.ask("eve", "PATCH", f"{SITES}/UCSD", json={"cpus": 10, "available": False, "ent": True})
    assert left(service) == (0, 188), "what was reserved stays"
    refused = reserve(service, cpus=1, begin=5)
    assert refused.status_code == 409 and "cannot be reserved at present" in refused.json()["detail"]


def test_what_cannot_be_changes_nothing(service: Client, sites: None, pool: Pool) -> None:
    for other, status in (
        ({"hours": -1}, 400),
        ({"begin": -3}, 400),
        ({"hours": 1000}, 400),
        ({"repeat": "daily"}, 400),
        ({"until": at(99)}, 400),
        ({"repeat": "hourly", "until": at(99)}, 400),
        ({"cpus": 0}, 400),
        ({"cpus": 10**9}, 400),
        ({"cpus": 100_000}, 409),
        ({"memory_gb": 0}, 400),
        ({"end": "2026-12-01T10:00:00"}, 400),
        ({"end": "never"}, 400),
        ({"end": datetime.fromisoformat(at(2)).timestamp()}, 400),  # to Pydantic, that time
        ({"end": str(datetime.fromisoformat(at(2)).timestamp())}, 400),
        ({"ent": 0}, 400),
        ({"end": "9999-12-31T23:59:59-10:00"}, 400),
        ({"vc": "../dock6"}, 400),
        ({"vc": "-x"}, 400),
        ({"public_key": "-----BEGIN OPENSSH PRIVATE KEY-----"}, 400),
        ({"public_key": f"{KEY}\nssh-rsa AAAA b"}, 400),
        ({"public_key": f"{KEY}\u2028b"}, 400),
        ({"public_key": KEY.replace("ann", "PRIVATE KEY")}, 400),
        ({"public_key": "ssh-ed25519 ===="}, 400),
        ({"public_key": KEY.replace("A ann", " ann")}, 400),
        ({"public_key": KEY.replace("ssh-ed25519", "ssh-rsa")}, 400),
        ({"site": "none"}, 404),
        ({"ent": True}, 409),
    ):
        answer = reserve(service, **other)
        assert answer.status_code == status and "detail" in answer.json(), (other, answer.text)
        assert sql(pool, "SELECT COUNT(*) FROM reservation") == [(0,)], other


def test_nothing_keeps_or_repeats_a_private_key_that_was_sent(
    service: Client, sites: None, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """The refusal is in the audit log, and no table has a part of the request."""
    secret = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"
    answer = reserve(service, public_key=f"-----BEGIN OPENSSH PRIVATE KEY-----\n{secret}\n")
    assert answer.status_code == 400 and ".pub" in answer.text and secret not in answer.text + caplog.text
    stored = {str(name): repr(sql(pool, f"SELECT * FROM `{name}`")) for (name,) in sql(pool, "SHOW TABLES")}
    assert "create_reservation" in stored["audit"] and "invalid-request" in stored["audit"]
    assert [name for name, rows in stored.items() if secret in rows] == []


def test_two_at_once_do_not_share_the_last_cpus(service: Client, sites: None) -> None:
    answers = at_once(lambda who: reserve(service, who, cpus=40), ["ann", "bob"])
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert left(service) == (24, 188)


@pytest.mark.slow
def test_of_a_users_reservations_that_have_ended_the_last_ones_stay(
    service: Client, sites: None, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who made and cancelled one after the other had a list that grew for 90 days, and is read as a whole."""
    monkeypatch.setattr(records, "MAX_ENDED", 2)
    lives = reserve(service, cpus=1).json()["id"]
    of_bob = reserve(service, "bob", cpus=1).json()["id"]
    numbers = [reserve(service, cpus=1).json()["id"] for _ in range(4)]
    for number in (of_bob, *numbers):
        who = "bob" if number == of_bob else "ann"
        assert service.ask(who, "DELETE", f"{ALL}/{number}").status_code == 204
    last = reserve(service, cpus=1).json()["id"]
    left_over = [lives, *numbers[2:], last]
    assert [one["id"] for one in service.get("ann", ALL).json()] == left_over
    assert [one["id"] for one in service.get("bob", ALL).json()] == [of_bob]
    assert sql(pool, "SELECT COUNT(*) FROM reservation_interval") == [(len(left_over) + 1,)]


def test_the_list_has_pages_and_forgets_what_has_ended_long_ago(
    service: Client, sites: None, pool: Pool, configuration: Configuration
) -> None:
    """An interval that was cancelled ended then: its own end may be a year ahead."""
    numbers = [reserve(service, cpus=1, begin=hours).json()["id"] for hours in range(6)]
    path, found = f"{ALL}?limit=4", list[list[int]]()
    while path:
        answer = service.get("ann", path)
        found.append([one["id"] for one in answer.json()])
        links = re.fullmatch(r'<(.+)>; rel="next"', answer.headers.get("Link", ""))
        path = links[1] if links else ""
    assert found == [numbers[:4], numbers[4:]]
    assert service.get("ann", f"{ALL}?cursor=x").status_code == 400
    old, ended_lately, lives, cancelled, cancelled_lately, failed = numbers
    for number, state, days in (
        (old, "stopped", 91), (ended_lately, "stopped", 89), (cancelled, "cancelled", -300),
        (cancelled_lately, "cancelled", -300), (failed, "failed", 91),
    ):  # fmt: skip
        sql(
            pool,
            "UPDATE reservation_interval SET state = %s, ends_at = UTC_TIMESTAMP(3) - INTERVAL %s DAY"
            " WHERE reservation_id = %s",
            (state, days, number),
        )
    sql(
        pool,
        "UPDATE reservation SET created = UTC_TIMESTAMP(3) - INTERVAL 91 DAY WHERE id <> %s",
        (cancelled_lately,),
    )
    guard = Guard(pool.settings, "reservations")
    assert guard.take()
    try:
        Controller(configuration, guard).round()
    finally:
        guard.release()
    assert [one["id"] for one in service.get("ann", ALL).json()] == [ended_lately, lives, cancelled_lately]
