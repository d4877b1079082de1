"""An owner's day with a virtual cluster: the real program against the real server; the site behind it is simulated.

The numbers are those of the steps of the day that the interface's specification describes.
"""

import stat
import urllib.request
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from nucleus.mirror import audit
from tests.system.comet.conftest import HOSTS, PASSWORD, Site


@pytest.mark.slow
def test_signing_in_makes_one_token_and_a_private_file(site: Site) -> None:
    """Step 1."""
    options = ("--endpoint=dev", f"--url={site.service.url}", "--user=ann")
    assert site.comet("ann", "init", *options, typed="no\n").status == 3
    assert site.rows("SELECT id FROM token") == []
    signed = site.sign_in("ann")
    assert (signed.status, signed.err) == (0, "")
    path = site.folder / "ann" / ".config" / "comet" / "config.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ((identifier, secret),) = site.rows("SELECT id, secret_sha256 FROM token")
    token = path.read_text().split('token = "')[1].split('"')[0]
    assert token.startswith(f"nuc_{identifier}_")
    assert token.split("_")[2].encode() not in bytes(secret)
    assert token not in signed.out


@pytest.mark.slow
def test_refusals_of_the_interface_are_put_in_words_for_somebody_at_a_terminal(site: Site) -> None:
    nobody = site.comet("ann", "ll", f"--endpoint={site.service.url}")
    assert nobody.status == 3
    assert nobody.err.startswith(
        "the server was sent no token, and COMET_TOKEN is not set. Sign in again: comet init"
    )
    elsewhere = site.comet("ann", "ll", f"--endpoint={site.service.url}s")
    assert (elsewhere.status, elsewhere.err) == (
        4,
        "the server has nothing at this address: compare that of comet active, or of COMET_ENDPOINT, with the one that"
        " you were given\n",
    )


@pytest.mark.slow
def test_an_owner_sees_the_own_clusters(day: Site) -> None:
    """Steps 2 and 3."""
    listed = day.comet("ann", "ll").out
    assert "| vc2  | alpha   | 4     | vm-vc2-[0-3] |" in listed
    assert "vc3" not in listed
    assert day.comet("ann", "ll", "vc3").status == 4
    found = day.comet("ann", "cluster", "vc2", "--format=json")
    assert (found.status, found.err) == (0, "")
    nodes = {it["name"]: it for it in found.json()}
    assert list(nodes) == ["vc2", "vm-vc2-0", "vm-vc2-1", "vm-vc2-2", "vm-vc2-3"]
    assert {it["power"] for it in nodes.values()} == {"off"}
    assert {it["admin_state"] for it in nodes.values()} == {"ready"}
    assert {it["stale"] for it in nodes.values()} == {False}
    for name, it in nodes.items():
        assert day.simulator.guests[name].mac in it["mac"].split(";")
    assert nodes["vc2"]["ip"] == "203.0.113.5"


def test_a_set_is_started_once(day: Site) -> None:
    """Steps 9, 10, 11 and 18."""
    assert day.comet("ann", "start", "vc2", "vm-vc2-[0-1]", "--walltime=6").status == 2
    assert day.rows("SELECT id FROM computeset") == []
    started = day.comet("ann", "start", "vc2", "vm-vc2-[0-1]", "--walltime=6h")
    assert (started.status, started.err) == (0, "")
    ((number, minutes, account),) = day.rows("SELECT id, walltime_minutes, account FROM computeset")
    assert (minutes, account) == (360, "alp1")
    assert f"computeset {number} is accepted" in started.out
    both = [day.start("ann", "-m", "comet", "start", "vc2", "vm-vc2-[1-2]") for _ in range(2)]
    for process in both:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 5
        assert "vm-vc2-1" in error
        assert f"computeset {number}" in error
    few = day.comet("ann", "start", "vc2", "--count=3")
    assert few.status == 5 and "2" in few.err
    assert len(day.rows("SELECT id FROM computeset")) == 1
    (one,) = day.comet("ann", "computeset", "--state=active", "--format=json").json()
    assert (one["id"], one["requested"]) == (number, "06:00")
    assert [it["name"] for it in one["computes"]] == ["vm-vc2-0", "vm-vc2-1"]
    assert day.comet("ann", "power", "off", "vc2", "vm-vc2-3").status == 5


def test_names_change_all_at_once(day: Site) -> None:
    """Step 16."""
    macs = {guest.name: guest.mac for guest in day.simulator.guests.values()}
    assert day.comet("ann", "node", "rename", "vc2", "vm-vc2-[0-1]", "n[1,0]", "--yes").status == 0
    assert day.comet("ann", "node", "rename", "vc2", "n[0-1]", "n[1,0]", "--yes").status == 0
    named = {it["name"]: it["mac"] for it in day.comet("ann", "cluster", "vc2", "--format=json").json()}
    assert (named["n0"], named["n1"]) == (macs["vm-vc2-0"], macs["vm-vc2-1"])
    assert day.comet("ann", "node", "info", "vc2", "n1").status == 0
    assert {"vm-vc2-0", "vm-vc2-1"} <= set(day.simulator.guests)


@pytest.mark.slow
def test_a_server_that_is_away_has_an_answer_in_the_cache(day: Site) -> None:
    """Step 19."""
    assert day.comet("ann", "start", "vc2", "vm-vc2-0").status == 0
    before = day.comet("ann", "cluster", "vc2")
    others = (("computeset", "--state=all"), ("iso", "list"), ("ll",), ("usage", "--format=json"))
    known = [day.comet("ann", *typed).out for typed in others]
    assert "vm-vc2-0" in known[0]
    with day.pool.transaction() as session:
        session.execute(
            "UPDATE cluster SET observed_power = UTC_TIMESTAMP(3) - INTERVAL 1 DAY, generation = generation + 1"
        )
    old = day.comet("ann", "cluster", "vc2", "--format=json")
    assert old.status == 6
    assert {it["stale"] for it in old.json()} == {True}
    day.service.stop()
    away = day.comet("ann", "cluster", "vc2")
    assert (away.status, away.out) == (6, before.out)
    assert "from the cache" in away.err
    for typed, out in zip(others, known, strict=True):
        again = day.comet("ann", *typed)
        assert (again.status, again.out) == (6, out) and "ago, from the cache" in again.err, typed
    assert day.comet("ann", "cluster", "vc2", "--cached").status == 0
    assert day.comet("ann", "start", "vc2", "--count=1").status == 6


def test_a_request_with_the_same_key_is_done_once(day: Site) -> None:
    """Step 20."""
    code = "from comet import Client; client = Client(); asked = ('vc2', None, 1)\n"
    code += "print([client.start(*asked, idempotency_key='once').computeset for _ in range(2)])"
    done = day.python("ann", "-c", code)
    ((number,),) = day.rows("SELECT id FROM computeset")
    assert done.json() == [number, number]


@pytest.mark.slow
def test_what_is_foreign_looks_missing_to_a_stranger(day: Site) -> None:
    """Steps 23 and 24."""
    assert day.sign_in("bob").status == 0
    assert day.comet("bob", "acknowledge", "--yes").status == 0
    assert day.comet("ann", "start", "vc2", "vm-vc2-0").status == 0
    ((number,),) = day.rows("SELECT id FROM computeset")
    for foreign, missing in (
        (("ll", "vc2"), ("ll", "vc9")),
        (("start", "vc2", "vm-vc2-[0-1]"), ("start", "vc9", "vm-vc2-[0-1]")),
        (("power", "off", "vc2", "vm-vc2-0"), ("power", "off", "vc9", "vm-vc2-0")),
        (("terminate", str(number)), ("terminate", "999")),
        (("console", "--link", "vc2"), ("console", "--link", "vc9")),
    ):
        first, second = day.comet("bob", *foreign), day.comet("bob", *missing)
        assert first.status == second.status == 4
        assert first.err.replace("vc2", "vc9").replace(f" {number}", " 999") == second.err
    assert day.comet("bob", "iso", "attach", "../../etc/x", "vc3").status == 4
    with day.pool.transaction() as session:
        assert [
            row
            for row in audit.faults(audit.whole_chain(session, Path("/nonexistent")))
            if "changed" in row or "removed" in row
        ] == []
    refused = day.rows("SELECT action FROM audit WHERE actor = 'bob' AND outcome <> 'accepted'")
    assert len(refused) >= 2
    with urllib.request.urlopen(f"{day.service.url}/metrics", timeout=60) as answer:
        assert b"nucleus" in answer.read()


@pytest.mark.slow
def test_events_of_several_types_are_followed_together(day: Site) -> None:
    """As the help of `comet events` shows it."""
    assert day.comet("ann", "start", "vc2", "vm-vc2-0").status == 0
    found = day.comet("ann", "events", "--types=set.state,node.power")
    assert (found.status, "set.state" in found.out) == (0, True), found.err


@pytest.mark.slow
def test_a_token_for_a_script_has_no_more_rights_than_it_needs(day: Site) -> None:
    made = day.comet("ann", "token", "create", "--scopes=read", "--note=watch", "--days=1")
    token = made.out.strip()
    assert made.status == 0
    listed = day.comet("ann", "token", "list", "--format=json").json()
    (identifier,) = [it["id"] for it in listed if it["note"] == "watch"]
    assert identifier in token
    configuration = day.folder / "ann" / ".config" / "comet" / "config.toml"
    text = configuration.read_text()
    configuration.write_text(text.replace(text.split('token = "')[1].split('"')[0], token))
    assert day.comet("ann", "ll").status == 0
    refused = day.comet("ann", "start", "vc2", "--count=1")
    assert refused.status == 4
    assert "this needs the scope computeset" in refused.err
    assert "comet token create --scopes=read,computeset" in refused.err


@pytest.mark.slow
def test_a_frontend_is_installed_from_an_image(day: Site) -> None:
    """Steps 4 to 8."""
    image = day.folder / "inst.iso"
    image.write_bytes(bytes(0x8001) + b"CD001" + bytes(4096))
    with day.at_work():
        assert day.comet("ann", "iso", "upload", str(image), "--wait=300").status == 0
        assert "inst.iso" in day.comet("ann", "iso", "list").out
        assert day.comet("ann", "iso", "upload", str(image)).status == 5
        assert day.comet("ann", "iso", "upload", str(image), "--isoname=../x.iso").status == 2
        assert day.comet("ann", "iso", "attach", "inst.iso", "vc2", "--wait=300").status == 0
        assert day.simulator.guests["vc2"].iso is not None
        (before,) = day.comet("ann", "node", "info", "vc2", "--format=json").json()
        assert (before["iso"], before["iso_active"]) == ("project/alpha/inst.iso", None)
        assert day.comet("ann", "console", "--link", "vc2").status == 5
        assert day.comet("ann", "power", "on", "vc2", "--wait=300").status == 0
        (after,) = day.comet("ann", "node", "info", "vc2", "--format=json").json()
        assert (after["power"], after["iso_active"]) == ("on", "project/alpha/inst.iso")
        assert day.rows("SELECT id FROM computeset") == []
        link = day.comet("ann", "console", "--link", "vc2").out.strip()
        assert link.startswith(f"{day.service.url}/console/vnc/")
        assert PASSWORD not in link
        socket = link.replace("http://", "ws://").replace("/console/vnc/", "/ws/console/")
        with connect(socket, open_timeout=120) as screen:
            assert screen.recv(timeout=120) == b"RFB 003.008\n"
        with pytest.raises(InvalidStatus), connect(socket, open_timeout=120):
            pass
        assert day.comet("ann", "iso", "detach", "vc2").status == 0
        assert day.comet("ann", "power", "off", "vc2", "--wait=300").status == 0
        assert day.comet("ann", "power", "on", "vc2", "--wait=300").status == 0
        (last,) = day.comet("ann", "node", "info", "vc2", "--format=json").json()
        assert (last["power"], last["iso"], last["iso_active"]) == ("on", None, None)


@pytest.mark.slow
def test_a_set_runs_and_ends(day: Site) -> None:
    """Steps 10 to 15, 18 and 21."""
    guests = day.simulator.guests
    guests["vm-vc2-0"].is_deaf = True
    with day.at_work():
        assert day.comet("ann", "start", "vc2", "vm-vc2-[0-1]", "--walltime=6h").status == 0
        ((number,),) = day.rows("SELECT id FROM computeset")
        (running,) = day.comet("ann", "computeset", str(number), "--wait=300", "--format=json").json()
        assert running["state"] == "running"
        assert {it["node_state"] for it in running["computes"]} == {"active"}
        placed = [guests[f"vm-vc2-{index}"].host for index in (0, 1)]
        assert len(set(placed)) == 2 and set(placed) <= set(HOSTS)
        assert day.comet("ann", "power", "off", "vc2", "vm-vc2-0", "--wait=300").status == 0
        assert guests["vm-vc2-0"].state == "nostate"
        assert day.comet("ann", "power", "on", "vc2", "vm-vc2-0", "--wait=300").status == 0
        assert [guests[f"vm-vc2-{index}"].host for index in (0, 1)] == placed
        assert day.comet("ann", "power", "reboot", "vc2", str(number), "--wait=300").status == 0
        stops = [it for it in day.simulator.commands if it[:3] == ("stop", "host", "vm")]
        assert {it[3] for it in stops if "reboot" in it[4]} == {"vm-vc2-0", "vm-vc2-1"}
        few = day.comet("ann", "start", "vc2", "--count=3")
        assert (few.status, "2 are available" in few.err) == (5, True), few.err
        assert day.comet("ann", "start", "vc2", "--count=2", "--wait=300").status == 0
        assert guests["vm-vc2-3"].state == "active"
        ended = day.comet("ann", "terminate", str(number), "--wait=300")
        assert (ended.status, ended.out) == (0, f"computeset {number} is cancelled\n")
        assert {guests[f"vm-vc2-{index}"].image for index in (0, 1)} == {"unmapped"}
        asked = [it[4:] for it in day.simulator.commands if it[3] == "vm-vc2-0" and "action=shutdown" in it]
        assert asked[-1][:2] == ("action=shutdown", "timeout=2"), "the guests' grace is that of the settings"
        assert guests["vm-vc2-2"].state == "active"
