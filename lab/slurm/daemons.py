"""A Slurm of the lab's own: its configuration, and for `make demo-slurm` its daemons on a machine of the lab."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lab import database
from lab.namespace import Machine
from rocks.core.errors import HostError
from rocks.core.process import Finished

PARTITION = "virt"
_FOLDER, _SCHEMA = "/run/slurm-demo", "slurm"
_PROGRAM = "/opt/rocks/libexec/rocks-host-free"
_PORT = 16817
_SECONDS = 120.0
_GRACE_SECONDS = 10.0

_CONFIGURATION = """
ClusterName={cluster}
SlurmctldHost={controller}({address})
SlurmctldPort={port}
SlurmUser=root
AuthInfo=socket={folder}/run/munge.socket,cred_expire={credential_seconds}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/slurmd.%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=10000,bf_interval=1,nohold_on_prolog_fail
MpiDefault=none
MailProg=/bin/true
ReturnToService=1
PrologFlags=Alloc
Prolog={hook}
Epilog={hook}
HealthCheckProgram={hook}
HealthCheckInterval={check_seconds}
HealthCheckNodeState=ANY
EnforcePartLimits=ALL
JobRequeue=1
KillWait=5
CompleteWait=0
MinJobAge=300
SlurmdTimeout=20
MessageTimeout=10
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={address}
AccountingStoragePort={database_port}
AccountingStoragePass={folder}/run/munge.socket
AccountingStorageEnforce=associations,limits,qos,safe
PriorityType=priority/multifactor
PriorityDecayHalfLife=0
PriorityUsageResetPeriod=NONE
PriorityCalcPeriod=1
NodeName={hosts} NodeHostname={controller} NodeAddr={address} Port={ports} CPUs=4 RealMemory=1000
PartitionName=batch Nodes={hosts} Default=YES MaxTime=INFINITE State=UP
PartitionName={partition} Nodes={hosts} MaxTime=2-0 OverSubscribe=EXCLUSIVE OverTimeLimit={over_minutes} State=UP
"""


_DATABASE = """
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
DbdHost={controller}
DbdAddr={address}
DbdPort={database_port}
SlurmUser=root
LogFile={folder}/log/slurmdbd
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc={schema}
"""


class Settings(NamedTuple):
    """`folder`, of keys, states and logs, as daemons see it. Host number N of `hosts` listens at `port` + 10 + N."""

    folder: str
    controller: str
    address: str
    hosts: str
    port: int
    host_count: int
    hook: str
    schema: str
    credential_seconds: int = 10
    check_seconds: int = 30
    over_minutes: int = 2
    cluster: str = "tests"


def write_configuration(folder: Path, settings: Settings) -> None:
    """Write keys, folders and files for all daemons, whose folder is seen at `folder` here."""
    for name in ("etc", "state", "spool", "log", "run", "sbin"):
        (folder / name).mkdir(exist_ok=True)
    for program in (
        "slurmctld",
        "slurmd",
        "slurmstepd",
    ):  # under another name slurmctld does not know what it is
        (folder / "sbin" / program).symlink_to(f"/usr/sbin/{program}-wlm")
    first = settings.port + 10
    last = first + settings.host_count - 1
    values = {
        **settings._asdict(), "database_port": settings.port + 1, "partition": PARTITION,
        "ports": str(first) if first == last else f"[{first}-{last}]",
    }  # fmt: skip
    secrets = {"munge.key": os.urandom(64), "slurmdbd.conf": _DATABASE.format(**values).encode("ascii")}
    for name, content in secrets.items():
        path = folder / "etc" / name
        path.touch(mode=0o600)
        path.write_bytes(content)
    # no plugin uses cgroups; slurmd does not begin where it looks for them, and there are none
    (folder / "etc/cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n", "ascii")
    (folder / "etc/slurm.conf").write_text(_CONFIGURATION.format(**values), "ascii")


class Slurm:
    """The Slurm of a running machine, whose only host it is; its configuration is where programs look for it."""

    def __init__(self, machine: Machine, host: str, address: str, hook: Path) -> None:
        self._machine, self._host, self._address, self._hook = machine, host, address, hook

    def start(self, account: str, users: str) -> None:
        """Start anew, and wait until the host can get a job of the users. HostError when it does not come up."""
        self.stop()
        machine, folder = self._machine, self._machine.inside(_FOLDER)
        folder.mkdir(mode=0o755)
        program = machine.outside(_PROGRAM)
        program.write_bytes(self._hook.read_bytes())
        program.chmod(0o755)
        controller = machine.run_checked(["/usr/bin/hostname", "--short"], _SECONDS).text.strip()
        settings = Settings(
            _FOLDER, controller, self._address, self._host, _PORT, 1, _PROGRAM, _SCHEMA, cluster="demo"
        )
        write_configuration(folder, settings)
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
        machine.start_daemon("slurmdbd", [*environment, "/usr/sbin/slurmdbd", "-D"])
        self._wait("sacctmgr", "--noheader", "show", "cluster")
        for line in (
            ("add", "cluster", "demo"),
            ("add", "account", account),
            ("add", "user", users, f"account={account}"),
        ):
            self.ask("sacctmgr", "--immediate", "--quiet", *line)
        machine.start_daemon("slurmctld", [*environment, f"{_FOLDER}/sbin/slurmctld", "-D"])
        self._wait("scontrol", "ping", is_so=lambda text: "UP" in text)
        slurmd = (
            *environment,
            f"{_FOLDER}/sbin/slurmd",
            "-D",
            "-d",
            f"{_FOLDER}/sbin/slurmstepd",
            "-N",
            self._host,
        )
        machine.start_daemon("slurmd", slurmd)
        self._wait("sinfo", "-h", "-t", "idle", "-o", "%D", is_so=lambda text: "1" in text)

    def stop(self) -> None:
        """End it with its jobs, and remove its files; works twice."""
        machine = self._machine
        if machine.daemon("slurmctld") is not None:
            machine.run(["/usr/bin/scancel", f"--nodelist={self._host}"], _SECONDS)
        for name in ("slurmd", "slurmctld", "slurmdbd", "munged"):
            machine.stop_daemon(name, _GRACE_SECONDS)
        drop = f"DROP DATABASE IF EXISTS {_SCHEMA}"
        machine.run_checked(
            ["/usr/bin/mariadb", "--no-defaults", f"--socket={database.SOCKET}", "-e", drop], _SECONDS
        )
        machine.run_checked(["/usr/bin/rm", "-rf", _FOLDER, "/etc/slurm/slurm.conf"], _SECONDS)

    def ask(self, program: str, *arguments: str) -> str:
        """What a program of Slurm prints. ToolError when it fails."""
        return self._machine.run_checked([f"/usr/bin/{program}", *arguments], _SECONDS).text.strip()

    def _wait(self, program: str, *arguments: str, is_so: Callable[[str], bool] = lambda _: True) -> None:
        end_at = time.monotonic() + _SECONDS
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
