"""The files of the profiles, as they are: munged, slurmdbd, slurmctld and slurmd run with them, and a job too."""

from pathlib import Path

import pymysql  # noqa: TID251
import pytest

from rocks.core.process import run
from rocks.database.settings import Settings
from rocks.install.graph_files import Library
from rocks.install.profiles import write_profile
from rocks.inventory.slurm_configuration import SlurmNode, slurm_configuration
from tests.golden.profile.cases import CASES
from tests.profiles import written_files

pytestmark = pytest.mark.slow

_SCRIPT = """
set -e
until_is() { for try in $(seq 300); do if eval "$1"; then return; fi; sleep 0.2; done; echo "never: $1" >&2; exit 1; }
hostname slurm
ip link set lo up
ip link add slurm0 type bridge
ip address add 192.0.2.1/24 dev slurm0
ip link set slurm0 up
mount --bind "$1/hosts" /etc/hosts
for folder in /run /etc/slurm /etc/munge /var/lib/slurm /var/log/slurm /opt; do mount -t tmpfs tmpfs $folder; done
# as the packages have them
mkdir -p /opt/rocks/libexec /run/munge /var/lib/slurm/slurmctld /var/lib/slurm/slurmd
ln -s /bin/true /opt/rocks/libexec/rocks-host-free
chown munge: /etc/munge /run/munge
chmod 700 /etc/munge
chown -R slurm: /var/lib/slurm /var/log/slurm
cp "$1/slurm.conf" "$1/slurmdbd.conf" /etc/slurm
chown slurm: /etc/slurm/slurmdbd.conf
chmod 600 /etc/slurm/slurmdbd.conf

seq 40 | tr -d '\\n' | "$1/munge_key" >&2
setpriv --reuid=munge --regid=munge --clear-groups /usr/sbin/munged
{
  MYSQL_UNIX_PORT="$2" slurmdbd -D -s &
  until_is 'sacctmgr --noheader show cluster'
  slurmctld -D -s &
  until_is 'scontrol ping | grep -q UP'
  mv /etc/slurm/slurm.conf /etc/slurm/hidden
  slurmd -D -s --conf-server 192.0.2.1 &
  until_is '[ "$(sinfo --noheader --partition=virt --format=%T)" = idle ]'
  sacctmgr --immediate add account alp1
  sacctmgr --immediate add user root account=alp1
  sbatch --account=alp1 --partition=virt --exclusive --mem=0 --chdir=/ --output=/dev/null --wrap 'exec sleep 1'
  until_is 'sacct --noheader --allocations --format=State | grep -q COMPLETED'
} >&2
sacct --noheader --allocations --parsable2 --format=JobID,State,AllocNodes,Account
"""


def test_a_job_runs_in_a_slurm_of_the_files_of_the_profiles(mariadb: Settings, tmp_path: Path) -> None:
    """slurmd has no slurm.conf; the daemons run as the packages' users."""
    files = written_files(write_profile(CASES["frontend_with_slurm"], Library()))
    tmp_path.chmod(0o755)
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n192.0.2.1 slurm\n", "ascii")
    (tmp_path / "slurmdbd.conf").write_text(files["/etc/slurm/slurmdbd.conf"], "ascii")
    (tmp_path / "munge_key").write_text(files["/etc/rocks/sec_attr.d/munge_key"], "ascii")
    (tmp_path / "munge_key").chmod(0o700)
    node = SlurmNode("slurm", "192.0.2.1", 1, has_machines=True)
    (tmp_path / "slurm.conf").write_text(slurm_configuration("slurm", "192.0.2.1", [node], ""), "ascii")
    assert mariadb.socket is not None
    with pymysql.connect(unix_socket=mariadb.socket, user="root", autocommit=True) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE slurm_acct_db")
        cursor.execute("CREATE USER slurm@localhost IDENTIFIED VIA unix_socket")
        cursor.execute("GRANT ALL ON slurm_acct_db.* TO slurm@localhost")
        try:
            ended = run(
                (
                    "unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child",
                    "/bin/sh", "-c", _SCRIPT, "sh", str(tmp_path), mariadb.socket,
                ),
                deadline_seconds=240,
            )  # fmt: skip
        finally:
            cursor.execute("DROP DATABASE slurm_acct_db")
            cursor.execute("DROP USER slurm@localhost")
    assert (ended.exit_status, ended.text) == (0, "1|COMPLETED|1|alp1\n"), ended.error_text
