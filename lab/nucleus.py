"""Nucleus over the site of the demo: `nucleus executor` as root, `nucleus serve` as a user without rights, one owner.

The executor is in the machine's network, as the site is; the web service is in that of who starts the demo, for a
browser and `bin/comet` are there. Both end with the machine.

One process as root was refused: the demo would not show what a site has. So was a relay into the machine's
network, one more program for the same address. An interrupted set-up drops the schema and begins again.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from lab import database
from lab.accounts import ensure_account
from lab.demos.plan import CLUSTER, FRONTEND
from lab.namespace import CHECKOUT, Machine, last_line
from rocks.core.errors import HostError, RocksError, ToolError
from rocks.core.files import write_file
from rocks.inventory.slurm_configuration import COMPUTESETS

OWNER = "ann"
USER_ID = 64781
"""Number of the account `nucleus`, which exists inside the machine only, in a range that Debian assigns to no user."""

PORT = 8372
PROJECT, ALLOCATION = "demo", "demo-hours"
_LIBRARIES = CHECKOUT / ".state" / "browser"
_SETTINGS = "/etc/rocks/nucleus.toml"
_SOCKET = "/run/rocks-nucleus/executor.sock"
_IMAGES = "/var/opt/rocks/nucleus/images"
_DEADLINE_SECONDS = 180.0
_PORTS_TRIED = 5

_AS_NUCLEUS = (
    *("/usr/bin/setpriv", f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups", "--no-new-privs"),
    *("--inh-caps=-all", "--bounding-set=-all", "--"),
)
_ALL_PARTS = (*_AS_NUCLEUS, "/opt/rocks/bin/nucleus", "serve")
_DRIVER = "nucleus-computesets"
_GRACE_SECONDS = 10.0

SLURM_SETTINGS = (
    "NUCLEUS_BATCH_KIND=slurm",
    "NUCLEUS_BATCH_HOSTS=",
    f"NUCLEUS_BATCH_PARTITION={COMPUTESETS}",
    "NUCLEUS_COMPUTESETS_GRACE_SECONDS=30",
    "NUCLEUS_COMPUTESETS_RECONCILE_SECONDS=5",
)
"""As variables: computesets are jobs of the machine's Slurm."""

OPERATOR_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("setup",),
    ("poll",),
    ("project", "add", PROJECT),
    ("user", "add", OWNER, f"--email={OWNER}@example.org", f"--project={PROJECT}"),
    ("user", "acknowledge", OWNER),
    ("cluster", "assign", CLUSTER, PROJECT),
    ("cluster", "describe", CLUSTER, "the cluster of the demo"),
    ("allocation", "add", ALLOCATION),
    ("allocation", "permit", ALLOCATION, CLUSTER),
    ("token", "create", OWNER, "--days=30", "--note=demo"),
)
"""What an operator does until an owner can work; the last one prints the owner's token."""


class Nucleus:
    """The service on a running machine of the lab, with the owner's token and settings of `comet` in `folder`."""

    def __init__(self, machine: Machine) -> None:
        self.folder = machine.folder / "nucleus"
        self.token_file = self.folder / "token"
        self.comet_file = self.folder / "comet.toml"
        self.lines: list[str] = []
        """What the operator's commands printed, when they were necessary."""
        self._machine = machine
        self._error: RocksError | None = None
        self._thread = threading.Thread(target=self._start, daemon=True)

    @property
    def url(self) -> str:
        """Its address, once it was started."""
        return (self.folder / "url").read_text("utf-8")

    def begin(self) -> None:
        """Start it beside the caller's work, as far as it does not run."""
        self._thread.start()

    def finish(self) -> None:
        """Wait until it answers its owner. RocksError when it does not."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def use_slurm(self) -> None:
        """Have computesets be jobs of the machine's Slurm; their driver is in its network, the web service is not."""
        self._stop()
        program = [*_AS_NUCLEUS, "/usr/bin/env", *SLURM_SETTINGS, "/opt/rocks/bin/nucleus", "serve", "--only"]
        self._machine.start_daemon(_DRIVER, [*program, "computesets"])
        self._serve([*program, "api", "poller", "workers"])

    def use_hosts(self, names: Sequence[str]) -> None:
        """Have computesets run on these hosts, until `use_list`."""
        self._stop()
        hosts = f"NUCLEUS_BATCH_HOSTS={','.join(names)}"
        self._serve([*_AS_NUCLEUS, "/usr/bin/env", hosts, "/opt/rocks/bin/nucleus", "serve"])

    def use_list(self) -> None:
        """Have computesets run on the list of hosts again."""
        self._stop()
        self._serve(_ALL_PARTS)

    def _stop(self) -> None:
        for name in (_DRIVER, "nucleus-serve"):
            self._machine.stop_daemon(name, _GRACE_SECONDS)

    def _start(self) -> None:
        try:
            if self._machine.daemon(_DRIVER) is not None:  # of a demo of Slurm that was killed
                self._stop()
            daemons = (self._machine.daemon(name) for name in ("nucleus-executor", "nucleus-serve"))
            if None not in daemons and self._answers():
                return
            self._prepare()
            self._machine.start_daemon("nucleus-executor", ["/opt/rocks/bin/nucleus", "executor"])
            self._set_up()
            self._serve(_ALL_PARTS)
        except RocksError as error:
            self._error = error
        except OSError as error:
            self._error = HostError(f"Nucleus could not be started: {error}")

    def _prepare(self) -> None:
        """The account, the programs and what they read where that account can read it."""
        machine = self._machine
        self.folder.mkdir(mode=0o700, exist_ok=True)
        ensure_account(machine, "nucleus", USER_ID)
        (packages,) = (CHECKOUT / ".state" / "venv" / "lib").glob("python3.*/site-packages")
        covers = {
            "/opt/rocks/lib/sources": CHECKOUT / "src",
            # beside the sources, as in a checkout: `owners` finds parts of rolls there
            "/opt/rocks/lib/roll": CHECKOUT / "roll",
            "/opt/rocks/lib/packages": packages,
        }
        if _LIBRARIES.exists():
            covers["/opt/rocks/share/nucleus"] = _LIBRARIES
        for place, source in covers.items():
            machine.outside(place).mkdir(parents=True, exist_ok=True)
            machine.cover(source, place)
        images = machine.outside(_IMAGES)
        images.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (images, images.parent):
            _give(folder)
        python = "/usr/bin/python3"
        self._program(
            "rocks",
            "ROCKS_SITE_PACKAGES=/opt/rocks/lib/packages "
            f"exec {python} -E -S /opt/rocks/lib/sources/rocks/cli/launch.py",
        )
        self._program(
            "nucleus",
            f"PYTHONPATH=/opt/rocks/lib/sources:/opt/rocks/lib/packages exec {python} -m nucleus.cli",
        )
        if not (self.folder / "url").exists():
            self._choose_port(PORT)

    def _program(self, name: str, command: str) -> None:
        path = self._machine.outside("/opt/rocks/bin") / name
        path.parent.mkdir(exist_ok=True)
        write_file(path, f'#!/bin/sh\n{command} "$@"\n', mode=0o755)

    def _choose_port(self, port: int) -> None:
        """A free port, `port` if it is; the settings of the service and of `comet` name it."""
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        sections: dict[str, dict[str, object]] = {
            "executor": {"kind": "socket", "socket": _SOCKET},
            "database": {"socket": database.SOCKET},
            "batch": {"hosts": [FRONTEND]},
            "images": {"folder": _IMAGES},
            "listen": {"address": "127.0.0.1", "port": port},
        }
        text = "".join(
            f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
            for name, keys in sections.items()
        )
        write_file(self._machine.outside(_SETTINGS), text, mode=0o644)
        write_file(self.folder / "url", f"http://127.0.0.1:{port}/nucleus")

    def _set_up(self) -> None:
        """The schema, the owner and the token: all of it anew unless the last step, the token, is there."""
        if not self.token_file.exists():
            self._wait_for_executor()
            self._sql("DROP DATABASE IF EXISTS nucleus")
            path = f"PYTHONPATH={CHECKOUT}:/opt/rocks/lib/sources:/opt/rocks/lib/packages"
            program = ["/usr/bin/env", path, sys.executable, "-m", "lab.nucleus_setup"]
            commands = json.dumps(OPERATOR_COMMANDS)
            done = self._machine.run([*program, str(self.token_file), commands], _DEADLINE_SECONDS)
            self.lines = (done.text + done.error_text).splitlines()
            if done.exit_status != 0:
                raise ToolError(f"Nucleus could not be set up: {' / '.join(self.lines[-2:])}")

    def _wait_for_executor(self) -> None:
        end_at = time.monotonic() + _DEADLINE_SECONDS
        while not self._machine.inside(_SOCKET).exists():
            self._check_runs("nucleus-executor", end_at)

    def _sql(self, statement: str) -> None:
        program = ["/usr/bin/mariadb", "--no-defaults", f"--socket={database.SOCKET}", "-e", statement]
        self._machine.run_checked(program, _DEADLINE_SECONDS)

    def _serve(self, program: Sequence[str]) -> None:
        """Start the web service; on another port when somebody takes the chosen one first."""
        for attempt in range(_PORTS_TRIED):
            end_at = time.monotonic() + _DEADLINE_SECONDS
            try:
                self._machine.start_daemon("nucleus-serve", program, in_own_network=False)
                while not self._answers():
                    self._check_runs("nucleus-serve", end_at)
            except ToolError:
                log = (self._machine.log_folder / "nucleus-serve.log").read_text("utf-8", "replace")
                if "address already in use" not in log.lower() or attempt == _PORTS_TRIED - 1:
                    raise
                self._choose_port(0)
                continue
            break
        write_file(
            self.comet_file,
            f'active = "demo"\n\n[endpoints.demo]\nurl = "{self.url}"\nusername = "{OWNER}"\n'
            f'token = "{self._token()}"\n',
        )

    def _check_runs(self, name: str, end_at: float) -> None:
        log = self._machine.log_folder / f"{name}.log"
        if self._machine.daemon(name) is None:
            raise ToolError(f"{name} ended at once: {last_line(log)}")
        if time.monotonic() > end_at:
            raise HostError(f"{name} does not answer after {_DEADLINE_SECONDS:g} s; see {log}")
        time.sleep(0.1)

    def _answers(self) -> bool:
        """Whether this service, no other one, answers at the address: only it knows the token."""
        request = urllib.request.Request(
            f"{self.url}/v1/user", headers={"Authorization": f"Bearer {self._token()}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as answer:
                return bool(json.load(answer)["username"] == OWNER)
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def _token(self) -> str:
        return self.token_file.read_text("ascii").strip()

    def closing_text(self) -> str:
        """For who tries the demo: where it is, and commands to paste."""
        commands: Sequence[tuple[str, str]] = (
            ("bin/comet ll", f"the clusters of {OWNER}, and what they have"),
            (f"bin/comet power on {CLUSTER} --wait", "the cluster's frontend"),
            (f"bin/comet cluster {CLUSTER} --status", "its nodes"),
        )
        width = max(len(command) for command, _ in commands)
        return "\n".join(
            [
                "",
                f"Owners use the site by Nucleus, at {self.url}, also in a browser. {OWNER} owns {CLUSTER}; the token",
                f"to sign in is in {self.token_file}. As {OWNER}:",
                *(f"  {command:{width}}  # {meaning}" for command, meaning in commands),
            ]
        )


def unreadable_sources() -> Path | None:
    """A file or folder that the account of the service would have to read, and other users than root may not."""
    for name in ("src", "src/nucleus/cli/main.py", "roll/pragma/owners", ".state/venv/lib"):
        path = CHECKOUT / name
        mode = path.stat().st_mode
        if not mode & 0o004:
            return path
    return None


def _give(folder: Path) -> None:
    os.chown(folder, USER_ID, USER_ID)
