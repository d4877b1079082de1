"""The site's own Slurm in the lab: its server beside the frontend; slurmd on hosts by their profiles, under systemd.

The server's profile is for a frontend with systemd, so its daemons are started here, with the configuration that
`rocks report slurm` prints, as the user `slurm`.
"""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from lab.machines.profile import run_profile
from lab.machines.roster import FRONTEND_ADDRESS
from lab.processes import ProcessIdentity, end, identify
from rocks.core.process import run, run_checked, start_in_background
from tests.lab.lab_site import LabSite
from tests.lab.nucleus_site import HOSTS, ensure_account
from tests.patience import patience

SUBJECTS = ("packaging/files/rocks-host-free",)

_FOLDER = Path("/var/opt/rocks/slurm")
"""Inside the lab's namespace."""

CONFIGURATION = _FOLDER / "slurm.conf"
_SOCKET = _FOLDER / "munge.socket"
_DATABASE = "/var/opt/rocks/mysql/mysql.sock"
_USER = "slurm"
_SECONDS = 120.0
_GRACE_SECONDS = 10.0

_LINES = f"""
# where this server is no machine of its own
AuthInfo=socket={_SOCKET}
StateSaveLocation={_FOLDER}/state
SlurmctldPidFile={_FOLDER}/slurmctld.pid
SlurmctldLogFile={_FOLDER}/slurmctld.log
AccountingStoragePass={_SOCKET}
# emulated hosts
MessageTimeout=60
KillWait=5
"""

_ACCOUNTING = f"""\
AuthType=auth/munge
AuthInfo=socket={_SOCKET}
DbdHost=head
DbdAddr={FRONTEND_ADDRESS}
SlurmUser={_USER}
LogFile={_FOLDER}/slurmdbd.log
PidFile={_FOLDER}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={_USER}
StorageLoc=slurm_acct_db
"""

_SCHEMA = """\
DROP DATABASE IF EXISTS slurm_acct_db; CREATE DATABASE slurm_acct_db;
CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED VIA unix_socket; GRANT ALL ON slurm_acct_db.* TO slurm@localhost
"""


class SlurmFrontend:
    """Slurm of the site, whose hosts get jobs."""

    def __init__(self, site: LabSite) -> None:
        self._site = site
        self._running: dict[str, ProcessIdentity] = {}

    def start(self, accounts: Sequence[str], users: Sequence[str]) -> None:
        """Start it anew, as the guide does, and wait until each host can get jobs of the users."""
        ensure_account()  # before slurmctld looks up the numbers of its users
        self._write_files()
        munge = [f"--{name}={_FOLDER}/{file}" for name, file in _MUNGE_FILES.items()]
        self._start("munged", "/usr/sbin/munged", "--foreground", "--force", *munge)
        self._start("slurmdbd", str(_FOLDER / "sbin/slurmdbd"), "-D")
        self.wait("slurmdbd answers", "sacctmgr", "--noheader", "show", "cluster")
        self._start("slurmctld", str(_FOLDER / "sbin/slurmctld"), "-D")
        self.wait("slurmctld answers", "scontrol", "ping", text="UP")
        self.ask("sacctmgr", "--immediate", "--quiet", "add", "account", ",".join(accounts))
        added = ("add", "user", ",".join(users), f"account={','.join(accounts)}")
        self.ask("sacctmgr", "--immediate", "--quiet", *added)
        for host in HOSTS:
            machine = self._site.lab[host]
            # the socket of munged has one place in the configuration that hosts get from this server
            machine.shell(f"mkdir -p {_FOLDER}; ln -sf /run/munge/munge.socket.2 {_SOCKET}")
            print(run_profile(machine, self._site.frontend), flush=True)
        idle = ("sinfo", "-h", "-p", "virt", "-t", "idle", "-o", "%D")
        self.wait("both hosts are idle", *idle, text=str(len(HOSTS)))

    def stop(self) -> None:
        """End the daemons beside the frontend; those of hosts end with their state."""
        for name in ("slurmctld", "slurmdbd", "munged"):
            if name in self._running:
                end([self._running.pop(name)], _GRACE_SECONDS)

    def ask(self, program: str, *arguments: str) -> str:
        """What a program of Slurm prints to root. ToolError when it fails."""
        found = run_checked([program, *arguments], deadline_seconds=_SECONDS, environment=_environment())
        return found.text.strip()

    def wait(self, what: str, program: str, *arguments: str, text: str = "", seconds: float = 120) -> str:
        """Until the program succeeds and prints the text; returns its output."""
        end_at = time.monotonic() + patience(seconds)
        while True:
            found = run([program, *arguments], deadline_seconds=_SECONDS, environment=_environment())
            if found.exit_status == 0 and text in found.text:
                return found.text.strip()
            logs = "".join(path.read_text("utf-8", "replace")[-2000:] for path in _FOLDER.glob("*.log"))
            assert time.monotonic() < end_at, f"{what}: {found.text}{found.error_text}\n{logs}"
            time.sleep(0.5)

    def batch(self, host: str, account: str) -> str:
        """A job of root that has the host for itself; its number."""
        line = ("--parsable", "-p", "batch", "--exclusive", "-w", host, "-A", account, "-D", "/")
        return self.ask("sbatch", *line, "-o", "/dev/null", "--wrap", "exec sleep 3600")

    def state_of(self, number: str) -> str:
        """The job's state, empty when it is forgotten."""
        return self.ask("squeue", "-h", "-j", number, "-o", "%T")

    def _write_files(self) -> None:
        shutil.rmtree(_FOLDER, ignore_errors=True)
        for folder in (_FOLDER, _FOLDER / "sbin", _FOLDER / "state"):
            folder.mkdir(mode=0o755)
        for name in ("slurmctld-wlm", "slurmdbd"):  # slurmctld does nothing under another name
            (_FOLDER / "sbin" / name.removesuffix("-wlm")).symlink_to(f"/usr/sbin/{name}")
        self._site.done("set", "host", "attr", "head", "slurm_server", FRONTEND_ADDRESS)
        for host in HOSTS:
            self._site.done("set", "host", "attr", host, "slurm_server", FRONTEND_ADDRESS)
        key = _FOLDER / "munge.key"
        key.touch(mode=0o600)
        key.write_text(os.urandom(64).hex(), "ascii")
        self._site.done("set", "sec_attr", "munge_key", f"file={key}")
        self._site.done("sync", "host", "sec_attr", *HOSTS)
        CONFIGURATION.write_text(self._site.done("report", "slurm") + _LINES, "ascii")
        (_FOLDER / "slurmdbd.conf").touch(mode=0o600)
        (_FOLDER / "slurmdbd.conf").write_text(_ACCOUNTING, "ascii")
        for name in ("state", "slurmdbd.conf", "."):
            shutil.chown(_FOLDER / name, _USER if name != "." else "root", _USER)
        _FOLDER.chmod(0o775)
        run_checked(["mariadb", f"--socket={_DATABASE}", "-e", _SCHEMA], deadline_seconds=_SECONDS)

    def _start(self, name: str, *arguments: str) -> None:
        # Slurm's server is the machine of its name
        named = ["unshare", "--uts", "sh", "-c", 'hostname head && exec "$0" "$@"', *arguments]
        number = start_in_background(named, _FOLDER / f"{name}.out.log", _environment())
        process = identify(number)
        assert process is not None, f"{name} ended at once"
        self._running[name] = process


_MUNGE_FILES = {
    "key-file": "munge.key",
    "socket": _SOCKET.name,
    "pid-file": "munged.pid",
    "log-file": "munged.log",
    "seed-file": "munged.seed",
}


def _environment() -> dict[str, str]:
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "SLURM_CONF": str(CONFIGURATION),
        "MYSQL_UNIX_PORT": _DATABASE,
    }
