"""New hosts get accounts and secret attributes by commands, one after the other."""

import os
import queue
import signal
import sys
from pathlib import Path

import pytest

from rocks.core import process
from rocks.core.errors import StateError
from rocks.database.settings import Settings
from rocks.install.installation.installations import FirstSync, record_configured
from rocks.trust.secrets import forget_handed_out, record_handed_out
from tests.waiting import wait_until

SECONDS = 120


def settings(folder: Path) -> Settings:
    """A frontend with an empty state folder."""
    return Settings(None, "", 0, "", "", "", str(folder / "state"))


def waiting(folder: Path) -> list[str]:
    """The hosts whose commands have not ended."""
    return sorted(path.name for path in (folder / "state/to-sync").iterdir())


class Reported(FirstSync):
    """Hosts that it gets have reported before."""

    def put(self, host: str) -> None:
        """As `FirstSync.put`."""
        record_configured(self._settings, host)
        super().put(host)


def first_sync(folder: Path, script: str) -> tuple[FirstSync, queue.SimpleQueue[str]]:
    """Its commands are those of the shell script; the lines that it logs."""
    program = folder / "rocks"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    logged: queue.SimpleQueue[str] = queue.SimpleQueue()
    return Reported(str(program), logged.put, settings(folder)), logged


def test_the_commands_run_for_each_host_and_a_failure_is_logged(tmp_path: Path) -> None:
    record = tmp_path / "record"
    script = f'echo "$*" >>{record}\n[ "$3" != broken ] || {{ echo why >&2; exit 1; }}'
    sync, logged = first_sync(tmp_path, script)
    sync.put("compute-0-0")
    sync.put("broken")
    line = logged.get(timeout=SECONDS)
    assert line.startswith("broken is configured, but this failed: ") and "why" in line
    assert line.endswith("; rocks sync users broken")
    sync.put("compute-0-1")
    sync.put("broken")
    logged.get(timeout=SECONDS)
    assert record.read_text().splitlines()[:6] == [
        "sync users compute-0-0",
        "sync host sec_attr compute-0-0",
        "sync users broken",
        "sync host sec_attr broken",
        "sync users compute-0-1",
        "sync host sec_attr compute-0-1",
    ]


def test_a_host_that_reports_again_and_again_waits_once(tmp_path: Path) -> None:
    record, go = tmp_path / "record", tmp_path / "go"
    script = f'while [ ! -e {go} ]; do sleep 0.1; done\necho "$*" >>{record}\n[ "$3" != last ]'
    sync, logged = first_sync(tmp_path, script)
    sync.put("first")
    for _ in range(20):
        sync.put("often")
    sync.put("last")
    go.touch()
    logged.get(timeout=SECONDS)
    assert record.read_text().splitlines().count("sync users often") == 1
    sync.put("often")
    sync.put("last")
    while not logged.get(timeout=SECONDS).endswith("sync users last"):
        pass
    assert record.read_text().splitlines().count("sync users often") == 2


SERVICE = """
import signal, sys
from rocks.database.settings import Settings
from rocks.install.installation.installations import FirstSync
FirstSync(sys.argv[1], print, Settings(None, "", 0, "", "", "", sys.argv[2]))
signal.pause()
"""


def test_a_killed_service_goes_on_with_all_that_waited_when_it_starts_again(tmp_path: Path) -> None:
    """The host that it worked on gets its secrets, too: they are recorded as sent when they are."""
    record, sending, program = tmp_path / "record", tmp_path / "sending", tmp_path / "first"
    hosts = ["compute-0-0", "compute-0-1"]
    for host in hosts:
        record_configured(settings(tmp_path), host)
    program.write_text(
        f'#!/bin/sh\n[ "$2" = host ] || exit 0\necho $$ >{sending}.new\n'
        f"mv {sending}.new {sending}\nexec sleep 600\n"
    )
    program.chmod(0o755)
    service = process.start_with_pipes(
        [sys.executable, "-c", SERVICE, str(program), str(tmp_path / "state")],
        {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        wait_until(sending.exists)
    finally:
        service.kill()
        process.finish(service, SECONDS)
    os.kill(int(sending.read_text()), signal.SIGKILL)
    _, logged = first_sync(tmp_path, f'echo "$*" >>{record}')
    wait_until(lambda: not waiting(tmp_path))
    assert record.read_text().splitlines() == [
        f"{command} {host}" for host in hosts for command in ("sync users", "sync host sec_attr")
    ]
    assert logged.empty()


def test_a_host_whose_new_installation_has_begun_gets_nothing_of_what_waited(tmp_path: Path) -> None:
    """The secrets would go to its old system, and count as sent to the new one."""
    record, go = tmp_path / "record", tmp_path / "go"
    sync, logged = first_sync(tmp_path, f'while [ ! -e {go} ]; do sleep 0.1; done\necho "$*" >>{record}')
    for host in ("first", "anew"):
        sync.put(host)
    forget_handed_out(settings(tmp_path), ["anew"])
    go.touch()
    assert logged.get(timeout=SECONDS) == "anew is installed anew, so this is not run: rocks sync users anew"
    wait_until(lambda: not waiting(tmp_path))
    assert "anew" not in record.read_text()


def test_a_command_that_is_ended_by_a_signal_is_repeated_at_the_next_start(tmp_path: Path) -> None:
    """As systemd ends it when it stops the service; one that fails by itself is not repeated."""
    for host in ("failed", "stopped"):
        record_configured(settings(tmp_path), host)
    _, logged = first_sync(tmp_path, 'case "$*" in *failed) exit 1;; *sec_attr*) kill $$;; esac')
    lines = [logged.get(timeout=SECONDS) for _ in range(3)]
    assert lines[2].startswith("rocks sync host sec_attr stopped was ended by signal 15")
    assert waiting(tmp_path) == ["stopped"]
    record = tmp_path / "record"
    first_sync(tmp_path, f'echo "$*" >>{record}')
    wait_until(lambda: not waiting(tmp_path))
    assert record.read_text() == "sync users stopped\nsync host sec_attr stopped\n"


def test_secrets_are_sent_once_for_each_installation(tmp_path: Path) -> None:
    """A report in the host's name that it is configured has them sent once, and they count as handed out."""
    record = tmp_path / "record"
    sync, logged = first_sync(tmp_path, f'echo "$*" >>{record}')

    def sent(host: str) -> int:
        return record.read_text().splitlines().count(f"sync host sec_attr {host}")

    sync.put("compute-0-0")
    sync.put("compute-0-1")
    wait_until(lambda: record.exists() and sent("compute-0-1") == 1)
    with pytest.raises(StateError, match="were handed out before"):
        record_handed_out(settings(tmp_path), "compute-0-0")
    sync.put("compute-0-0")
    line = logged.get(timeout=SECONDS)
    assert "its secrets are not sent again: rocks sync host sec_attr compute-0-0" in line
    assert record.read_text().splitlines()[-1] == "sync users compute-0-0" and sent("compute-0-0") == 1
    forget_handed_out(settings(tmp_path), ["compute-0-0"])
    sync.put("compute-0-0")
    wait_until(lambda: sent("compute-0-0") == 2)
    with pytest.raises(StateError, match="were handed out before"):
        record_handed_out(settings(tmp_path), "compute-0-0")
