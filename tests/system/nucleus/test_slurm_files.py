"""The files of the profiles, as they are, under systemd: a job runs, and a killed slurmctld is started again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql  # noqa: TID251
import pytest

from rocks.core.process import run
from rocks.database.settings import Settings
from rocks.install.graph_files import Library
from rocks.install.host_profiles import write_profile
from rocks.inventory.slurm_configuration import SlurmNode, slurm_configuration
from tests.golden.profile.cases import CASES, on_site, vm_host
from tests.patience import patience
from tests.profiles import written_files

pytestmark = pytest.mark.slow

_ADDRESS = "10.1.1.1"
"""`slurm_server` of the profiles."""

_GROUPS = Path("/sys/fs/cgroup")

_BOOT = """
set -e
mount --make-rprivate /
mount --bind "$1/hostname" /etc/hostname
mount -t proc proc /proc
ip link set lo up
ip link add slurm0 type bridge
ip address add 10.1.1.1/24 dev slurm0
ip link set slurm0 up
mount --bind "$1/hosts" /etc/hosts

# devices, settings and units of its own: systemd changes nothing of this machine
mkdir "$1/dev"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
mkdir "$1/dev/pts" "$1/dev/shm"
for device in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 666 "$1/dev/${device%:*}" c 1 "${device#*:}"
done
ln -s /proc/self/fd "$1/dev/fd"
ln -s "$1/console" "$1/dev/console"
mount --move "$1/dev" /dev
mount -t sysfs -o ro sysfs /sys
if [ "$2" = legacy ]; then
  mount -t tmpfs tmpfs /sys/fs/cgroup
  mkdir /sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
else
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
units=/usr/lib/systemd/system
mkdir "$1/units"
for unit in munge slurmdbd slurmctld slurmd systemd-exit; do cp "$units/$unit.service" "$1/units"; done
for unit in basic exit final multi-user network-online shutdown sysinit umount; do
  cp "$units/$unit.target" "$1/units"
done
for folder in $units $units-generators /etc/systemd/system /run /etc/slurm /etc/munge /var/lib/slurm /var/lib/systemd \
  /var/log /var/opt /opt; do
  mount -t tmpfs -o mode=755 tmpfs $folder
done
cp "$1"/units/* $units

# as the packages and the profiles have them
mkdir -p /opt/rocks/libexec /run/lock /var/lib/slurm/slurmctld /var/log/slurm /var/log/munge /var/opt/rocks/mysql
ln -s /bin/true /opt/rocks/libexec/rocks-host-free
ln -s "$3" /var/opt/rocks/mysql/mysql.sock
chown munge: /etc/munge /var/log/munge
chmod 700 /etc/munge /var/log/munge
chown -R slurm: /var/lib/slurm /var/log/slurm
cp "$1/slurm.conf" "$1/slurmdbd.conf" /etc/slurm
chown slurm: /etc/slurm/slurmdbd.conf
chmod 600 /etc/slurm/slurmdbd.conf
seq 40 | tr -d '\\n' | "$1/munge_key"
cp -r "$1/systemd/." /etc/systemd/system
for unit in munge slurmdbd slurmctld slurmd; do
  mkdir -p /etc/systemd/system/$unit.service.d
  printf '[Service]\nStandardOutput=append:%s\nStandardError=append:%s\n' "$1/log" "$1/log" \
    >/etc/systemd/system/$unit.service.d/log.conf
done
exec env -i container=docker PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=check.service
"""
"""The first process of the namespaces; the arguments are a folder, what kind of cgroups there is, MariaDB's socket."""

_CHECK = """[Service]
Type=oneshot
Environment=HOME=/root
StandardOutput=file:{folder}/printed
StandardError=file:{folder}/errors
ExecStart=/bin/sh {folder}/check
ExecStopPost=systemctl exit
"""

_SCRIPT = """
set -e
until_is() { for try in $(seq 300); do if eval "$1"; then return; fi; sleep 0.2; done; echo "never: $1" >&2; exit 1; }
{
  systemd-analyze verify munge.service slurmdbd.service slurmctld.service slurmd.service
  systemctl start munge.service slurmdbd.service slurmctld.service
  until_is 'sacctmgr --noheader show cluster | grep -q rocks'
  until_is 'scontrol ping | grep -q UP'
  mv /etc/slurm/slurm.conf /etc/slurm/hidden
  systemctl start slurmd.service
  mv /etc/slurm/hidden /etc/slurm/slurm.conf
  until_is '[ "$(sinfo --noheader --partition=virt --format=%T)" = idle ]'
  sacctmgr --immediate add account alp1
  sacctmgr --immediate add user root account=alp1
  sbatch --account=alp1 --partition=virt --exclusive --mem=0 --chdir=/ --output=/dev/null --wrap 'exec sleep 20'
  until_is 'squeue --noheader --format=%T | grep -q RUNNING'
  sleep 6  # until it is in the state that slurmctld saves: one that is killed before forgets the job
  kill -9 $(systemctl show --property=MainPID --value slurmctld.service)
  until_is '[ "$(systemctl show --property=NRestarts --value slurmctld.service)" -ge 1 ]'
  until_is 'sacct --noheader --allocations --format=State | grep -q COMPLETED'
} >&2
sacct --noheader --allocations --parsable2 --format=JobID,State,AllocNodes,Account
systemctl is-active munge.service slurmdbd.service slurmctld.service slurmd.service
"""


@contextmanager
def _own_cgroup(name: str) -> Iterator[tuple[str, Path]]:
    """(kind, path) of a cgroup below which systemd may make its own; none is left."""
    legacy = _GROUPS / "systemd"
    kind, folder = ("legacy", legacy / name) if legacy.is_dir() else ("unified", _GROUPS / name)
    folder.mkdir()
    try:
        yield kind, folder
    finally:
        for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
            path.rmdir()
        folder.rmdir()


@contextmanager
def _accounting(socket: str) -> Iterator[None]:
    """The database that the profile makes on a frontend."""
    with pymysql.connect(unix_socket=socket, user="root", autocommit=True) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE slurm_acct_db")
        cursor.execute("CREATE USER slurm@localhost IDENTIFIED VIA unix_socket")
        cursor.execute("GRANT ALL ON slurm_acct_db.* TO slurm@localhost")
        try:
            yield
        finally:
            cursor.execute("DROP DATABASE slurm_acct_db")
            cursor.execute("DROP USER slurm@localhost")


def _write_files(folder: Path) -> None:
    frontend, host = (
        written_files(write_profile(case, Library()))
        for case in (CASES["frontend_with_slurm"], on_site(vm_host(slurm_server=_ADDRESS), "client"))
    )
    folder.chmod(0o755)
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{_ADDRESS} slurm\n", "ascii")
    (folder / "hostname").write_text("slurm\n", "ascii")
    (folder / "slurmdbd.conf").write_text(frontend["/etc/slurm/slurmdbd.conf"], "ascii")
    (folder / "munge_key").write_text(frontend["/etc/rocks/sec_attr.d/munge_key"], "ascii")
    (folder / "munge_key").chmod(0o700)
    node = SlurmNode("slurm", _ADDRESS, 1, has_machines=True)
    (folder / "slurm.conf").write_text(slurm_configuration("slurm", _ADDRESS, [node], ""), "ascii")
    for files, unit in ((frontend, "slurmdbd"), (frontend, "slurmctld"), (host, "slurmd")):
        path = folder / "systemd" / f"{unit}.service.d/rocks.conf"
        path.parent.mkdir(parents=True)
        path.write_text(files[f"/etc/systemd/system/{unit}.service.d/rocks.conf"], "ascii")
    (folder / "systemd/check.service").write_text(_CHECK.format(folder=folder), "ascii")
    for name, text in (("check", _SCRIPT), ("console", ""), ("printed", ""), ("errors", ""), ("log", "")):
        (folder / name).write_text(text, "ascii")


def test_a_job_runs_in_a_slurm_of_the_files_of_the_profiles(mariadb: Settings, tmp_path: Path) -> None:
    """slurmd has no slurm.conf; the daemons run as the packages' users."""
    _write_files(tmp_path)
    assert mariadb.socket is not None
    with _accounting(mariadb.socket), _own_cgroup(f"rocks-{tmp_path.name}") as (kind, group):
        ended = run(
            (
                "/bin/sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh",
                "unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--kill-child", "--",
                "/bin/bash", "-c", _BOOT, "sh", str(tmp_path), kind, mariadb.socket,
            ),
            deadline_seconds=patience(240),
        )  # fmt: skip
    texts = [(tmp_path / name).read_text("utf-8") for name in ("printed", "errors", "console", "log")]
    assert texts[0].split() == ["1|COMPLETED|1|alp1", *["active"] * 4], (ended.error_text, *texts[1:])
