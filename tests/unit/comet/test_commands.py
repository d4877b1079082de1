"""Every command against a small server: what it asks, what it prints, its exit status."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.nucleus_server import PASSWORD, TOKEN, answer, cluster, problem
from tests.unit.comet.conftest import Comet, sent


def test_init_writes_a_private_file_with_a_token(folder: Path, comet: Comet) -> None:
    (folder / ".config" / "comet" / "config.toml").unlink()
    options = ("--endpoint=dev", f"--url={comet.server.url}", "--user=ann")
    assert comet("init", *options, stdin="wrong\n").status == 3
    assert not (folder / ".config" / "comet" / "config.toml").exists()
    assert comet("init", *options, stdin="").status == 2
    done = comet("init", *options, stdin=f"{PASSWORD}\n")
    assert (done.status, done.err) == (0, "")
    path = folder / ".config" / "comet" / "config.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert TOKEN in path.read_text()
    assert TOKEN not in done.out
    assert comet("active").status == 0
    assert comet("ll").status == 0


def test_init_says_what_the_published_nucleus_refuses(folder: Path, comet: Comet) -> None:
    comet.server.answers["/rest-auth/login/"] = answer(400, b'"Unable to log in"')
    refused = comet("init", "--endpoint=dev", f"--url={comet.server.url}", "--user=ann", stdin="wrong\n")
    assert refused.status == 3 and "does not take ann and this password: Unable" in refused.err


def test_init_takes_a_token_of_a_file(folder: Path, comet: Comet) -> None:
    options = ("init", "--endpoint=dev", f"--url={comet.server.url}", "--user=ann", "--token-file=-")
    assert comet(*options, stdin=f"{TOKEN}\n").status == 0
    refused = comet(*options, stdin="nuc_bad token\n")
    assert refused.status == 3
    assert "bad token" not in refused.err
    assert (
        comet(
            "init", "--endpoint=dev", f"--url={comet.server.url}", "--user=bob", "--token-file=-", stdin=TOKEN
        ).status
        == 3
    )


def test_active_changes_the_server(configured: Path, comet: Comet) -> None:
    with configured.open("a") as file:
        file.write('[endpoints.other]\nurl = "https://other.example.org"\n')
    assert comet("active", "other").status == 0
    assert 'active = "other"' in configured.read_text()
    assert comet("active", "third").status == 2


def test_ll_has_a_row_for_each_cluster(comet: Comet) -> None:
    assert "| vc2  | alpha   | 4     | vm-vc2-[0-3] |" in comet("ll").out
    assert comet("ll", "vc3").status == 4
    assert comet("ll", "V?2") == comet("ll", "v*") == comet("ll")
    assert comet("ll", "x*").err == "no cluster of yours matches 'x*'. List them: comet ll\n"
    rows = json.loads(comet("ll", "vc2", "--format=json").out)
    assert (rows[0]["name"], rows[0]["nodes"], rows[0]["allocations"]) == ("vc2", "vm-vc2-[0-3]", "alp1")


def test_cluster_has_the_same_in_every_format(comet: Comet) -> None:
    comet("start", "vc2", "vm-vc2-[0-1]", "--walltime=6h")
    rows = json.loads(comet("cluster", "vc2", "--format=json").out)
    assert [it["name"] for it in rows] == ["vc2", "vm-vc2-0", "vm-vc2-1", "vm-vc2-2", "vm-vc2-3"]
    assert rows[0]["mac"] == "76:77:6e:90:00:01;76:77:6e:80:00:01"
    assert [it["allocation"] for it in rows] == [None, "alp1", "alp1", None, None]
    assert rows[0]["stale"] is False
    assert yaml.safe_load(comet("cluster", "vc2", "--format=yaml").out) == rows
    read = list(csv.DictReader(io.StringIO(comet("cluster", "vc2", "--format=csv").out)))
    assert [it["active_computeset"] for it in read] == ["", "1", "1", "", ""]
    legacy = json.loads(comet("cluster", "vc2", "--format=json", "--legacy").out)
    assert list(legacy) == ["0", "1", "2", "3", "4"]
    (rest,) = json.loads(comet("cluster", "vc2", "--format=rest").out)
    assert rest == comet.server.clusters[0]
    literal = comet("cluster", "vc2", "--format=rest", "--legacy").out
    assert "'stale': False" in literal and ast.literal_eval(literal) == [rest]
    table = comet("cluster", "vc2", "--status").out
    assert "| vm-vc2-0 | active  | 1          | alp1       | ready       |" in table
    assert "mac" not in table


def test_cm_prints_the_old_forms_for_old_callers(comet: Comet) -> None:
    """The published cmutil.py reads `cm comet cluster … --format=rest` as a literal of Python; `comet` has JSON."""
    comet.patch.setattr(sys, "argv", ["/usr/bin/cm"])
    (old,) = ast.literal_eval(comet("comet", "cluster", "vc2", "--format=rest").out)
    assert old == comet.server.clusters[0] and old["frontend"]["pub_ip"] and old["stale"] is False
    for form in ("ll", "cluster", "iso list", "computeset"):
        assert list(json.loads(comet("comet", *form.split(), "--format=json").out)) in (
            [],
            [str(it) for it in range(len(json.loads(comet(*form.split(), "--format=json").out)))],
        )
    for form in ("table", "csv", "yaml"):
        assert comet("comet", "ll", f"--format={form}") == comet("ll", f"--format={form}", "--legacy")
    comet.patch.setattr(sys, "argv", ["/usr/bin/comet"])
    assert json.loads(comet("comet", "cluster", "vc2", "--format=rest").out) == [old]


def test_cluster_is_sorted_by_any_column(comet: Comet) -> None:
    comet.server.clusters = [cluster(count=11)]
    by_name = json.loads(comet("cluster", "--sort=name", "--format=json").out)
    assert [it["name"] for it in by_name][-2:] == ["vm-vc2-9", "vm-vc2-10"]
    by_memory = comet("cluster", "--sort=ram")
    assert by_memory.status == 0
    assert all(comet("cluster", f"--sort={it}") == by_memory for it in ("RAM(M)", "Ram", "ram(m)"))
    assert comet("cluster", "--sort=colour").status == 2


def test_power_of_the_frontend_needs_no_set(comet: Comet) -> None:
    done = comet("power", "on", "vc2", "--wait")
    assert (done.out, done.err) == ("vc2: is on\n", "vc2: is being switched on\n")
    assert sent(comet.server, "PUT") == [("cluster/vc2/frontend/poweron", None)]
    assert comet.server.sets == {}


def test_power_of_nodes_has_a_line_for_each(comet: Comet) -> None:
    comet("start", "vc2", "vm-vc2-[0-1]")
    done = comet("power", "off", "vc2", "vm-vc2-[0-2]")
    assert done.status == 9
    assert done.out.splitlines() == [
        "vm-vc2-0: is being switched off",
        "vm-vc2-1: is being switched off",
        "vm-vc2-2: vm-vc2-2 is in no running computeset",
    ]
    assert comet("power", "reset", "vc2", "vm-vc2-[2-3]").status == 5
    assert comet("power", "reset", "vc2", "vm-vc2-9").status == 4


def test_an_operation_that_fails_or_takes_too_long(comet: Comet) -> None:
    failed = comet.server.operation(
        "power", error="host vm-container-0-0 does not answer\x1b[2J", cluster="vc2"
    )
    visible = comet("operation", "wait", failed["id"])
    assert visible.status == 8
    assert "does not answer\\x1b[2J" in visible.err
    comet.server.polls_until_done = 10**9
    late = comet("power", "on", "vc2", "--wait=0.5")
    assert late.status == 7
    assert "comet operation show" in late.err
    comet.server.polls_until_done = 1
    assert comet("operation", "wait", late.err.split("comet operation show ")[1].strip()).status == 0
    assert "vc2/vc2" in comet("operation", "list").out
    assert comet("operation", "show", "../user").status in (2, 4)


def test_what_destroys_asks_at_a_terminal_and_scripts_go_on(comet: Comet) -> None:
    comet("start", "vc2", "vm-vc2-[0-1]")
    for typed, question in (
        (("terminate", "1"), "This ends computeset 1 of vc2, and its nodes vm-vc2-[0-1]. Go on? [y/N] "),
        (("power", "off", "vc2", "1"), "This ends computeset 1 of vc2, and its nodes vm-vc2-[0-1]."),
        (("power", "off", "vc2"), "This switches the frontend of vc2 off at once; what is not written"),
        (("power", "reset", "vc2", "vm-vc2-[0-1]"), "This resets vm-vc2-[0-1] at once; what is not written"),
        (("power", "reset", "vc2", "1"), "This resets the 2 nodes of computeset 1 at once;"),
    ):
        refused = comet(*typed, terminal="\n")
        assert (refused.status, refused.out) == (2, "")
        assert question in refused.err
        assert refused.err.endswith("nothing was changed\n")
    assert [it for it in comet.server.requests if it[0] == "PUT"] == []
    assert comet("power", "shutdown", "vc2", terminal="").status == 0, "a system that is asked loses nothing"
    assert comet("power", "off", "vc2", terminal="y\n").status == 0
    assert comet("power", "off", "vc2", "--yes", terminal="").status == 0
    assert comet("power", "--timeout", "9", "--yes", "off", "vc2", terminal="").status == 0
    assert comet("power", "reset", "vc2", "vm-vc2-0", stdin="").status == 0
    assert comet("terminate", "1", stdin="").out.startswith("computeset 1 is ending")
    assert comet.server.sets[1]["state"] == "cancelled"


def test_node_info_and_rename(comet: Comet) -> None:
    printed = comet("node", "info", "vc2").out
    assert re.search(r"\| pub_ip +\| 203\.0\.113\.9", printed) and "| host " not in printed
    assert comet("node", "info", "vc2", "vm-vc2-9").status == 4
    renamed = comet("node", "rename", "vc2", "vm-vc2-[0-1]", "n[1,0]", "--yes")
    assert renamed.status == 0 and renamed.err == "vm-vc2-0 -> n1\nvm-vc2-1 -> n0\n2 renamed\n"
    assert sent(comet.server, "POST") == [
        ("cluster/vc2/rename", {"map": {"vm-vc2-0": "n1", "vm-vc2-1": "n0"}})
    ]
    assert comet("node", "rename", "vc2", "n[0-1]", "n[1,0]", "--yes").status == 0
    comet.server.answers["cluster/vc2/rename"] = answer(409, b'{"detail": "vc2 is the frontend"}')
    refused = comet("node", "rename", "vc2", "n0", "vc2", "--yes")
    assert (refused.status, refused.err) == (5, "vc2 is the frontend\n")
    for typed, status in (
        (("n0", "n[0-1]"), 2),
        (("n9", "n8"), 4),
        (("n0", "n1"), 5),
        (("n0", "bad.name"), 2),
        (("n0", "m0"), 2),  # nobody can answer
    ):
        extra = () if typed[1] == "m0" else ("--yes",)
        assert comet("node", "rename", "vc2", *typed, *extra).status == status, typed


def test_a_console_stays_on_the_configured_server(comet: Comet) -> None:
    visible = comet("console", "--link", "vc2")
    assert visible.out == f"{comet.server.url}/console/ticket#autoconnect\n"
    assert TOKEN not in visible.out
    for wrong in ("http://[", "https://x/\x1b[2J", "", 7):
        body = json.dumps({"page_url": wrong, "ws_url": "ws://x/y", "expires_at": ""})
        comet.server.answers["/frontend/console"] = answer(201, body.encode())
        assert comet("console", "--link", "vc2").status == 6, wrong


def test_tokens(comet: Comet) -> None:
    made = comet("token", "create", "--note=backup", "--scopes=read,power", "--days=7")
    assert made.out == "nuc_tok00000_" + "x" * 43 + "\n"
    assert sent(comet.server, "POST") == [
        ("token/", {"note": "backup", "scopes": ["read", "power"], "days": 7})
    ]
    assert "backup" in comet("token", "list").out
    assert made.err == (
        "It expires at 2026-11-23T10:00:00.000Z, with the token that it was made with; for a longer one ask the site's"
        " operators.\nThis is shown once; give it to the script as COMET_TOKEN:\n"
    )
    limited = comet("token", "create", "--days=900")
    assert "at 2026-11-23T10:00:00.000Z: the site's limit is 365 days.\n" in limited.err
    assert comet("token", "revoke", "tok00000").status == 0
    assert comet("token", "revoke", "tok00000").status == 4
    assert comet("token", "revoke", TOKEN).status == 2


def test_export_nodes_writes_what_the_set_up_reads(comet: Comet, tmp_path: Path) -> None:
    assert comet("export-nodes", "vc2", f"--directory={tmp_path}").status == 0
    assert (tmp_path / "vcnet_vc2.txt").read_text() == (
        "IP: 203.0.113.9\nMASK: 255.255.255.0\nGATEWAY: 203.0.113.1\nDNS: 192.0.2.1 192.0.2.2\nNTP: 192.0.2.3\n"
    )
    assert (tmp_path / "vcnodes_vc2.txt").read_text().splitlines()[0] == "vm-vc2-0,76:77:6e:80:00:02,10.0.0.1"
    assert comet("export-nodes", "vc2", "--subnet=10.0.0.0/30").status == 2
    assert comet("export-nodes", "vc2", "--subnet=x").status == 2
    assert comet("export-nodes", "vc2", f"--directory={tmp_path}/none").status == 2


def test_a_name_with_a_slash_or_an_escape_writes_no_file(comet: Comet, tmp_path: Path) -> None:
    comet.server.clusters[0]["name"] = "../x"
    comet.server.answers["/cluster/vc2"] = answer(200, json.dumps(comet.server.clusters[0]).encode())
    assert comet("export-nodes", "vc2", f"--directory={tmp_path}").status == 6
    assert comet("cluster", "vc2").status == 0


def test_what_the_site_has_not_confirmed_is_called_old(comet: Comet) -> None:
    comet.server.clusters[0]["stale"] = True
    visible = comet("cluster", "vc2", "--format=json")
    assert visible.status == 6
    assert len(json.loads(visible.out)) == 5
    assert "may be old" in visible.err


def test_hostile_names_do_not_act_on_the_terminal(comet: Comet) -> None:
    comet.server.clusters[0]["description"] = "\x1b]0;x\x07\u202e"
    comet.server.clusters[0]["computes"][0]["name"] = "\x1b[2J"
    for typed in (("ll",), ("cluster", "vc2"), ("cluster", "vc2", "--format=rest"), ("ll", "--format=csv")):
        assert all(
            it.isprintable() for it in comet(*typed).out.replace("\n", "").replace("\t", "").replace("\r", "")
        )


def test_usage(comet: Comet) -> None:
    for typed in (
        ("bogus",),
        ("ll", "--bogus"),
        ("cluster", "--format=xml"),
        ("power", "off"),
        ("--wait=x", "power", "on", "vc2"),
        ("terminate", "1", "--wait=0"),
    ):
        assert comet(*typed).status == 2, typed
    assert comet.server.requests == []
    assert comet("--version").out.startswith("comet 1.")
    assert "--walltime TIME" in comet("start", "--help").out
    assert comet("comet", "ll").status == 0
    assert comet("ll", "--endpoint=none").status == 2


def test_help_says_what_the_command_does(comet: Comet) -> None:
    for typed, part in (
        (("power", "on"), "computes such as vm-[0-3] (default: the frontend)"),
        (("start",), "[CLUSTER] [NODES]"),
        (("start",), "--wait[=SECONDS]"),
        (("completion",), 'eval "$(comet completion bash)"'),
        (("token", "create"), "cluster:destroy, with commas"),
        (("operation", "list"), "queued, running, succeeded, failed, cancelled"),
        (("operation", "show"), "comet operation list"),
        (("computeset",), "active means all that have not ended"),
        (("node",), "rename computes"),
        (("active",), "the server to ask from now on"),
    ):
        found = comet(*typed, "--help")
        assert found.status == 0
        assert part in " ".join(found.out.split()), typed
    top = comet("--help").out
    assert "caches" not in top
    power_on = " ".join(comet("power", "on", "--help").out.split())
    assert "computeset's number" not in power_on, "a computeset is started by start"
    assert comet("operation", "list", "--state=all").status == 2
    assert comet("operation", "list", "--state=failed")[1:] == ("", "no failed operation was found\n")


def test_a_mistyped_word_is_answered_with_what_was_meant(comet: Comet) -> None:
    for typed, answer_text in (
        (("hlep", "start"), "'hlep' is no command of comet. Did you mean: comet help? See: comet --help"),
        (("strat", "vc2"), "'strat' is no command of comet. Did you mean: comet start? See: comet --help"),
        (
            ("reboot", "vc2"),
            "'reboot' is no command of comet. Did you mean: comet power reboot? See: comet --help",
        ),
        (
            ("power", "onn"),
            "'onn' is no command of comet power. Did you mean: comet power on? See: comet power --help",
        ),
        (("xyzzy",), "'xyzzy' is no command of comet. See: comet --help"),
        (
            ("start", "vc2", "--waltime=6h"),
            "unrecognized arguments: --waltime=6h. Did you mean: --walltime? See: comet start --help\n",
        ),
        (
            ("launch", "dock", "--walltime=5"),
            "unrecognized arguments: --walltime=5. The walltime is in launcher.toml. See: comet launch --help\n",
        ),
        (
            ("terminate", "1", "--waltime=5"),
            "unrecognized arguments: --waltime=5. See: comet terminate --help\n",
        ),
    ):
        refused = comet(*typed)
        assert refused.status == 2 and refused.err.startswith(answer_text), refused.err
    assert comet.server.requests == []


def test_forms_of_other_programs_are_understood(comet: Comet) -> None:
    for typed in ("cluster vc2 -o json", "cluster vc2 --output=json", "cluster vc2 --format json"):
        assert json.loads(comet(*typed.split()).out)[0]["cluster"] == "vc2"
    of_state = json.loads(comet("cluster", "vc2", "--state=off", "--columns=name,ip", "-o", "json").out)
    assert of_state and all(list(one) == ["name", "ip"] for one in of_state)
    assert "| name " in comet("cluster", "vc2", "--columns=name,disk").out
    comet.server.requests.clear()
    assert comet("start", "vc2", "-n", "1", "-t", "1:00:00", "--allocation=alp1").status == 0
    ((_, body),) = sent(comet.server, "POST")
    assert isinstance(body, dict) and body["walltime_mins"] == 60
    for typed in ("power on vm-vc2-0", "power vm-vc2-0 on"):
        assert "vm-vc2-0" in comet(*typed.split()).out
    created = json.loads(comet("token", "create", "--format=json").out)
    assert created[0]["token"].startswith("nuc_")


def test_a_computeset_is_extended(comet: Comet) -> None:
    assert comet("start", "vc2", "-n", "1", "-t", "1h", "--allocation=alp1").status == 0
    (number,) = comet.server.sets
    more = comet("extend", str(number), "+2h")
    assert (more.status, more.out) == (0, f"computeset {number} runs for 03:00 in all\n"), more.err
    assert comet("extend", str(number), "4h").status == 0
    assert sent(comet.server, "PATCH")[-1][1] == {"walltime_mins": 240}
    refused = comet("extend", str(number), "+20d")
    assert refused.status != 0 and "node hours left" in refused.err
    assert comet("extend", str(number), "+x").status == 2


def test_the_only_cluster_need_not_be_named(comet: Comet) -> None:
    assert comet("start", "--count=1", "--allocation=alp1").status == 0
    started = comet("start", "vm-vc2-[1-2]", "--allocation=alp1")
    assert "computeset 2" in started.out, started.err
    assert comet("power", "on").out == "vc2: is being switched on\n"
    assert comet("power", "off").status == 2, "a script's variable may be unset"
    for line in ("console --link", "console --link vm-vc2-0", "node info", "node info vm-vc2-3"):
        assert comet(*line.split()).status == 0, line
    comet.server.clusters.append(cluster("vc3"))
    assert "vm-vc3-1" in comet("node", "info", "vm-vc3-1").out
    several = comet("start", "--count=1")
    assert several.status == 2 and "you have several clusters; name one: vc2, vc3" in several.err


def test_clusters_are_watched_until_an_interrupt(comet: Comet) -> None:
    pauses = list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        comet.server.clusters[0]["frontend"]["state"] = "active"
        if len(pauses) > 1:
            raise KeyboardInterrupt

    comet.patch.setattr("comet.cli.context.time.sleep", pause)
    for command in ("ll", "cluster"):
        comet.server.clusters[0]["frontend"]["state"] = "nostate"
        pauses.clear()
        watched = comet(command, "--watch", "--sort=name")
        assert watched.status == 0 and len(pauses) == 2
        assert watched.out.count("frontend") + watched.out.count("Frontend") > 1, "printed twice"
        assert watched.out.rindex("| active") > watched.out.index("| nostate")
    assert comet("ll", "--watch", "--cached").status == 2


def test_ssh_goes_to_a_frontend_and_through_it_to_a_compute(comet: Comet, tmp_path: Path) -> None:
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/line\nexit 7\n')
    program.chmod(0o755)
    comet.patch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    frontend, compute = comet.server.clusters[0]["frontend"], comet.server.clusters[0]["computes"][0]
    frontend["pub_ip"], compute["interface"][0]["ip"] = "203.0.113.9", "10.1.0.2"
    frontend["power"] = compute["power"] = "on"

    def line(name: str) -> str:
        assert comet("ssh", name).status == 7
        return (tmp_path / "line").read_text()

    assert line("VC2") == "-- 203.0.113.9\n"
    through = "-o HostKeyAlias=vm-vc2-0.vc2 -J root@203.0.113.9 -- root@10.1.0.2\n"
    assert line("root@vm-vc2-0") == through
    assert comet("ssh", "vm-vc2-9").status == 4
    for user in ("$(id)", "-oProxyCommand=id", "a b", "'"):
        assert comet("ssh", "--", f"{user}@vm-vc2-0").status == 2, "ssh gives the user to a shell"
    for address in ("-oProxyCommand=id", "fe80::1%';id;'"):
        compute["interface"][0]["ip"] = address
        assert comet("ssh", "vm-vc2-0").status == 6
    frontend["pub_ip"] = None
    assert "vc2 has no address" in comet("ssh", "vc2").err
    compute["power"] = "off"
    assert comet("ssh", "vm-vc2-0").err.endswith("vm-vc2-0 is off: comet start vc2 vm-vc2-0\n")
    compute["active_computeset"] = 4
    assert comet("ssh", "vm-vc2-0").err.endswith("vm-vc2-0 is off: comet power on vc2 vm-vc2-0\n")
    frontend["power"] = "off"
    assert comet("ssh", "vm-vc2-0").err.endswith("vc2 is off: comet power on vc2\n")


def test_a_start_says_before_what_it_costs(comet: Comet) -> None:
    dry = ("start", "vc2", "--dry-run", "-n", "2", "--allocation=alp1")
    printed = comet(*dry, "-t", "6h")
    assert printed.out.splitlines() == [
        "Cluster: vc2\tComputes: vm-vc2-[0-1]",
        "Cost: up to 12 node hours; alp1 has 1,872 left",
        "Est. start: not known; others are before it",
    ], printed.err
    assert comet.server.sets == {}
    assert json.loads(comet(*dry, "-t", "6h", "-o", "json").out)[0]["node_minutes"] == 720
    refused = comet(*dry, "-t", "2w")
    assert refused.status == 2 and "a walltime of 2w is not possible here" in refused.err


def test_computesets_are_merged(comet: Comet) -> None:
    for _ in range(2):
        assert comet("start", "vc2", "-n", "1", "-t", "1h", "--allocation=alp1").status == 0
    first, second = comet.server.sets
    merged = comet("computeset", "merge", str(first), str(second))
    assert (merged.status, merged.out) == (0, f"computeset {second} is a part of computeset {first}\n"), (
        merged.err
    )
    assert sent(comet.server, "POST")[-1] == (f"computeset/{first}/merge", {"computeset": second})
    printed = comet("computeset", str(first)).out
    assert f"Computeset: {first} (with {second})" in printed and "vm-vc2-1" in printed
    assert comet("merge", str(first), "x").status == 2
    assert comet("merge", str(first), "9").status == 4


def test_help_finds_commands(comet: Comet) -> None:
    assert comet("help", "power", "on").out == comet("power", "on", "--help").out
    start = comet("help", "start").out
    assert start == comet("start", "--help").out and start.startswith("usage: comet start ")
    assert comet("help", "power").out == comet("power", "--help").out
    assert comet("help").out == comet("--help").out
    found = comet("help", "drive")
    assert found.status == 0 and "comet iso attach: put an image into a drive" in found.out
    assert comet("help", "xyzzy").status == 2


def test_without_a_token_or_configuration(folder: Path, comet: Comet, configured: Path) -> None:
    configured.write_text(configured.read_text().replace(TOKEN, "nuc_wrongone_" + "x" * 43))
    refused = comet("ll")
    assert (refused.status, "comet init" in refused.err) == (3, True)
    configured.unlink()
    assert "comet init" in comet("ll").err


def test_a_shell_runs_lines_and_stops_at_the_first_failure(comet: Comet) -> None:
    done = comet("shell", stdin="ll\n\n# a comment\nstart vc2 --count=1\nll vc9\nstart vc2 --count=1\n")
    assert done.status == 4
    assert sorted(comet.server.sets) == [1]
    assert comet("shell", stdin='ll "\n').status == 2
    assert comet("shell", stdin="exit\nll vc9\n").status == 0


def test_events_are_lines(comet: Comet) -> None:
    data = {
        "at": "2026-11-22T10:00:00Z",
        "cluster": "vc2",
        "target": "vc2/vm-vc2-0",
        "old": "off",
        "new": "on\x1b",
    }
    stream = f": hello\n\nid: 7\nevent: node.power\ndata: {json.dumps(data)}\n\ndata: no json\n\nevent: x\n\n"
    stream += f"id: 8\nevent: set.ready\ndata: {json.dumps({**data, 'old': None, 'new': None})}\n\n"
    stream += f"id: 9\nevent: set.ends\ndata: {json.dumps({**data, 'old': None, 'new': 'noon'})}\n\n"
    comet.server.answers["/events"] = answer(200, stream.encode(), Content_Type="text/event-stream")
    where = "2026-11-22T10:00:00Z  vc2/vm-vc2-0"
    lines = "node.power  off -> on\\x1b", "set.ready", "set.ends  at noon"
    assert comet("events").out == "".join(f"{where}  {line}\n" for line in lines)
    assert json.loads(comet("events", "--format=json").out.splitlines()[0])["id"] == "7"
    assert comet("events", "--types=set.state,node.power").status == 0
    assert comet.server.requests[-1][1].endswith("/events?types=set.state&types=node.power")


@pytest.mark.parametrize(
    "typed", [("ll",), ("cluster", "vc2"), ("start", "vc2", "--count=1"), ("iso", "list")]
)
def test_a_command_needs_two_requests_at_most(comet: Comet, typed: tuple[str, ...]) -> None:
    assert comet(*typed).status == 0
    assert len(comet.server.requests) <= 2


# What is typed wrongly is refused by the name that its owner gave it.


def test_a_type_of_events_that_is_none_is_a_wrong_use(comet: Comet) -> None:
    """Who asks for a stream understands the problem that comes instead, too."""
    detail = "it must be one of 'node.power', 'set.state'"
    errors = [{"pointer": "#/query/types/0", "detail": detail}]
    of_shape = problem("invalid-request", 400, f"the request is not valid: {detail}", errors=errors)

    def refuse(handler: Any) -> None:
        assert "application/problem+json" in handler.headers["Accept"]
        handler.reply(*of_shape)

    comet.server.answers["/events"] = refuse
    assert comet("events", "--types=x") == (2, "", f"--types: {detail}\n")


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        (
            ("ll", ""),
            "CLUSTER is empty: give the cluster's name, or a pattern such as 'v*' (default: all of yours)\n",
        ),
        (
            ("power", "on", "vc2", ""),
            "NODES is empty: give computes such as vm-[0-3] (default: the frontend)\n",
        ),
        (("token", "revoke", ""), "TOKEN is empty: give the token's id, as comet token list prints it\n"),
    ],
)
def test_an_empty_word_names_nothing(comet: Comet, typed: tuple[str, ...], error: str) -> None:
    """As a variable of a script that was not set: it was taken for a path of another meaning."""
    assert comet(*typed) == (2, "", error)
    assert comet.server.requests == []


@pytest.mark.parametrize("typed", [("ll", "\udce9"), ("events", "--cluster=\udce9")])
def test_a_word_that_is_no_text_is_a_wrong_use(comet: Comet, typed: tuple[str, ...]) -> None:
    """As a terminal of another encoding sends it."""
    assert comet(*typed) == (2, "", "'\\udce9' is not UTF-8 text\n")
    assert comet.server.requests == []


def test_an_empty_list_beside_a_count_names_nothing(comet: Comet) -> None:
    assert comet("start", "vc2", "", "--count=2").out.startswith("computeset 1 is accepted.")
    ((_, body),) = sent(comet.server, "POST")
    assert body == {"cluster": "vc2", "walltime_mins": 2880, "count": 2}
    empty = "NODES is empty: give computes such as vm-[0-3]; they, or --count, are needed\n"
    assert comet("start", "vc2", "") == (2, "", empty)


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        (("start", "vc2", "-x1", "--walltime=6h"), "start --walltime=6h -- vc2 -x1"),
        (("power", "on", "-y", "vc2", "-x[0-1]"), "power on -y -- vc2 -x[0-1]"),
        (("node", "rename", "vc2", "-x1", "n1"), "node rename -- vc2 -x1 n1"),
        (("node", "info", "vc2", "-x1"), "node info -- vc2 -x1"),
    ],
)
def test_a_name_that_was_taken_for_an_option_goes_behind_two_dashes(
    comet: Comet, typed: tuple[str, ...], right: str
) -> None:
    refused, name = comet(*typed), next(it for it in typed if it.startswith("-x"))
    advice = f" Is {name} a name? Options come first, then --, then all names."
    assert refused.status == 2 and advice in refused.err
    assert comet.server.requests == []
    assert comet(*right.split()).status in (0, 4, 5) and comet.server.requests
    assert " a name? " not in comet("node", "rename", "-y", "vc2").err


def test_an_option_behind_two_dashes_gets_the_right_advice(comet: Comet) -> None:
    refused = comet("node", "rename", "vc2", "vm-vc2-0", "--", "-n", "--yes")
    assert (refused.status, "Options come first, then --, then all names." in refused.err) == (2, True)
    assert "Did you mean" not in refused.err


def test_the_frontend_has_no_name_of_its_own(comet: Comet) -> None:
    """The advice for power, to leave the node out, would lead nowhere."""
    refused = comet("node", "rename", "vc2", "VC2", "front", "--yes")
    assert refused == (2, "", "vc2 is the frontend, whose name is the cluster's: only computes are renamed\n")
    assert comet.server.requests == []


@pytest.mark.parametrize(
    ("word", "answer"),
    [("screen", "comet console"), ("password", "comet init"), ("certificate", "comet init --ca=FILE")],
)
def test_help_finds_what_an_owner_looks_for(comet: Comet, word: str, answer: str) -> None:
    found = comet("help", word)
    assert (found.status, answer in found.out) == (0, True)


def test_an_option_says_what_it_does_for_its_command(comet: Comet) -> None:
    """An allocation is charged by a start, and chosen in a list."""
    assert "only those of an allocation" in comet("computeset", "--help").out
    assert "the allocation that is charged" in comet("start", "--help").out


# No output has a time without its zone: an owner, the site and the service may be in three of them.


_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(.{0,4})")
_ZONE = re.compile(r"Z| ?[+-]\d\d")
_TIMES = {"begin": "2026-12-01T10:00:00.000Z", "end": "2026-12-01T12:00:00.000Z"}


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("computeset 1", 2),
        ("computeset --state=all --format=csv", 2),
        ("node info vc2 vm-vc2-0", 1),
        ("operation list", 1),
        ("operation show {operation}", 1),
        ("token create --days=1", 1),
        ("token list", 1),
        ("reservation list", 2),
    ],
)
def test_a_time_has_its_zone(comet: Comet, line: str, count: int) -> None:
    comet("start", "vc2", "vm-vc2-0")
    comet("power", "on", "vc2")
    comet("token", "create", "--days=1")
    comet.server.sets[1]["start_time"] = 1_800_000_000
    interval = {**_TIMES, "state": "waiting", "reason": None, "cluster": None, "address": None}
    made = {"id": 7, "site": "UCSD", "owner": "ann", "vc": "dock6", "intervals": [interval]}
    comet.server.answers["reservation"] = answer(200, json.dumps([made]).encode())
    printed = comet(*line.format(operation=next(iter(comet.server.operations), "")).split())
    found = _TIME.findall(printed.out + printed.err)
    assert len(found) >= count and all(_ZONE.match(it) for it in found), printed
