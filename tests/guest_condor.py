"""The HTCondor of a virtual cluster, run by an ordinary user: one master for the frontend and for each running compute.

The startd of a compute ends after some seconds without a job, and its master with it: then the compute is off, as its
service manager would switch it off. Each master has a process namespace, which ends with it.
"""

import contextlib
import subprocess  # noqa: TID251 - its class
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import rmtree, which

import pytest

from rocks.core.process import Finished, end_group, run, run_checked, start_with_pipes
from tests.servers import free_port
from tests.waiting import wait_until

_SOURCE = Path(__file__).resolve().parent.parent / "src"
_USER = "nobody"
_AS_USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")

_COMMON = """
CONDOR_HOST=127.0.0.1
COLLECTOR_NAME=vc2
COLLECTOR_PORT={port}
USE_SHARED_PORT=False
NETWORK_INTERFACE=127.0.0.1
BIND_ALL_INTERFACES=False
NETWORK_HOSTNAME={host}
RELEASE_DIR=/usr
BIN=/usr/bin
SBIN=/usr/sbin
LIB=/usr/lib/condor
SHARE=/usr/share/condor
LIBEXEC=/usr/libexec/condor
LOCAL_DIR={folder}/{host}
RUN=$(LOCAL_DIR)/run
LOCK=$(LOCAL_DIR)/lock
LOG=$(LOCAL_DIR)/log
SPOOL=$(LOCAL_DIR)/spool
EXECUTE=$(LOCAL_DIR)/execute
SEC_DEFAULT_AUTHENTICATION_METHODS=FS
FILESYSTEM_DOMAIN=pool
UID_DOMAIN=pool
ALLOW_READ=*
ALLOW_WRITE=*
ALLOW_DAEMON=*
ALLOW_NEGOTIATOR=*
ALLOW_ADMINISTRATOR=*
"""
"""A cluster has a machine for each daemon, and root; here one machine has all, and the user is an ordinary one."""

_FRONTEND = """
DAEMON_LIST=MASTER COLLECTOR NEGOTIATOR SCHEDD ROOSTER
COLLECTOR_PERSISTENT_AD_LOG=$(SPOOL)/offline
NEGOTIATOR_SLOT_CONSTRAINT=CometAgainAt =?= undefined || CometAgainAt < time()
ROOSTER=$(LIBEXEC)/condor_rooster
ROOSTER_INTERVAL=2
ROOSTER_MAX_UNHIBERNATE=0
ROOSTER_WAKEUP_CMD="{folder}/comet-condor"
NEGOTIATOR_INTERVAL=2
NEGOTIATOR_CYCLE_DELAY=1
NEGOTIATOR_MIN_INTERVAL=1
SCHEDD_INTERVAL=2
SCHEDD_MIN_INTERVAL=1
"""

_COMPUTE = """
DAEMON_LIST=MASTER STARTD
STARTD_NOCLAIM_SHUTDOWN=10
SEC_USE_FAMILY_SESSION=False
NUM_CPUS=1
MEMORY=1024
RUNBENCHMARKS=0
UPDATE_INTERVAL=5
"""

_PROGRAM = """#!/bin/sh
cat >/dev/null
export COMET_CONFIG={folder}/comet.toml PYTHONPATH={source}
exec {python} -S {folder}/program.py
"""

_DYING_PROGRAM = """
import os
from comet.cli import condor
from comet.client.client import Client

with open("{folder}/steps", encoding="ascii") as file:
    left = [int(file.read())]


def dying(act):
    def acted(*arguments, **options):
        found = act(*arguments, **options)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), 9)
        return found

    return acted


condor.replace_file = dying(condor.replace_file)
condor.Pool._run = staticmethod(dying(condor.Pool._run))
for name in ("start", "terminate", "power"):
    setattr(Client, name, dying(getattr(Client, name)))
condor.program()
"""
"""The program, which is killed when it has read or changed so many things (0: never)."""


class GuestCondor:
    """Its programs, as the user who owns it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self._port = folder, port

    def permit(self, url: str, token: str) -> None:
        """Give `comet-condor` an address and a token."""
        path = self.folder / "comet.toml"
        path.write_text(f'active = "site"\n\n[endpoints.site]\nurl = "{url}"\ntoken = "{token}"\n', "ascii")
        path.chmod(0o600)
        run_checked(["chown", _USER, str(path)], deadline_seconds=60)

    def _as_user(self, host: str, *arguments: str) -> tuple[str, ...]:
        return (
            *_AS_USER,
            "env",
            f"CONDOR_CONFIG={self.folder}/{host}.conf",
            f"HOME={self.folder}",
            *arguments,
        )

    def die_after(self, steps: int) -> None:
        """Have each run of the program be killed after so many steps; 0 for none."""
        (self.folder / "steps").write_text(f"{steps}\n", "ascii")

    def comet_condor(self, is_checked: bool = True) -> Finished:
        """Start the program as cron does."""
        start = run_checked if is_checked else run
        return start(self._as_user("frontend", f"{self.folder}/comet-condor"), deadline_seconds=60)

    def ask(self, program: str, *arguments: str, given: str = "") -> str:
        """What a program of HTCondor prints."""
        line = self._as_user("frontend", program, *arguments)
        return run_checked(line, deadline_seconds=60, standard_input=given.encode()).text.strip()

    def submit(self, *lines: str, seconds: int = 1, count: int = 1) -> str:
        """Jobs; the number of their cluster."""
        text = (
            "executable=/bin/sleep",
            f"arguments={seconds}",
            "should_transfer_files=no",
            *lines,
            f"queue {count}",
        )
        return self.ask("condor_submit", "-terse", "-", given="\n".join(text)).partition(".")[0]

    @contextlib.contextmanager
    def master(self, host: str, text: str) -> Iterator[subprocess.Popen[bytes]]:
        """With the daemons of a host; the process that ends with its master."""
        of_host = self.folder / host
        for name in ("run", "lock", "log", "spool", "execute"):
            (of_host / name).mkdir(parents=True, exist_ok=True)
        run_checked(["chown", "-R", _USER, str(of_host)], deadline_seconds=60)
        values = {"folder": self.folder, "host": host, "port": self._port}
        (self.folder / f"{host}.conf").write_text((_COMMON + text).format(**values), "ascii")
        alone = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--")
        process = start_with_pipes((*alone, *self._as_user(host, "condor_master", "-f")))
        try:
            yield process
        finally:
            end_group(process)

    @contextlib.contextmanager
    def computes_follow(
        self, is_on: Callable[[str], bool], switch_off: Callable[[str], None]
    ) -> Iterator[None]:
        """With the daemons of each compute that is on; one whose daemons have ended is switched off."""
        stop = threading.Event()

        def follow(name: str) -> None:
            while not stop.wait(0.1):
                if not is_on(name):
                    continue
                with self.master(name, _COMPUTE) as process:
                    while is_on(name) and not stop.wait(0.1):
                        if process.poll() is not None:
                            switch_off(name)

        threads = [threading.Thread(target=follow, args=(f"vm-vc2-{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()


@contextlib.contextmanager
def guest_condor() -> Iterator[GuestCondor]:
    """An HTCondor whose computes are off; it ends with the block."""
    if which("condor_master") is None:
        pytest.skip("HTCondor is not installed; Debian 12 has none, Debian 13 has: make test-release there")
    folder = Path(tempfile.mkdtemp(prefix="rocks-condor-"))
    folder.chmod(0o755)
    values = {"folder": folder, "source": _SOURCE, "python": sys.executable}
    (folder / "comet-condor").write_text(_PROGRAM.format(**values), "utf-8")
    (folder / "comet-condor").chmod(0o755)
    (folder / "program.py").write_text(_DYING_PROGRAM.format(**values), "utf-8")
    condor = GuestCondor(folder, free_port())
    condor.die_after(0)
    try:
        with condor.master("frontend", _FRONTEND):
            wait_until(
                lambda: run(condor._as_user("frontend", "condor_q"), deadline_seconds=60).exit_status == 0
            )
            yield condor
    finally:
        rmtree(folder, ignore_errors=True)
