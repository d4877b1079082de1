"""A Slurm of the lab's own: its configuration, and its daemons on a machine of the lab, for the demo and the bench."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import database
from lab.namespace import Machine
from rocks.core.errors import HostError
from rocks.core.process import Finished, run_checked
from rocks.inventory.slurm_configuration import SlurmNode, slurm_configuration

_FOLDER, _SCHEMA = "/run/slurm-demo", "slurm"
_PROGRAM = "/opt/rocks/libexec/rocks-host-free"
_SECONDS = 120.0
_START_SECONDS = 600.0
_GRACE_SECONDS = 10.0
_FIRST_PORT = 20000

_SITE_LINES = """
SlurmUser=root
AuthInfo=socket={folder}/run/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/slurmd.%n
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=10000,bf_interval=1,nohold_on_prolog_fail
MailProg=/bin/true
KillWait=5
AccountingStoragePass={folder}/run/munge.socket
"""
"""What differs from a site's: programs of root in one folder, and short times."""

_DATABASE = """
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
DbdHost={controller}
DbdAddr={address}
SlurmUser=root
LogFile={folder}/log/slurmdbd
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc={schema}
"""


def on_one_machine(text: str, hosts: Sequence[str], controller: str, first_port: int) -> str:
    """The configuration with a port for each of the hosts, which all run where the controller does."""
    ports = {host: first_port + number for number, host in enumerate(hosts)}

    def with_port(line: re.Match[str]) -> str:
        port = ports.get(line[1])
        return f"{line[0]} NodeHostname={controller} Port={port}" if port else line[0]

    return re.sub(r"^NodeName=(\S+)", with_port, text, flags=re.MULTILINE)


def cgroup_configuration() -> str:
    """The text of cgroup.conf, for machines without cgroups: slurmd must not look for them, or it does not start.

    No plugin of ours uses them. 24.11 takes `disabled`; 22.05 looks for none with `cgroup/v1`.
    """
    version = run_checked(["/usr/sbin/slurmd", "-V"], deadline_seconds=60).text
    return f"CgroupPlugin={'disabled' if int(version.split()[1].split('.')[0]) >= 23 else 'cgroup/v1'}\n"


def _write_files(folder: Path, controller: str, address: str, hosts: Sequence[str], site_lines: str) -> None:
    """Write keys, folders and files for all daemons, whose folder is seen at `folder` here."""
    for name in ("etc", "state", "spool", "log", "run", "sbin"):
        (folder / name).mkdir()
    for program in (
        "slurmctld",
        "slurmd",
        "slurmstepd",
    ):  # under another name slurmctld does not know what it is
        (folder / "sbin" / program).symlink_to(f"/usr/sbin/{program}-wlm")
    database_text = _DATABASE.format(folder=_FOLDER, controller=controller, address=address, schema=_SCHEMA)
    for name, content in {
        "munge.key": os.urandom(64),
        "slurmdbd.conf": database_text.encode("ascii"),
    }.items():
        path = folder / "etc" / name
        path.touch(mode=0o600)
        path.write_bytes(content)
    (folder / "etc/cgroup.conf").write_text(cgroup_configuration(), "ascii")
    nodes = [SlurmNode(host, address, 4, has_machines=True) for host in hosts]
    lines = _SITE_LINES.format(folder=_FOLDER) + site_lines
    text = slurm_configuration(controller, address, nodes, lines)
    (folder / "etc/slurm.conf").write_text(on_one_machine(text, hosts, controller, _FIRST_PORT), "ascii")


class Slurm:
    """The Slurm of a running machine, on which all its hosts are; its configuration is where programs look for it."""

    def __init__(
        self, machine: Machine, hosts: Sequence[str], address: str, hook: Path, site_lines: str = ""
    ) -> None:
        self._machine, self._hosts, self._address, self._hook = machine, hosts, address, hook
        self._site_lines = site_lines

    def start(self, account: str, users: str) -> None:
        """Start anew, and wait until the hosts can get jobs of the users. HostError when one does not come up."""
        self.stop()
        machine, folder = self._machine, self._machine.inside(_FOLDER)
        folder.mkdir(mode=0o755)
        program = machine.outside(_PROGRAM)
        program.write_bytes(self._hook.read_bytes())
        program.chmod(0o755)
        controller = machine.run_checked(["/usr/bin/hostname", "--short"], _SECONDS).text.strip()
        _write_files(folder, controller, self._address, self._hosts, self._site_lines)
        for place in map(machine.inside, ("/etc/slurm", "/run/munge")):
            place.mkdir(exist_ok=True)
        machine.inside("/etc/slurm/slurm.conf").symlink_to(f"{_FOLDER}/etc/slurm.conf")
        munge = (
            f"--key-file={_FOLDER}/etc/munge.key", f"--socket={_FOLDER}/run/munge.socket",
            f"--pid-file={_FOLDER}/run/munged.pid",
            f"--log-file={_FOLDER}/log/munged", f"--seed-file={_FOLDER}/run/munged.seed",
        )  # fmt: skip
        machine.start_daemon("munged", ["/usr/sbin/munged", "--foreground", "--force", *munge])
        environment = (
            "/usr/bin/env",
            f"SLURM_CONF={_FOLDER}/etc/slurm.conf",
            f"MYSQL_UNIX_PORT={database.SOCKET}",
        )
        # slurmdbd of Debian 13 does not start when it has to make its schema itself (libmariadb 3.4)
        create = f"--execute=CREATE DATABASE IF NOT EXISTS {_SCHEMA}"
        client = ["/usr/bin/mariadb", f"--socket={database.SOCKET}", "--user=root", create]
        machine.run_checked(client, _SECONDS)
        machine.start_daemon("slurmdbd", [*environment, "/usr/sbin/slurmdbd", "-D"])
        self._wait("sacctmgr", "--noheader", "show", "cluster")
        machine.start_daemon("slurmctld", [*environment, f"{_FOLDER}/sbin/slurmctld", "-D"])
        self._wait("scontrol", "ping", is_so=lambda text: "UP" in text)
        for line in (
            ("add", "account", account),
            ("add", "user", users, f"account={account}"),
        ):
            self.ask("sacctmgr", "--immediate", "--quiet", *line)
        self.start_hosts(self._hosts)
        count = str(len(self._hosts))
        self._wait(
            "sinfo", "-h", "-p", "batch", "-t", "idle", "-o", "%D", is_so=lambda text: text.strip() == count
        )

    def start_hosts(self, hosts: Sequence[str]) -> None:
        """Start slurmd of these hosts, each in the background, with its number in a file."""
        slurmd = (f"{_FOLDER}/sbin/slurmd", "-d", f"{_FOLDER}/sbin/slurmstepd", "-N", "{}")
        settings = ("/usr/bin/env", f"SLURM_CONF={_FOLDER}/etc/slurm.conf")
        program = ("/usr/bin/xargs", "--max-procs=2", "-I{}", *settings, *slurmd)
        self._machine.run_checked(program, _START_SECONDS, "\n".join(hosts).encode("ascii"))

    def stop(self) -> None:
        """End it with its jobs, and remove its files; works twice."""
        machine = self._machine
        if machine.daemon("slurmctld") is not None:
            machine.run(["/usr/bin/scancel", f"--nodelist={','.join(self._hosts)}"], _SECONDS)
            self._stop_hosts()
        for name in ("slurmctld", "slurmdbd", "munged"):
            machine.stop_daemon(name, _GRACE_SECONDS)
        drop = f"DROP DATABASE IF EXISTS {_SCHEMA}"
        machine.run_checked(
            ["/usr/bin/mariadb", "--no-defaults", f"--socket={database.SOCKET}", "-e", drop], _SECONDS
        )
        machine.run_checked(["/usr/bin/rm", "-rf", _FOLDER, "/etc/slurm/slurm.conf"], _SECONDS)

    def ask(self, program: str, *arguments: str) -> str:
        """What a program of Slurm prints. ToolError when it fails."""
        return self._machine.run_checked([f"/usr/bin/{program}", *arguments], _SECONDS).text.strip()

    def _stop_hosts(self) -> None:
        """End each slurmd, and wait until it has removed the file with its number."""
        folder = self._machine.inside(f"{_FOLDER}/run")
        files = [folder / f"slurmd.{host}.pid" for host in self._hosts]
        numbers = "\n".join(file.read_text("ascii").strip() for file in files if file.exists())
        self._machine.run(
            ["/usr/bin/xargs", "--no-run-if-empty", "/usr/bin/kill"], _SECONDS, numbers.encode("ascii")
        )
        end_at = time.monotonic() + _GRACE_SECONDS
        while any(file.exists() for file in files) and time.monotonic() < end_at:
            time.sleep(0.1)

    def _wait(self, program: str, *arguments: str, is_so: Callable[[str], bool] = lambda _: True) -> None:
        end_at = time.monotonic() + _START_SECONDS
        while True:
            found: Finished = self._machine.run([f"/usr/bin/{program}", *arguments], _SECONDS)
            if found.exit_status == 0 and is_so(found.text):
                return
            if time.monotonic() > end_at:
                raise HostError(
                    f"{program} does not answer as expected: {found.text}{found.error_text};"
                    f" logs are in {_FOLDER}/log of the machine"
                )
            time.sleep(0.2)
