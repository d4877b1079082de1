"""`comet-condor` against a small server, with ads as HTCondor 23.9 prints them."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comet.cli.batch_system import Job
from comet.cli.condor import Ad, Machine, Pool, agree, groups_of, read_ads, read_jobs
from comet.client.client import Client
from comet.client.errors import CometError, RefusedError, UnreachableError, UsageError
from tests.nucleus_server import NucleusServer, answer
from tests.unit.comet.conftest import sent

MACHINES = [f"vm-vc2-{number}" for number in range(4)]


class Guest(Pool):
    """A pool of vc2 whose collector has the ads that are advertised, under their names."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.ads: dict[str, dict[str, Any]] = {}
        self.waiting: list[dict[str, Any]] = []
        self.asked: list[str] = []
        super().__init__()

    def match(self, *numbers: int, **job: Any) -> None:
        """A job each matches the offline ads of these computes."""
        for number in numbers:
            self.ads[f"slot1@vm-vc2-{number}"]["MachineLastMatchTime"] = 1
            self.waiting.append({"QDate": len(self.waiting), **job})

    def wake(self, number: int) -> None:
        """The startd of a compute reports."""
        self.ads[f"slot1@vm-vc2-{number}"] = {"Machine": f"vm-vc2-{number}.local"}

    def leave(self, number: int, server: NucleusServer) -> None:
        """The startd of a compute ends, and the compute is switched off."""
        self.ads.pop(f"slot1@vm-vc2-{number}", None)
        server.clusters[0]["computes"][number]["power"] = "off"

    def reasons(self) -> dict[str, str]:
        return {
            name.partition("@")[2]: ad["CometReason"] for name, ad in self.ads.items() if "CometReason" in ad
        }

    def _run(self, *arguments: str, given: str | None = None) -> str:  # type: ignore[override]
        self.asked.append(arguments[0])
        match arguments[0], arguments[1]:
            case "condor_config_val", _:
                return f"vc2\n{self.spool}\nX86_64\nLINUX\nvc2.local\nvc2.local\n"
            case "condor_q", _:
                return json.dumps(self.waiting) if self.waiting else "\n"
            case "condor_status", "-json":
                return json.dumps([{"Name": name, **ad} for name, ad in self.ads.items()])
            case "condor_status", _:
                return "".join(
                    f"{name}\n"
                    for name, ad in self.ads.items()
                    if ad.get("MachineLastMatchTime") and ad["Offline"]
                )
        for text in (given or "").split("\n\n"):
            ad = dict(line.split(" = ", 1) for line in text.splitlines())
            self._advertised(arguments[-1], {name: _value(it) for name, it in ad.items()})
        return ""

    def _advertised(self, command: str, ad: dict[str, Any]) -> None:
        if command == "UPDATE_STARTD_AD":
            self.ads[ad.pop("Name")] = ad
        else:
            assert command == "MERGE_STARTD_AD"
            self.ads[ad.pop("Name")].update(ad)


def _value(text: str) -> Any:
    return {"undefined": None, "true": True}.get(text) or (
        json.loads(text) if text[0] in '"0123456789' else None
    )


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


@pytest.fixture
def client(server: NucleusServer, configured: Path) -> Iterator[Client]:
    with Client() as found:
        yield found


def test_ads_and_jobs_are_read_with_values_of_other_people() -> None:
    text = json.dumps(
        [
            {
                "Name": "slot1@VM-1",
                "Machine": "VM-1.local",
                "Offline": True,
                "CometAgainAt": 5,
                "MyAddress": "<a>",
            },
            {"Name": "slot1@vm-2", "Machine": "vm-2", "CometAgainAt": "x", "CometReason": "r"},
            {"Name": "odd"},
        ]
    )
    assert read_ads(text, ["slot1@VM-1"]) == {
        "vm-1": Machine((Ad("slot1@VM-1", "<a>", True, True, "", 5),)),
        "vm-2": Machine((Ad("slot1@vm-2", "", False, False, "r", 0),)),
        "": Machine((Ad("odd", "", False, False, "", 0),)),
    }
    jobs = [
        {"QDate": 3, "AllowedExecuteDuration": 61, "AcctGroup": "a"},
        {"QDate": 2, "AllowedExecuteDuration": 600, "AllowedJobDuration": 120},
        {"QDate": "never", "AllowedJobDuration": "/Expr(a)/"},
        {"QDate": 4, "AllowedJobDuration": -1},
    ]
    assert read_jobs(json.dumps(jobs)) == [Job(None, ""), Job(2, ""), Job(2, "a"), Job(None, "")]
    assert read_ads("\n", []) == {} and read_jobs("\n") == []


def test_five_hundred_machines_are_few_computesets() -> None:
    names = [f"vm-{number}" for number in range(500)]
    groups = groups_of(
        names, [Job(60, "a")] * 300 + [Job(None, "a")] * 100 + [Job(50, "b"), Job(40, "b")] * 50
    )
    assert sorted(((len(chosen), job) for chosen, job in groups), key=repr) == [
        *[(25, Job(50, "b"))] * 4, *[(25, Job(None, "a"))] * 4, *[(75, Job(60, "a"))] * 4,
    ]  # fmt: skip
    assert sorted(name for chosen, _ in groups for name in chosen) == sorted(names)
    assert groups_of(["n"], []) == []


def test_jobs_get_computesets_which_end_when_their_computes_are_off(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    agree(client, guest)
    assert sorted(guest.ads) == [f"slot1@vm-vc2-{number}" for number in range(4)] and not server.sets
    guest.match(0, 1, AllowedExecuteDuration=599, AcctGroup="alp1")
    for _ in range(2):
        agree(client, guest)
    common = {"cluster": "vc2", "walltime_mins": 25, "allocation": "alp1"}
    assert sent(server, "POST") == [
        ("computeset/", {**common, "computes": [name]}) for name in ("vm-vc2-0", "vm-vc2-1")
    ]
    assert guest.reasons() == {"vm-vc2-0": "computeset 1 is running", "vm-vc2-1": "computeset 2 is running"}
    guest.wake(0)
    guest.wake(1)
    guest.waiting = []
    agree(client, guest)
    guest.leave(0, server)
    for _ in range(2):
        agree(client, guest)
    assert sent(server, "PUT") == [("computeset/1/shutdown", None)]
    assert json.loads((guest.spool / "comet.json").read_text()) == {"2": {"vm-vc2-1": True}}


def test_a_run_that_was_killed_before_it_noted_its_computeset_is_completed(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    agree(client, guest)
    guest.match(0)
    client.start("vc2", ["vm-vc2-0"])
    guest.keep({0: {"vm-vc2-0": False}})
    agree(client, guest)
    assert len(server.sets) == 1 and guest.started() == {1: {"vm-vc2-0": False}}
    guest.keep({0: {"vm-vc2-1": False}})
    agree(client, guest)
    assert guest.started() == {}, "it was not accepted"


@pytest.mark.parametrize(
    "text", ["", '{"1": {"vm-vc2-0"', "[1]", '{"x": {}}', '{"1": 2}', '{"1": {"vm-vc2-0": fal']
)
def test_a_damaged_file_is_named_with_what_to_run_and_nothing_is_started(
    guest: Guest, client: Client, server: NucleusServer, text: str
) -> None:
    agree(client, guest)
    guest.match(0)
    (guest.spool / "comet.json").write_text(text)
    with pytest.raises(UsageError, match=re.escape(f"rm {guest.spool}/comet.json")):
        agree(client, guest)
    assert not server.sets and (guest.spool / "comet.json").read_text() == text


def test_computesets_of_an_owners_own_and_merged_ones_are_left(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    agree(client, guest)
    client.start("vc2", ["vm-vc2-2"])
    guest.match(0, 1)
    agree(client, guest)
    server.sets[2]["merged"] = [9]
    for number in range(3):
        guest.wake(number)
    agree(client, guest)
    for number in range(3):
        guest.leave(number, server)
    agree(client, guest)
    assert sent(server, "PUT") == [("computeset/3/shutdown", None)]


def test_a_refusal_is_the_reason_of_its_machines_which_jobs_do_not_match_for_a_while(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    agree(client, guest)
    server.clusters[0]["computes"][0]["active_computeset"] = 9
    guest.match(0, 1)
    with pytest.raises(RefusedError):
        agree(client, guest)
    assert guest.reasons() == {
        "vm-vc2-0": "vm-vc2-0 is in computeset 9",
        "vm-vc2-1": "computeset 1 is created",
    }
    assert guest.ads["slot1@vm-vc2-0"]["CometAgainAt"] > time.time() + 500
    guest.ads["slot1@vm-vc2-0"]["MachineLastMatchTime"] = 1
    agree(client, guest)
    guest.ads["slot1@vm-vc2-0"]["CometAgainAt"] = 1
    with pytest.raises(RefusedError):
        agree(client, guest)


def test_of_many_machines_one_that_is_refused_keeps_few_others_off(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    for number in range(4, 100):
        server.clusters[0]["computes"].append(
            {**server.clusters[0]["computes"][0], "name": f"vm-vc2-{number}"}
        )
    server.clusters[0]["computes"][13]["active_computeset"] = 9
    agree(client, guest)
    guest.match(*range(100))
    with pytest.raises(RefusedError):
        agree(client, guest)
    assert sum(len(one["computes"]) for one in server.sets.values()) == 99
    assert len(server.sets) < 10
    assert [name for name, reason in guest.reasons().items() if "computeset 9" in reason] == ["vm-vc2-13"]


def test_groups_that_the_cluster_cannot_charge_are_one(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    """A job's accounting group is any text, such as its owner's name."""
    for number in range(4, 100):
        server.clusters[0]["computes"].append(
            {**server.clusters[0]["computes"][0], "name": f"vm-vc2-{number}"}
        )
    agree(client, guest)
    for number in range(100):
        guest.match(number, AcctGroup=f"group_a.person{number}")
    agree(client, guest)
    assert len(server.sets) == 4


def test_where_all_is_refused_few_requests_are_made(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    """The owner has no hours."""
    for number in range(4, 500):
        server.clusters[0]["computes"].append(
            {**server.clusters[0]["computes"][0], "name": f"vm-vc2-{number}"}
        )
    agree(client, guest)
    guest.match(*range(500))
    refusal = {
        "code": "quota-exceeded",
        "type": "/problems/quota-exceeded",
        "detail": 'alp1 has 0 "hours" left',
    }
    server.answers["/computeset"] = lambda handler: answer(
        200 if handler.command == "GET" else 409,
        json.dumps([] if handler.command == "GET" else refusal).encode(),
    )(handler)
    with pytest.raises(CometError):
        agree(client, guest)
    assert set(guest.reasons().values()) == {"alp1 has 0 'hours' left"} and len(guest.reasons()) == 500
    assert len(sent(server, "POST")) == 4 * (2 * 8 - 1), "each of four sets is halved at eight refusals"


def test_a_token_that_is_not_known_is_the_reason_of_machines_that_jobs_have_matched(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    agree(client, guest)
    guest.match(0)
    with Client(server.url, "nuc_12345678_" + "y" * 43) as stranger, pytest.raises(CometError):
        agree(stranger, guest)
    assert list(guest.reasons()) == ["vm-vc2-0"] and "token" in guest.reasons()["vm-vc2-0"]


def test_while_nucleus_is_away_nothing_changes_but_reports_are_noted(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    agree(client, guest)
    guest.match(0)
    agree(client, guest)
    server.answers["/v1/"] = answer(502, b"")
    guest.wake(0)
    for _ in range(2):
        with pytest.raises(UnreachableError):
            agree(client, guest)
        guest.leave(0, server)
    guest.waiting = []
    assert len(server.sets) == 1 and guest.reasons() == {}
    server.answers.clear()
    agree(client, guest)
    assert sent(server, "PUT") == [("computeset/1/shutdown", None)]


def test_jobs_that_are_removed_end_a_computeset_that_waits_and_start_none(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    agree(client, guest)
    guest.match(0)
    agree(client, guest)
    server.sets[1] |= {"state": "submitted", "waiting": "alp1 has no node hours left for it"}
    agree(client, guest)
    assert guest.reasons() == {"vm-vc2-0": "computeset 1 is submitted: alp1 has no node hours left for it"}
    guest.match(1)
    guest.waiting = []
    for _ in range(2):
        agree(client, guest)
    assert sent(server, "PUT") == [("computeset/1/shutdown", None)] and len(server.sets) == 1
    assert guest.ads["slot1@vm-vc2-1"]["MachineLastMatchTime"] is None


def test_a_machine_that_boots_is_left_when_its_job_is_removed(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    """It ends when it is there: until then a job may come that uses it."""
    agree(client, guest)
    guest.match(0)
    agree(client, guest)
    guest.waiting = []
    agree(client, guest)
    guest.ads.clear()  # a collector that was restarted without its file
    agree(client, guest)
    assert sent(server, "PUT") == []
    guest.match(1)
    agree(client, guest)
    assert len(server.sets) == 1, "the job runs where one boots"


def test_an_end_is_the_reason_of_machines_that_never_reported(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    agree(client, guest)
    guest.match(0, 1)
    agree(client, guest)
    guest.wake(1)
    agree(client, guest)
    guest.ads["slot1@vm-vc2-1"]["Offline"] = True
    for number in (1, 2):
        server.sets[number] |= {"state": "failed", "end_reason": "node"}
        server.clusters[0]["computes"][number - 1] |= {"active_computeset": None}
    guest.waiting = []
    agree(client, guest)
    assert guest.reasons() == {"vm-vc2-0": "computeset 1 is failed: node"} and guest.started() == {}


def test_a_computeset_of_many_ends_with_its_last_machine_and_a_job_may_wake_the_others(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    agree(client, guest)
    started = client.start("vc2", ["vm-vc2-0", "vm-vc2-1", "vm-vc2-2"]).computeset
    guest.keep({started: dict.fromkeys(("vm-vc2-0", "vm-vc2-1"), True) | {"vm-vc2-2": False}})
    computes = server.clusters[0]["computes"]
    guest.wake(0)
    guest.wake(1)
    guest.leave(0, server)
    agree(client, guest)
    assert sent(server, "PUT") == [], "another compute is on"
    guest.match(0)
    agree(client, guest)
    assert sent(server, "PUT") == [("cluster/vc2/compute/vm-vc2-0/poweron", None)]
    guest.wake(0)
    agree(client, guest)
    for number in range(2):
        guest.leave(number, server)
    agree(client, guest)
    assert len(sent(server, "PUT")) == 1, "the third machine boots"
    server.sets[1]["degraded"], computes[2]["power"] = True, "off"
    agree(client, guest)
    assert sent(server, "PUT")[1:] == [("computeset/1/shutdown", None)], "the third machine did not start"


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_refused_to_one_job_keeps_no_machine_from_others(
    guest: Guest, client: Client, server: NucleusServer, count: int
) -> None:
    """An allocation without hours, and a job that is longer than the site permits."""
    agree(client, guest)
    server.clusters[0]["allocations"].append("alp2")
    guest.match(*range(count), AllowedJobDuration=600, AcctGroup="alp1")
    guest.waiting += [{"QDate": 9, "AcctGroup": "alp2"}, {"QDate": 9, "AllowedJobDuration": 10**8}] * 4
    refusal = json.dumps({"code": "quota-exceeded", "detail": "it has no hours left"}).encode()

    def refuse(handler: Any) -> None:
        body = json.loads(server.requests[-1][3] or "{}")
        if body.get("allocation") == "alp2" or body.get("walltime_mins", 0) > 43200:
            answer(409, refusal)(handler)
        else:
            handler.reply(*server.route(handler.command, ["computeset"], {}, body))

    server.answers["/computeset"] = refuse
    with pytest.raises(RefusedError):
        agree(client, guest)
    started = [name for one in server.sets.values() for name in one["computes"]]
    assert sorted(it["name"] if isinstance(it, dict) else it for it in started) == MACHINES[:count]
    assert all("is created" in reason for reason in guest.reasons().values())
    assert not any("CometAgainAt" in ad for ad in guest.ads.values())


def test_a_refusal_at_a_clock_that_was_ahead_does_not_last(guest: Guest, client: Client) -> None:
    agree(client, guest)
    for number, seconds in enumerate((700, 500)):
        guest.ads[f"slot1@vm-vc2-{number}"] |= {
            "CometAgainAt": int(time.time()) + seconds,
            "CometReason": "r",
        }
    agree(client, guest)
    found = [guest.ads[f"slot1@vm-vc2-{number}"] for number in range(2)]
    assert [it["CometAgainAt"] > time.time() + 1 for it in found] == [False, True]
