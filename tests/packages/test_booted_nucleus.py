"""Nucleus under systemd: an installed frontend boots, its profile starts the units, and an owner uses them from there.

The only physical host is silent: what is proven is that both units start, serve an owner over TLS, run commands of
`rocks` for each other, come back after a kill, a restart and a boot, and are as restricted as their files say.
"""

import re
import shutil
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from tests.packages.booted_frontend import (
    ADDRESS,
    CLUSTER_RECORDS,
    BootedRoot,
    boot_machine,
    make_frontend,
    part,
)
from tests.packages.frontend_machine import Machine

_ASK = """\
import ssl, sys, time, urllib.request
context = ssl.create_default_context(cafile="/srv/owner/ca.crt")
for number in range(600):
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=60, context=context) as answer:
            print(answer.status, answer.read().decode())
        break
    except OSError as error:
        last = error
        time.sleep(1)
else:
    sys.exit(f"{sys.argv[1]} does not answer: {last}")
"""

_SETTINGS = "/etc/rocks/nucleus.toml"
_RECORDS = f"""\
{CLUSTER_RECORDS}
dpkg -i /root/comet.deb
sed -i 's/^# power_seconds = 10/power_seconds = 60/; s/^# topology_seconds = 60/topology_seconds = 300/' {_SETTINGS}
sed -i 's/^# command_seconds = 60/command_seconds = 300/' {_SETTINGS}
rocks add host certificate head
install -d -o 65534 -g 65534 /srv/owner
install -m 644 /etc/rocks/pki/authority/ca.crt /srv/owner/ca.crt
nucleus setup
NUCLEUS_EXECUTOR_KIND=local nucleus poll
nucleus project add alpha
nucleus user add ann --project alpha
nucleus cluster assign one alpha
nucleus token create ann | grep -o 'nuc_.*' >/root/token
{{ head -c 32769 /dev/zero; printf CD001; head -c 4096 /dev/zero; }} >/srv/owner/probe.iso
"""
"""With the frontend's certificate, and what an owner has: the client, a token, the authority's certificate, an image.

The emulated machine takes many times as long for a command: with the poll's own intervals all that is known is stale.
"""

_FUNCTIONS = f"""\
units="rocks-nucleus.service rocks-nucleus-executor.service"
ask() {{ python3 /root/ask "https://{ADDRESS}:8372/$1" 2>&1; }}
owner() {{
  setpriv --reuid=65534 --regid=65534 --clear-groups -- env HOME=/srv/owner "COMET_TOKEN=$(cat /root/token)" \\
    comet "$@" "--endpoint=https://{ADDRESS}:8372" --ca=/srv/owner/ca.crt --timeout=120 2>&1
  echo "status $?"
}}
shown() {{ systemctl show -p "$2" "$1" | paste -s; }}
states() {{ for unit in $units; do shown $unit Id,ActiveState,UnitFileState,NRestarts,Result; done; }}
pid_of() {{ systemctl show -p MainPID --value "$1"; }}
until_another() {{ for n in $(seq 600); do case $(pid_of "$1") in 0 | "$2") sleep 1 ;; *) return ;; esac; done; }}
sql() {{ mariadb --socket=/var/opt/rocks/mysql/mysql.sock -N -e "$1"; }}
until_polled_since() {{
  for n in $(seq 600); do
    [ "$(sql "SELECT COUNT(*) FROM nucleus.source WHERE name = 'vm' AND UNIX_TIMESTAMP(observed) > $1")" = 0 ] || break
    sleep 1
  done
  sql "SELECT name, UNIX_TIMESTAMP(observed) > $1, failures, last_error FROM nucleus.source WHERE name = 'vm'"
}}
report() {{
  echo "== environment"
  tr '\\0' '\\n' </proc/$(pid_of rocks-nucleus.service)/environ | grep -E '^(MALLOC|ROCKS)'
  echo "boot $(tr -d - </proc/sys/kernel/random/boot_id)"
  echo "== processes"
  for unit in $units; do
    grep -E '^(Uid|NoNewPrivs|Seccomp|CapEff):' /proc/$(pid_of $unit)/status | paste -s
    shown $unit MemoryCurrent,MemoryMax
  done
  echo "== states"
  states
  echo "== failed units"
  systemctl --failed --no-legend --plain
  echo "== journal"
  journalctl -b -q --no-pager -o cat -u rocks-nucleus.service -u rocks-nucleus-executor.service
  echo "== end"
}}
"""

_FIRST = """\
echo "== profile"
{ rocks report host profile head | bash; } 2>&1
echo "status $?"
echo "== started"
states
echo "== answers"
ask healthz
until_polled_since $(date +%s)
ask readyz
echo "== owner"
owner cluster one --status
echo "== image"
owner iso upload /srv/owner/probe.iso --wait=900
echo "== restrictions"
pid=$(pid_of rocks-nucleus.service)
nsenter -t $pid -m -- touch /usr/written /etc/written /export/written /var/opt/rocks/written 2>&1
ls -d /proc/$pid/root/dev/vda /proc/$pid/root/proc/sys 2>&1
pid=$(pid_of rocks-nucleus-executor.service)
nsenter -t $pid -m -- touch /usr/written 2>&1
echo "== kill of the service"
pid=$(pid_of rocks-nucleus.service)
kill -9 $pid
until_another rocks-nucleus.service $pid
ask healthz
ask readyz
states
owner ll
echo "== kill of the executor"
pid=$(pid_of rocks-nucleus-executor.service)
kill -9 $pid
until_another rocks-nucleus-executor.service $pid
until_polled_since $(date +%s)
states
echo "== restart"
systemctl restart $units
echo "status $?"
ask readyz
until_polled_since $(date +%s)
owner ll
echo "== security"
for unit in $units; do systemd-analyze security --no-pager $unit | tail -n 1; done
"""

_SECOND = """\
echo "== answers"
ask healthz
until_polled_since $(date +%s)
ask readyz
echo "== owner"
owner ll
"""


def _prepare(machine: Machine) -> None:
    (package,) = (CHECKOUT / "dist").glob("comet_*.deb")
    shutil.copyfile(package, machine.folder / "root/comet.deb")
    (machine.folder / "root/ask").write_text(_ASK, "ascii")
    make_frontend(machine, _RECORDS)


@pytest.fixture
def booted(medium: Path, tmp_path: Path) -> BootedRoot:
    """A frontend with a cluster and a certificate; nothing of Nucleus was started."""
    if len(list((CHECKOUT / "dist").glob("comet_*.deb"))) != 1:
        pytest.skip("dist/ has not exactly one comet_*.deb: make packages")
    return boot_machine(medium, tmp_path, _prepare)


def _check_report(printed: str) -> None:
    """What holds after each boot: the settings that the units pass on, their rights, and nothing that went wrong."""
    environment = dict(
        line.split("=", 1) for line in part(printed, "environment").splitlines() if "=" in line
    )
    assert environment["MALLOC_ARENA_MAX"] == "2", printed
    assert environment["MALLOC_MMAP_THRESHOLD_"] == "262144", printed
    assert f"boot {environment['ROCKS_BOOT_ID']}" in part(printed, "environment"), (
        "timers count from this boot"
    )
    service, memory, executor, _ = part(printed, "processes").splitlines()
    assert "CapEff:\t0000000000000000" in service and "Uid:\t0\t" not in service, printed
    assert "Uid:\t0\t0\t0\t0" in executor, printed
    for process in (service, executor):
        assert "NoNewPrivs:\t1" in process and "Seccomp:\t2" in process, printed
    assert "MemoryMax=1073741824" in memory, printed
    for line in part(printed, "states").splitlines():
        assert "ActiveState=active" in line and "UnitFileState=enabled" in line, printed
    assert part(printed, "failed units").strip() == "", printed
    assert "Traceback" not in part(printed, "journal"), printed


def _check_polled(text: str) -> None:
    """The `vm` command ran through the executor after that moment, without a failure."""
    assert re.search(r"^vm\t1\t0\t", text, re.MULTILINE), text


def _check_answers(printed: str) -> None:
    """It answers over TLS, and has asked the site since it was started."""
    answers = part(printed, "answers")
    assert answers.startswith("200 ok\n") and '200 {"database":"ok","poll":"ok"}' in answers, printed
    _check_polled(answers)


def test_the_profile_starts_nucleus_and_it_comes_back(booted: BootedRoot) -> None:
    """The profile, an owner, kill -9 of both, a restart, a boot. The figures of systemd-analyze are printed."""
    printed = booted.boot(f"{_FUNCTIONS}{_FIRST}report\n")
    print(printed)
    profile = part(printed, "profile")
    assert "status 0" in profile, printed
    assert "unit rocks-nucleus.service started" in profile, printed
    assert part(printed, "started").count("ActiveState=active") == 2, printed
    _check_answers(printed)
    owner = part(printed, "owner")
    assert "status 0" in owner and "vm-one-0" in owner, printed

    image = part(printed, "image")
    assert "status 0" in image, "the executor has added the image that the service has stored"
    restrictions = part(printed, "restrictions")
    assert restrictions.count("Read-only file system") == 5, printed
    assert restrictions.count("cannot access") == 2, "the service has no disk, and no /proc/sys"

    killed = part(printed, "kill of the service")
    assert '"poll":"ok"' in killed and "status 0" in killed, printed
    assert killed.count("NRestarts=1") == 1 and killed.count("ActiveState=active") == 2, printed
    killed = part(printed, "kill of the executor")
    assert killed.count("NRestarts=1") == 2 and killed.count("ActiveState=active") == 2, printed
    _check_polled(killed)
    restarted = part(printed, "restart")
    assert restarted.count("status 0") == 2 and '"poll":"ok"' in restarted, printed
    _check_polled(restarted)
    assert part(printed, "security").count("Overall exposure level") == 2, printed
    _check_report(printed)

    printed = booted.boot(f"{_FUNCTIONS}{_SECOND}report\n")
    print(printed)
    _check_answers(printed)
    owner = part(printed, "owner")
    assert "status 0" in owner and "one" in owner, printed
    _check_report(printed)
