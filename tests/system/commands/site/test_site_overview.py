"""`rocks list site`: one screen of hosts, clusters and what needs an operator; silent hosts do not delay it."""

import json
import os
import pty
import select
import signal
import subprocess  # noqa: TID251 - a process with a terminal of its own
import sys
import sysconfig
import termios
import time

from tests.system.commands.conftest import Site
from tests.system.commands.test_at_once import LAUNCHER

SECONDS = 120.0


def test_silent_hosts_are_in_the_list_as_such(vm_site: Site) -> None:
    vm_site.done("add cluster 203.0.113.10 2")
    found = json.loads(vm_site.done("list site json=yes"))
    assert [(one["host"], one["state"], one["placed"]) for one in found["hosts"]] == [
        ("head", "silent", 1),
        ("vmc-0-0", "silent", 1),
        ("vmc-0-1", "silent", 1),
    ]
    ((cluster),) = found["clusters"]
    assert (cluster["machines"], cluster["running"], cluster["unknown"]) == (3, 0, 3)
    problems = {one["subject"]: one["problem"] for one in found["problems"]}
    assert "does not answer" in problems["host vmc-0-0"] and found["images"] == []


def test_a_person_gets_a_table_that_is_cut(vm_site: Site) -> None:
    out = vm_site.done("list site lines=2")
    assert " UTC: 0 of 3 hosts answer, 0 clusters\n" in out
    assert "HOST" in out and "and 1 more: lines=3\n" in out and "NEEDS" not in out
    assert "needs an operator" in out


def test_bad_parameters_are_refused(vm_site: Site) -> None:
    assert "watch=yes prints for a person" in vm_site.refused("list site watch=yes json=yes")
    for parameter in ("lines=0", "interval=0", "interval=x"):
        assert "must be an integer" in vm_site.refused("list site", parameter)


def test_a_watch_ends_by_ctrl_c_and_leaves_the_terminal_as_it_was(
    site: Site, cluster_environment: dict[str, str]
) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    environment = {
        **os.environ,
        **cluster_environment,
        "ROCKS_LAUNCHER": "rocks",
        "ROCKS_SITE_PACKAGES": sysconfig.get_path("purelib"),
    }
    process = subprocess.Popen(
        [sys.executable, "-E", "-S", str(LAUNCHER), "list", "site", "watch=yes", "interval=1"],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    printed = b""
    deadline = time.monotonic() + SECONDS
    while b"hosts answer" not in printed and time.monotonic() < deadline:
        if select.select([ours], [], [], 1)[0]:
            printed += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([ours], [], [], 1)[0]:
            try:
                printed += os.read(ours, 65536)
            except OSError:  # EIO: the other end is closed
                break
    assert process.wait(timeout=SECONDS) == 0, printed
    while select.select([ours], [], [], 0)[0]:
        try:
            rest = os.read(ours, 65536)
        except OSError:
            break
        printed += rest
    os.close(ours)
    assert b"\x1b[?1049h" in printed and printed.rstrip().endswith(b"\x1b[?25h\x1b[?1049l")
    assert b"Traceback" not in printed


def test_the_metrics_of_a_silent_site(vm_site: Site) -> None:
    lines = vm_site.done("report metrics").splitlines()
    assert 'rocks_host_up{host="vmc-0-0"} 0' in lines
    assert any(line.startswith("rocks_audit_entries_total ") for line in lines)
