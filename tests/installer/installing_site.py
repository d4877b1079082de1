"""What every frontend does in the tests that install blank machines: commands, the two services, logins to hosts."""

import json
import os
import signal
import subprocess  # noqa: TID251 - commands and services are started as processes
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from rocks.core.process import Finished, run, start_in_background

_START_SECONDS = 600
"""A service starts in a second where nothing else is at work."""
_READY = {"boot": "DHCP, static leases", "kickstart": "listening on port"}
"""Service → what its log has when it answers."""


class InstallingSite(ABC):
    """A frontend over `folder`; `tap` is the device at which a machine's cable ends.

    The boot service has its files in the folder, and not where those of this machine's own would be.
    """

    tap = "tap0"
    command_seconds = 300.0

    def __init__(self, folder: Path, key: Path, known_hosts: Path, environment: dict[str, str]) -> None:
        """`key` is root's key for hosts; `environment` is that of the commands, besides this process's own."""
        self.folder, self._key, self._known_hosts = folder, key, known_hosts
        self._environment = {
            **os.environ,
            **environment,
            "ROCKS_BOOT_FOLDER": str(folder / "tftp"),
            "ROCKS_BOOT_RUN_FOLDER": str(folder / "run"),
            "ROCKS_HOSTS_FILE": str(folder / "etc-hosts"),
        }
        self._processes: list[int] = []
        # dnsmasq reads the files as a user of its own
        for above in (folder, *folder.parents[:-1]):
            above.chmod(above.stat().st_mode | 0o11)

    @abstractmethod
    def command(self, arguments: Sequence[str]) -> list[str]:
        """The argument vector of a command of `rocks`."""

    def rocks(self, *arguments: str, folder: Path | None = None) -> str:
        """Run a command that must succeed, in the folder; returns its output."""
        done = self._run(arguments, folder)
        assert done.returncode == 0, f"rocks {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def succeeds(self, *arguments: str) -> bool:
        """Run a command that may fail; returns whether it succeeded."""
        return self._run(arguments).returncode == 0

    def start_services(self) -> None:
        """Start the boot service and the HTTPS service, and wait until both answer."""
        self.rocks("set", "attr", "boot_service", "yes")
        for service, ready in _READY.items():
            log = self.folder / f"{service}.log"
            program = self.command(["start", "service", service])
            self._processes.append(start_in_background(program, log, self._environment))
            deadline = time.monotonic() + _START_SECONDS
            while ready not in log.read_text():
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)

    def discover(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `rocks discover host`."""
        return subprocess.Popen(
            self.command(["discover", "host", *arguments]),
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def state(self, host: str) -> tuple[str, str]:
        """The state and the last report of a host's installation."""
        ((found,),) = [
            one["install"] for one in json.loads(self.rocks("list", "host", "install", host, "json=yes"))
        ]
        return found["state"], found["report"]

    def ask(self, host: str, *arguments: str, standard_input: bytes = b"") -> Finished:
        """Run a program on a host by SSH; its key must be known as the installer reported it."""
        address = next(
            line.split(",")[1]
            for line in (self.folder / "run/hosts").read_text().splitlines()
            if line.endswith(f",{host}")
        )
        options = ("StrictHostKeyChecking=yes", f"UserKnownHostsFile={self._known_hosts}")
        # a machine that restarts may leave a connection without a word
        options += ("ConnectTimeout=60", "ServerAliveInterval=20", "BatchMode=yes", f"HostKeyAlias={host}")
        return run(
            ["ssh", "-q", "-F", "/dev/null", "-i", str(self._key)]
            + [part for option in options for part in ("-o", option)]
            + [f"root@{address}", *arguments],
            deadline_seconds=180,
            standard_input=standard_input,
        )

    def log(self) -> str:
        """The end of both services' logs."""
        logs = [self.folder / f"{service}.log" for service in _READY]
        return "\n".join(log.read_text()[-3000:] for log in logs if log.exists())

    def _run(self, arguments: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(arguments),
            env=self._environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=self.command_seconds,
            check=False,
        )

    def close(self) -> None:
        for number in self._processes:
            os.kill(number, signal.SIGTERM)
            os.waitpid(number, 0)
        self._processes.clear()
