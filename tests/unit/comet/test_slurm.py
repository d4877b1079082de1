"""`comet-slurm` against a small server, with lines as Slurm 22.05 prints them."""

import socket
import subprocess  # noqa: TID251 - the program is started with closed descriptors, as Slurm starts it
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from comet.cli import slurm
from comet.cli.slurm import Job, Slurm, SlurmNode, agree, read_jobs, read_nodes
from comet.client.client import Client
from comet.client.errors import CometError, NotFoundError, RefusedError, UnreachableError
from comet.client.files import replace_file
from tests.nucleus_server import TOKEN, NucleusServer, answer
from tests.unit.comet.conftest import sent
from tests.waiting import wait_until

UP, DOWN = "MIXED+CLOUD+NOT_RESPONDING+POWERING_UP", "IDLE+CLOUD+POWERED_DOWN"


class Guest(Slurm):
    """A Slurm of vm-vc2-0 to vm-vc2-3, which are powered down."""

    def __init__(self) -> None:
        self.states = {f"vm-vc2-{number}": DOWN for number in range(4)}
        self.comments: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.jobs_left = ["9:59|vm-vc2-[0-1]|alp1"]

    def _run(self, *arguments: str) -> str:  # type: ignore[override]
        if arguments[0] == "squeue":
            mark = arguments[-1].removeprefix("--format=").partition("|")[0]
            return "".join(f"{mark}|{job}\n" for job in self.jobs_left)
        if arguments[1] == "show":
            return "ClusterName             = vc2\n"
        if arguments[1] == "--oneliner":
            return "".join(self._line(name, state) for name, state in self.states.items())
        given = dict(one.split("=", 1) for one in arguments[2:])
        name = given["nodename"]
        if "comment" in given:
            self.comments[name] = given["comment"]
        state = given.get("state", "")
        if state == "down":
            self.states[name] = "DOWN+CLOUD"
        elif state == "power_down_force":
            base = self.states[name].partition("+")[0]
            self.states[name], self.reasons[name] = f"{base}+CLOUD+POWERING_DOWN", given["reason"]
        elif state:
            assert state == "resume"
            self.states[name] = self.states[name].replace("DOWN+", "IDLE+", 1)
        return ""

    def _line(self, name: str, state: str) -> str:
        comment = f" Reason={self.reasons[name]} [root@2026-11-25T17:52:32]" if name in self.reasons else ""
        comment += f" Comment={self.comments[name]}" if self.comments.get(name) else ""
        return f"NodeName={name} CoresPerSocket=1  CPUAlloc=1 NodeHostName={name} State={state} Weight=1{comment}\n"


@pytest.fixture
def guest() -> Guest:
    return Guest()


@pytest.fixture
def client(server: NucleusServer, configured: Path) -> Iterator[Client]:
    with Client() as found:
        yield found


def test_nodes_are_read_with_texts_of_other_people() -> None:
    text = (
        "NodeName=n1 Arch=x86_64 NodeAddr=192.0.2.1 Version=22.05.8 OS=Linux State=DOWN State=IDLE+CLOUD Weight=1"
        " Reason=x Comment=computeset 8 [root@2026-11-25T17:52:32] Comment=computeset 7\n"
        "NodeName=n2 State=IDLE+CLOUD+POWERED_DOWN Weight=1 Reason=it Comment=computeset 9 [root@2026-11-25T17:52:32]\n"
        "NodeName=head State=IDLE Weight=1 Comment=computeset 7\n\n"
    )
    assert read_nodes(text.replace(" State=DOWN", "")) == [
        SlurmNode("n1", frozenset({"IDLE", "CLOUD"}), 7),
        SlurmNode("n2", frozenset({"IDLE", "CLOUD", "POWERED_DOWN"}), None),
    ]


def test_of_the_jobs_on_a_node_the_longest_counts() -> None:
    text = "10:00|n[1-2]|a\n1-02:00:01|n2|b\nUNLIMITED|n3|c\n5:00|n3|d\n1:05:00|n1|e|x\n10:00||f\nodd\n1:00|n[|g\n"
    text += "0:00|n1|h"  # its time is over, and Slurm has not ended it yet
    found = {"n1": Job(65, "e|x"), "n2": Job(1561, "b"), "n3": Job(None, "c")}
    assert read_jobs("".join(f"m|{line}\n" for line in text.split("\n")), "m") == found


def test_an_account_with_lines_of_its_own_is_no_job_of_another_node(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    """Also with a number that Python refuses to read: the nodes of all others would wait for it."""
    guest.states["vm-vc2-1"] = UP
    forged = "|99-00:00:00|vm-vc2-1|root"
    for end in ("\n", "\r", "\x0b", "\u2028"):
        account = f"x{end}{forged}{end}{forged[1:]}{end}{5000 * '9'}:00|n|a{end}m{forged}"
        guest.jobs_left.append(f"5:00|vm-vc2-0|{account}")
    guest.jobs_left.append(f"{5000 * '9'}:00|vm-vc2-3|alp1")
    agree(client, guest)
    assert sent(server, "POST") == [
        (
            "computeset/",
            {"cluster": "vc2", "walltime_mins": 25, "allocation": "alp1", "computes": ["vm-vc2-1"]},
        )
    ]


def test_what_is_no_text_is_read() -> None:
    assert Slurm._run("printf", r"a\377b") == "a\ufffdb"


def test_each_node_gets_a_computeset_once_and_it_ends_with_it(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    for name in ("vm-vc2-0", "vm-vc2-1"):
        guest.states[name] = UP
    for _ in range(2):
        agree(client, guest)
    common = {"cluster": "vc2", "walltime_mins": 25, "allocation": "alp1"}
    assert sent(server, "POST") == [
        ("computeset/", {**common, "computes": [name]}) for name in ("vm-vc2-0", "vm-vc2-1")
    ]
    assert guest.comments == {"vm-vc2-0": "computeset 1", "vm-vc2-1": "computeset 2"}
    guest.states["vm-vc2-0"] = "IDLE+CLOUD+POWERING_DOWN"
    guest.states["vm-vc2-1"] = "MIXED+CLOUD"
    for _ in range(2):
        agree(client, guest)
    assert sent(server, "PUT") == [("computeset/1/shutdown", None)]
    assert guest.comments == {"vm-vc2-0": "", "vm-vc2-1": "computeset 2"}
    assert guest.reasons == {}


def test_a_job_without_a_limit_and_with_another_account(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    guest.states["vm-vc2-0"], guest.jobs_left = UP, ["UNLIMITED|vm-vc2-0|root"]
    agree(client, guest)
    assert sent(server, "POST") == [("computeset/", {"cluster": "vc2", "computes": ["vm-vc2-0"]})], (
        "the site knows its longest walltime"
    )


def test_a_merged_computeset_is_left_to_its_owner(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    """Its end would end nodes on which jobs run."""
    guest.states["vm-vc2-0"] = UP
    for _ in range(2):
        agree(client, guest)
    next(iter(server.sets.values()))["merged"] = [2]
    guest.states["vm-vc2-0"] = "IDLE+CLOUD+POWERING_DOWN"
    for _ in range(2):
        agree(client, guest)
    assert sent(server, "PUT") == [] and guest.comments == {"vm-vc2-0": "computeset 1"}


def test_a_run_that_was_killed_before_it_noted_its_computeset_is_completed(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    asked = dict.fromkeys(("vm-vc2-0", "vm-vc2-1", "vm-vc2-2"), "computeset 0")
    guest.comments |= asked
    guest.states["vm-vc2-0"] = guest.states["vm-vc2-1"] = UP
    client.start("vc2", ["vm-vc2-0"])
    client.start("vc2", ["vm-vc2-2"])
    agree(client, guest)
    known = {"vm-vc2-0": "computeset 1", "vm-vc2-1": "computeset 3", "vm-vc2-2": ""}
    assert len(server.sets) == 3 and guest.comments == known
    assert sent(server, "PUT") == [("computeset/2/shutdown", None)], (
        "Slurm has powered its node down meanwhile"
    )


def test_a_computeset_without_an_answer_is_looked_for(
    guest: Guest, client: Client, server: NucleusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.states["vm-vc2-0"] = UP
    with monkeypatch.context() as away, pytest.raises(UnreachableError):
        away.setattr(server, "start", lambda _: (502, None, {}))
        agree(client, guest)
    assert guest.comments == {"vm-vc2-0": "computeset 0"} and guest.states["vm-vc2-0"] == UP
    agree(client, guest)
    assert guest.comments == {"vm-vc2-0": "computeset 1"}


def test_computesets_of_an_owners_own_are_left(guest: Guest, client: Client, server: NucleusServer) -> None:
    client.start("vc2", ["vm-vc2-0", "vm-vc2-1"])
    client.start("vc2", ["vm-vc2-2"])
    for state in (UP, "IDLE+CLOUD", "IDLE+CLOUD+POWERING_DOWN", DOWN):
        guest.states["vm-vc2-1"] = guest.states["vm-vc2-2"] = state
        agree(client, guest)
    assert sent(server, "PUT") == [] and len(server.sets) == 2
    assert guest.comments == guest.reasons == {}


def test_a_refusal_is_the_reason_of_the_node_and_others_start(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    guest.states["vm-vc2-0"] = guest.states["vm-vc2-1"] = UP
    server.clusters[0]["computes"][0]["active_computeset"] = 9
    with pytest.raises(RefusedError):
        agree(client, guest)
    assert guest.reasons["vm-vc2-0"] == "vm-vc2-0 is in computeset 9"
    assert guest.comments == {"vm-vc2-0": "", "vm-vc2-1": "computeset 1"}


def test_a_token_that_is_not_known_is_the_reason_of_nodes_that_wait(
    guest: Guest, server: NucleusServer, folder: Path
) -> None:
    guest.states["vm-vc2-0"], guest.states["vm-vc2-1"] = UP, "MIXED+CLOUD"
    with Client(server.url, "nuc_12345678_" + "y" * 43) as stranger, pytest.raises(CometError):
        agree(stranger, guest)
    assert guest.reasons == {
        "vm-vc2-0": "The token is not known. Sign in again: comet init, or comet init --token-file=FILE with a new "
        "token of the site's operators"
    }


def test_while_nucleus_is_away_nothing_changes(guest: Guest, client: Client, server: NucleusServer) -> None:
    guest.states["vm-vc2-0"] = UP
    server.answers["/v1/"] = answer(502, b"")
    with pytest.raises(UnreachableError):
        agree(client, guest)
    assert guest.reasons == guest.comments == {}
    server.answers.clear()
    agree(client, guest)
    assert guest.comments == {"vm-vc2-0": "computeset 1"}


def test_a_node_whose_computeset_ends_is_powered_down(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    for name in guest.states:
        guest.states[name] = UP
    agree(client, guest)
    for name in guest.states:
        guest.states[name] = "MIXED+CLOUD"
    server.sets[1] |= {"state": "ending", "end_reason": "operator"}
    server.sets[2] |= {"state": "failed", "end_reason": "the walltime is too long\n Comment=computeset 3"}
    del server.sets[3]
    server.sets[4] |= {"walltime_end": "2026-11-22T10:00:00.000Z"}
    agree(client, guest)
    assert guest.reasons == {
        "vm-vc2-0": "computeset 1 is ending: operator",
        "vm-vc2-1": "computeset 2 is failed: the walltime is too long Comment=computeset 3",
        "vm-vc2-2": "computeset 3 does not exist",
        "vm-vc2-3": "the walltime of computeset 4 ends",
    }
    agree(client, guest)
    assert sent(server, "PUT") == [("computeset/4/shutdown", None)], "the others have ended"
    assert "" not in guest.comments.values(), "Slurm leaves a node down that was"
    for name in guest.states:
        guest.states[name] = "DOWN+CLOUD+POWERED_DOWN"
    agree(client, guest)
    assert set(guest.comments.values()) == {""} and set(guest.states.values()) == {DOWN}
    assert len(sent(server, "PUT")) == 1


def test_the_walltime_is_by_the_clock_of_nucleus_where_the_frontends_is_ahead(
    guest: Guest, client: Client, server: NucleusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.states["vm-vc2-0"] = UP
    agree(client, guest)
    guest.states["vm-vc2-0"] = "MIXED+CLOUD"
    server.sets[1] |= {"walltime_end": "2026-11-22T10:00:00.000Z"}
    moment = "Sun, 22 Nov 2026 09:57:00 GMT"
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda _handler: moment)
    agree(client, guest)
    assert guest.reasons == {}
    moment = "Sun, 22 Nov 2026 09:59:00 GMT"
    agree(client, guest)
    assert guest.reasons == {"vm-vc2-0": "the walltime of computeset 1 ends"}


def test_a_computeset_ends_when_slurm_has_found_its_compute_down_and_it_is_off(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    guest.states |= dict.fromkeys(("vm-vc2-0", "vm-vc2-1", "vm-vc2-2"), UP)
    agree(client, guest)
    computes = server.clusters[0]["computes"]
    for compute, power in zip(computes, ("off", "on", "off"), strict=False):
        compute["power"] = power
    guest.states |= {"vm-vc2-0": "DOWN+CLOUD+NOT_RESPONDING", "vm-vc2-1": "DOWN+CLOUD+NOT_RESPONDING"}
    guest.states["vm-vc2-2"] = "IDLE+CLOUD"
    for _ in range(2):
        agree(client, guest)
    assert sent(server, "PUT") == [("computeset/1/shutdown", None)]
    assert guest.reasons == {"vm-vc2-0": "it is off, and computeset 1 ends"}


def test_a_node_whose_disk_is_on_its_way_waits_and_jobs_are_left_to_end(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    guest.states["vm-vc2-0"] = guest.states["vm-vc2-1"] = UP
    agree(client, guest)
    server.sets[1]["state"] = "ending"
    guest.comments["vm-vc2-0"] = ""
    guest.states["vm-vc2-1"] = "MIXED+CLOUD+DRAIN+POWER_DOWN"
    agree(client, guest)
    assert guest.reasons == {} and len(server.sets) == 2 and sent(server, "PUT") == []


def test_an_end_that_is_refused_is_asked_for_again(
    guest: Guest, client: Client, server: NucleusServer
) -> None:
    guest.states["vm-vc2-0"] = UP
    agree(client, guest)
    guest.states["vm-vc2-0"] = DOWN
    server.answers["/shutdown"] = answer(403, b"{}")
    with pytest.raises(NotFoundError):
        agree(client, guest)
    server.answers.clear()
    agree(client, guest)
    assert guest.comments == {"vm-vc2-0": ""} and server.sets[1]["state"] == "cancelled"


def test_the_program_reports_what_is_missing(folder: Path) -> None:
    source = Path(slurm.__file__).resolve().parents[2]
    path = folder / "comet.toml"

    def run(redirection: str = "") -> subprocess.CompletedProcess[str]:
        code = "from comet.cli.slurm import program; program()"
        return subprocess.run(
            ["/bin/sh", "-c", f'exec "$0" -S -c "{code}" {redirection}', sys.executable],
            env={"PATH": str(folder), "PYTHONPATH": str(source), "COMET_CONFIG": str(path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    missing = run()
    assert missing.returncode == 1 and f"write it with comet init --config={path}" in missing.stderr
    assert run("0<&- 1>&- 2>&-").returncode == 1
    path.write_text('active = "site"\n[endpoints.site]\nurl = "http://127.0.0.1:9/nucleus"\n')
    path.chmod(0o600)
    without = run()
    assert without.returncode == 1 and "scontrol" in without.stderr
    assert "Traceback" not in missing.stderr + without.stderr


def test_one_run_waits_for_one_that_nucleus_does_not_answer(folder: Path) -> None:
    """And others leave it to that: cron and Slurm start more of them than end."""
    path, scontrol = folder / "comet.toml", folder / "scontrol"
    scontrol.write_text("#!/bin/sh\necho 'ClusterName = vc2'\n")
    scontrol.chmod(0o755)
    code = "from comet.cli.slurm import program; program()"
    source = Path(slurm.__file__).resolve().parents[2]
    environment = {"PATH": str(folder), "PYTHONPATH": str(source), "COMET_CONFIG": str(path)}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-S", "-c", code], env=environment)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/nucleus"
        path.write_text(f'active = "site"\n[endpoints.site]\nurl = "{url}"\ntoken = "{TOKEN}"\n')
        path.chmod(0o600)
        first = start()
        asked, _ = silent.accept()
        others = [start() for _ in range(4)]
        wait_until(lambda: sum(it.poll() is None for it in others) == 1, "one waits")
        assert sorted(str(it.poll()) for it in others) == ["0", "0", "0", "None"]
        replace_file(path, path.read_text(), 0o600)  # as comet init does
        others.append(start())
        with pytest.raises(subprocess.TimeoutExpired):
            others[-1].wait(1)
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()
        silent.settimeout(60)
        with asked:
            first.kill()
            first.wait()
        second, _ = silent.accept()  # the one that waited
        with second:
            for one in others:
                one.kill()
                one.wait()
