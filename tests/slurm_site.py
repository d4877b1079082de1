"""A Slurm of the tests' own: munged, slurmdbd on the tests' MariaDB, slurmctld and slurmd of four hosts.

They run in namespaces of mounts, processes, network and host name, whose first process ends when this one does: the
kernel then ends all of them. The programs of Slurm are reached through `bin`, as the service's user `nobody`, who is
no operator of Slurm.
"""

import os
import shutil
import subprocess  # noqa: TID251 - its class
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.slurm.daemons import cgroup_configuration, on_one_machine
from rocks.core.process import Finished, end_group, run, run_checked, start_with_pipes
from rocks.inventory.slurm_configuration import SlurmNode, slurm_configuration
from tests.patience import patience
from tests.waiting import wait_until

HOSTS = tuple(f"vm-container-1-{number}" for number in range(4))
"""Named like those of the simulator of Nucleus."""

PARTITION, USER, ACCOUNT = "virt", "nobody", "alp1"
_PORT = 16817
_PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sacct", "sacctmgr", "sinfo")

_INIT = """
set -e
mount --bind "$1/etc/hosts" /etc/hosts
hostname slurm
ip link set lo up
ip link add slurm0 type bridge
ip address add 192.0.2.1/24 dev slurm0
ip link set slurm0 up
/usr/sbin/munged --force --key-file="$1/etc/munge.key" --socket="$1/run/munge.socket" --pid-file="$1/run/munged.pid" \
  --log-file="$1/log/munged" --seed-file="$1/run/munged.seed" --num-threads=10
echo up
cat >/dev/null
"""

_SITE_LINES = """
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
SchedulerParameters=batch_sched_delay=0,sched_min_interval=10000,bf_interval=1,nohold_on_prolog_fail
MailProg=/bin/true
Prolog={folder}/hook
Epilog={folder}/hook
HealthCheckProgram={folder}/hook
HealthCheckInterval=5
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
KillWait=5
SlurmdTimeout=20
AccountingStoragePort={database_port}
AccountingStoragePass={folder}/run/munge.socket
PriorityCalcPeriod=1
PartitionName=urgent Nodes=ALL PriorityTier=2 MaxTime=INFINITE State=UP
"""
"""What differs from a site's: programs of another user in one folder, and short times."""

_HOOK = """#!/bin/sh
# libvirt's test driver stands for the host's libvirt: the file has its domains
[ -e {folder}/hosts/are-checked ] || exit 0
export PATH={folder}/hosts/$SLURMD_NODENAME/bin:/usr/sbin:/usr/bin:/sbin:/bin
export SLURM_CONF={folder}/etc/slurm.conf PYTHONPATH={source}
export ROCKS_STATE_FOLDER="{folder}/hosts/$SLURMD_NODENAME"
export ROCKS_LIBVIRT_URI="test://$ROCKS_STATE_FOLDER.xml"
exec /usr/bin/python3 -c 'import pathlib, sys
from rocks.agent import main
from rocks.core import job_user
job_user.SETTINGS = pathlib.Path("{folder}/etc/host-free.conf")
sys.exit(main.main(["host-free"]))'
"""

_SYSTEMCTL = """#!/bin/sh
# stop and start slurmctld.service, and whether it runs
export SLURM_CONF={folder}/etc/slurm.conf
number=$(cat {folder}/run/slurmctld.pid 2>/dev/null)
runs() {{ [ -n "$number" ] && {enter} kill -0 "$number" 2>/dev/null; }}
case $1 in
  stop)
    if runs; then {enter} kill "$number"; fi
    while runs; do sleep 0.1; done ;;
  is-active) runs ;;
  start) runs || {enter} {folder}/sbin/slurmctld ;;
esac
"""

_KILL = """
for process in /proc/[0-9]*; do
  variables=$(tr '\\0' '\\n' 2>/dev/null <$process/environ) || continue
  case "$variables" in *SLURM_SCRIPT_CONTEXT=$1*) ;; *) continue ;; esac
  case "$variables" in *SLURMD_NODENAME=$2*) kill -9 ${process#/proc/} && echo killed ;; esac
done
"""

_NODE = """
<node><cpu><mhz>1</mhz><model>i686</model><active>1</active><nodes>1</nodes><sockets>1</sockets><cores>1</cores>
<threads>1</threads></cpu><memory>8192000</memory>{domain}</node>
"""
_DOMAIN = "<domain type='test'><name>{name}</name><memory>1024</memory><os><type>hvm</type></os></domain>"

_DATABASE = """
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
DbdHost=slurm
DbdPort={port}
SlurmUser=root
LogFile={folder}/log/slurmdbd
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc={schema}
"""


class SlurmSite:
    """A Slurm that runs. `bin` has its programs for the service's user, `root_bin` for root."""

    def __init__(
        self,
        folder: Path,
        init: subprocess.Popen[bytes],
        mysql_socket: str = "",
        hosts: Sequence[str] = HOSTS,
    ) -> None:
        self.folder, self.hosts = folder, hosts
        self._init = init
        self._mysql_socket = mysql_socket
        self.bin, self.root_bin = folder / "bin", folder / "root-bin"
        self._inside = ("nsenter", f"--target={_child_of(init.pid)}", "--mount", "--net", "--uts", "--pid")
        self._write_programs()

    def _write_programs(self) -> None:
        user = "setpriv --reuid=65534 --regid=65534 --clear-groups "
        enter = " ".join(self._inside[:-1])
        for target, prefix in ((self.bin, user), (self.root_bin, "")):
            target.mkdir()
            for program in _PROGRAMS:
                path = target / program
                path.write_text(
                    f"#!/bin/sh\nexport SLURM_CONF={self.folder}/etc/slurm.conf\n"
                    f'exec {enter} {prefix}/usr/bin/{program} "$@"\n',
                    "ascii",
                )
                path.chmod(0o755)
        systemctl = self.root_bin / "systemctl"
        systemctl.write_text(_SYSTEMCTL.format(enter=" ".join(self._inside), folder=self.folder), "ascii")
        systemctl.chmod(0o755)

    def run_inside(self, *arguments: str, is_checked: bool = True) -> Finished:
        """Run a program as root beside the daemons; it may become one."""
        environment = {
            **os.environ,
            "SLURM_CONF": str(self.folder / "etc/slurm.conf"),
            "MYSQL_UNIX_PORT": self._mysql_socket,
        }
        start = run_checked if is_checked else run
        return start((*self._inside, *arguments), deadline_seconds=60, environment=environment)

    def ask(self, program: str, *arguments: str, is_root: bool = True) -> str:
        """What a program of Slurm prints."""
        path = (self.root_bin if is_root else self.bin) / program
        return run_checked((str(path), *arguments), deadline_seconds=60).text.strip()

    def start_database(self) -> None:
        """Start slurmdbd, and wait until it answers."""
        # that of Debian 13 does not start when it has to make its schema itself (libmariadb 3.4)
        create = f"--execute=CREATE DATABASE IF NOT EXISTS {_schema_of(self.folder)}"
        client = ("mariadb", f"--socket={self._mysql_socket}", "--user=root", create)
        run_checked(client, deadline_seconds=60)
        self.run_inside("/usr/sbin/slurmdbd")
        self._wait_for("sacctmgr", "--noheader", "show", "cluster")

    def start_controller(self) -> None:
        """Start slurmctld, and wait until it answers."""
        self.run_inside(f"{self.folder}/sbin/slurmctld")
        wait_until(lambda: "UP" in run((str(self.root_bin / "scontrol"), "ping"), deadline_seconds=60).text)

    def start_host(self, host: str, *options: str) -> None:
        """Start the slurmd of a host."""
        stepd = f"{self.folder}/sbin/slurmstepd"
        self.run_inside(f"{self.folder}/sbin/slurmd", "-d", stepd, "-N", host, *options)

    def kill_hook(self, host: str, context: str) -> None:
        """Kill the hook of that SLURM_SCRIPT_CONTEXT on a host, once it runs."""
        wait_until(
            lambda: self.run_inside("sh", "-c", _KILL, "sh", context, host, is_checked=False).text, context
        )

    def signal(self, daemon: str, name: str) -> None:
        """Send a signal to slurmctld, slurmdbd or `slurmd.HOST`, and after one that ends it wait for its end."""
        number = (self.folder / f"run/{daemon}.pid").read_text("ascii").strip()
        self.run_inside("kill", f"-{name}", number)
        if name in ("KILL", "TERM"):
            wait_until(lambda: not self._is_alive(number), f"{daemon} has ended")

    def _is_alive(self, number: str) -> bool:
        return run((*self._inside, "kill", "-0", number), deadline_seconds=60).exit_status == 0

    def _wait_for(self, program: str, *arguments: str) -> None:
        path = str(self.root_bin / program)
        wait_until(
            lambda: run((path, *arguments), deadline_seconds=60).exit_status == 0, f"{program} answers"
        )

    def wait_until_idle(self) -> None:
        """Wait until every host can get a job, and no epilog runs: a host that completes a job counts as idle, too."""
        wait_until(
            lambda: (
                self.ask("sinfo", "-h", "-p", PARTITION, "-t", "idle", "-o", "%D") == str(len(self.hosts))
                and self.ask("squeue", "-h", "-t", "COMPLETING") == ""
            ),
            lambda: self.ask("sinfo", "-N", "-l"),
        )

    def occupy(self, count: int) -> str:
        """A batch job of root on so many hosts, once it runs; its number.

        A controller that was killed gives the number of a job that it has forgotten to the next one. A host that has
        ended a job refuses its number for `cred_expire`, so the next job fails at once: it is submitted again.
        """

        def runs() -> bool:
            nonlocal number
            # the option -j makes a number that is not listed yet, or not any more, an error
            states = dict(line.split() for line in self.ask("squeue", "-h", "-o", "%i %T").splitlines())
            if number not in states:
                number = submit()
            return states.get(number) == "RUNNING"

        def submit() -> str:
            return self.ask(
                "sbatch", "--parsable", "-p", "batch", f"-N{count}", "--exclusive", "-A", ACCOUNT, "-D", "/",
                "-o", "/dev/null", "--wrap", "exec sleep 600",
            )  # fmt: skip

        number = submit()
        wait_until(runs, lambda: f"{self.ask('squeue', '-o', '%i %T %r')}\n{self.ask('sinfo', '-N', '-l')}")
        return number

    def set_machine(self, host: str, name: str | None) -> None:
        """Have a machine run on a host, as its hooks see it, or none."""
        domain = "" if name is None else _DOMAIN.format(name=name)
        path = self.folder / "hosts" / f"{host}.xml"
        path.with_suffix(".new").write_text(_NODE.format(domain=domain), "ascii")
        path.with_suffix(".new").replace(path)

    def set_copy(self, host: str, condition: str | None) -> None:
        """Have a host store the copy of an image, clean or dirty, as its `zfs` lists it; None: no image storage."""
        folder = self.folder / "hosts" / host
        for name in ("imgstorage", "bin"):  # the hooks of a job may need the folder itself meanwhile
            shutil.rmtree(folder / name, ignore_errors=True)
        if condition is not None:
            (folder / "imgstorage/mapped").mkdir(parents=True)
            (folder / "bin").mkdir()
            (folder / "bin/zfs.calls").touch()
            write_zfs(folder / "bin", condition)

    @contextmanager
    def checked_hosts(self) -> Iterator[None]:
        """With the hooks of the host package; without this they end at once."""
        for host in self.hosts:
            self.set_machine(host, None)
        mark = self.folder / "hosts/are-checked"
        mark.touch()
        try:
            yield
        finally:
            mark.unlink()

    def drained(self) -> set[str]:
        """Hosts that are drained, or will be when their jobs have ended."""
        rows = self.ask("sinfo", "-h", "-N", "-o", "%N %T").splitlines()
        return {host for host, state in map(str.split, rows) if state.startswith("drain")}

    def clear(self) -> None:
        """End all jobs, and wait for the hosts, also those that a case has left drained."""
        for host in self.drained():
            self.ask("scontrol", "update", f"nodename={host}", "state=resume")
        self.ask("scancel", "--state=PENDING", "-u", "root")
        self.ask("scancel", "--state=PENDING", "-u", USER)
        self.ask("scancel", "--signal=KILL", "--full", "-u", "root")
        self.ask("scancel", "-u", "root")
        self.ask("scancel", "-u", USER)
        self.wait_until_idle()


def write_zfs(folder: Path, condition: str) -> None:
    """Programs `zpool` and `zfs` in a folder, that list one volume: the copy of an image, clean or dirty.

    Each adds a line to a file: `zfs.calls`.
    """
    values = {
        "type": "volume", "guid": "7", "imgstore:copy": condition, "imgstore:volume": "tank/vm-vc2-0-vol",
        "imgstore:id": "i", "imgstore:nas": "nas-0-0", "imgstore:epoch": "3",
    }  # fmt: skip
    lines = "".join(f"tank/vm-vc2-0-vol\t{key}\t{value}\tlocal\n" for key, value in values.items())
    for program, text in (("zpool", "tank\n"), ("zfs", lines)):
        path = folder / f"{program}.new"
        path.write_text(f"#!/bin/sh\necho >>$0.calls\ncat <<'EOF'\n{text}EOF\n", "ascii")
        path.chmod(0o755)
        path.replace(folder / program)


def _child_of(number: int) -> str:
    """The first process of the namespace, which unshare has started."""
    path = Path(f"/proc/{number}/task/{number}/children")
    wait_until(lambda: path.read_text("ascii").split(), "the first process of the namespace")
    return path.read_text("ascii").split()[0]


def create_folder() -> Path:
    """The folder of a Slurm, with a key and without a configuration."""
    folder = Path(tempfile.mkdtemp(prefix="rocks-slurm-"))
    folder.chmod(0o755)
    for name in ("etc", "hosts", "state", "spool", "log", "run", "sbin"):
        (folder / name).mkdir()
    for program in (
        "slurmctld",
        "slurmd",
        "slurmstepd",
    ):  # under another name slurmctld does not know what it is
        (folder / "sbin" / program).symlink_to(f"/usr/sbin/{program}-wlm")
    (folder / "etc/hosts").write_text("127.0.0.1 localhost\n192.0.2.1 slurm\n", "ascii")
    (folder / "etc/munge.key").write_bytes(os.urandom(64))
    (folder / "etc/munge.key").chmod(0o600)
    return folder


def configuration(hosts: Sequence[str], site_lines: str) -> str:
    """The configuration of a site with these hosts, of which all run here."""
    nodes = [SlurmNode(host, "192.0.2.1", 4, has_machines=True) for host in hosts]
    text = slurm_configuration("slurm", "192.0.2.1", nodes, site_lines)
    return on_one_machine(text, hosts, "slurm", _PORT + 10)


@contextmanager
def namespaces(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The namespaces of a Slurm, with munged; they and the folder end with the block.

    Descriptor 8 of their first process is the network outside.
    """
    init = start_with_pipes(
        (
            "/bin/sh", "-c", 'exec 8</proc/self/ns/net; exec "$@"', "sh",
            "unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "--",
            "/bin/sh", "-c", _INIT, "sh", str(folder),
        )
    )  # fmt: skip
    try:
        assert init.stdout.readline() == b"up\n"
        yield init
    finally:
        end_group(init)
        shutil.rmtree(folder, ignore_errors=True)


def _schema_of(folder: Path) -> str:
    return folder.name.replace("-", "_")


def create_site(hosts: Sequence[str]) -> Path:
    folder = create_folder()
    values = {
        "folder": folder, "port": _PORT, "database_port": _PORT + 1,
        # the pause after a failed prolog; a job whose start takes longer is refused by its host, and held
        "credential_seconds": round(max(10, patience(5))),
    }  # fmt: skip
    (folder / "etc/slurm.conf").write_text(configuration(hosts, _SITE_LINES.format(**values)), "ascii")
    source = Path(__file__).resolve().parent.parent / "src"
    (folder / "hook").write_text(_HOOK.format(folder=folder, source=source), "utf-8")
    (folder / "hook").chmod(0o755)
    (folder / "etc/host-free.conf").write_text(f"user = {USER}\n", "ascii")
    (folder / "etc/cgroup.conf").write_text(cgroup_configuration(), "ascii")
    database = _DATABASE.format(folder=folder, port=_PORT + 1, schema=_schema_of(folder))
    (folder / "etc/slurmdbd.conf").write_text(database, "ascii")
    (folder / "etc/slurmdbd.conf").chmod(0o600)
    return folder


@contextmanager
def slurm_site(mysql_socket: str, hosts: Sequence[str] = HOSTS) -> Iterator[SlurmSite]:
    """A Slurm whose hosts are idle, with the account and its users; it ends with the block."""
    folder = create_site(hosts)
    with namespaces(folder) as init:
        site = SlurmSite(folder, init, mysql_socket, hosts)
        site.start_database()
        site.start_controller()
        for line in (
            ("add", "account", ACCOUNT),
            ("add", "user", f"root,{USER}", f"account={ACCOUNT}"),
        ):  # fmt: skip
            site.ask("sacctmgr", "--immediate", "--quiet", *line)
        for host in hosts:
            site.start_host(host)
        site.wait_until_idle()
        yield site
