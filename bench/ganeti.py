"""R36: Ganeti, from Debian's packages, does the same work as `rocks` in turns with it.

Ganeti has its own namespaces and /usr, which end with the bench; nothing is installed. It has one node, KVM's
driver with emulation, and for lists its fake hypervisor. Both execute the same QEMU file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import large_site, peers
from bench.exec_watch import ExecWatch, now
from bench.site import FRONTEND, GUEST_MEMORY_MB, ROCKS, STATE, BenchSite
from bench.table import Row, at_most, not_measured
from bench.timing import in_turns, run_seconds, typical
from lab import libvirtd
from lab.namespace import Machine
from rocks.core.errors import RocksError
from rocks.database.connection import Database

ROUNDS = 5
LIMIT = 0.5
SIZES = (100, 1000, 5000)
_VMS_PER_CLUSTER = 100
_AT_ONCE, _FIRST_VLAN = 16, 1100
_SECONDS = 300.0
_EMULATOR = "/usr/bin/qemu-system-x86_64"
_KIB_PER_MIB = 1024
_PROGRAMS = ("mariadbd", "libvirtd", "virtlogd", "rocks-agent")
"""Of the frontend, which stay."""

_BASE = "base"
_FIELDS = "name,hypervisor,os,pnode,admin_state,be/memory,be/vcpus,nic.mac/0"

_ROOT = """\
set -e
cp "$1"/*.deb /var/tmp
mount -t tmpfs -o mode=1777,size=8g layer /tmp
touch /tmp/qemu
mount --bind "$2" /tmp/qemu
mkdir /tmp/upper /tmp/work
mount -t overlay -o lowerdir=/usr,upperdir=/tmp/upper,workdir=/tmp/work ganeti /usr
mount -t tmpfs -o mode=700 home /root
mount --bind /tmp/qemu "$2"
mount -t tmpfs -o mode=755 run /run
mkdir /run/lock /run/sshd
hostname node1.peer.test
"""
"""What the node changes here is in memory, as it is in /etc and /var, and ends with its namespaces."""

_CLUSTER = """\
set -e
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
dpkg --no-triggers -i /var/tmp/*.deb
ip link add br0 address 02:00:00:00:50:01 type bridge
ip address add 198.18.50.1/24 dev br0
ip link set br0 up
printf '127.0.0.1 localhost\\n198.18.50.1 node1.peer.test node1\\n198.18.50.2 cluster.peer.test cluster\\n' > /etc/hosts
mkdir -p /root/.ssh /srv/ganeti/file
rm -f /root/.ssh/* /etc/ssh/ssh_host_*
ssh-keygen -A
printf 'PermitRootLogin yes\\nUsePAM no\\nListenAddress 198.18.50.1\\n' > /etc/ssh/sshd_config
/usr/sbin/sshd
echo /srv/ganeti/file > /etc/ganeti/file-storage-paths
system=/usr/share/ganeti/os/none
mkdir -p $system
for script in create import export rename verify; do
  printf '#!/bin/sh\\nexit 0\\n' > $system/$script
  chmod 755 $system/$script
done
echo 20 > $system/ganeti_api_version
echo default > $system/variants.list
touch $system/parameters.list
bounds=min:memory-size=16,cpu-count=1,disk-count=0,disk-size=0,nic-count=0,spindle-use=1
bounds=$bounds/max:memory-size=32768,cpu-count=8,disk-count=16,disk-size=1048576,nic-count=8,spindle-use=12
kvm=kvm_flag=disabled,kernel_path=,initrd_path=,serial_console=false,vnc_bind_address=127.0.0.1,acpi=true
gnt-cluster init --enabled-hypervisors kvm,fake --enabled-disk-templates file,diskless --master-netdev br0 \\
  --no-etc-hosts --ipolicy-bounds-specs "$bounds" --ipolicy-vcpu-ratio=1000000 --ipolicy-spindle-ratio=1000000 \\
  --file-storage-dir /srv/ganeti/file --nic-parameters link=br0,mode=bridged -H "kvm:$kvm" \\
  -B minmem=MEMORYM,maxmem=MEMORYM,vcpus=1,auto_balance=false cluster.peer.test
"""

_FILL = """\
/usr/lib/ganeti/daemon-util stop-all
python3 - "$1" <<'PROGRAM'
import copy, json, os, sys, uuid
path, number = "/var/lib/ganeti/config.data", int(sys.argv[1])
with open(path) as file:
    configuration = json.load(file)
status, instances = os.stat(path), configuration["instances"]
base = next(one for one in instances.values() if one["name"] == "BASE")
for old in [key for key, one in instances.items() if one["hypervisor"] == "fake"]:
    del instances[old]
for count in range(number):
    key, new = str(uuid.uuid4()), copy.deepcopy(base)
    new.update(uuid=key, name=f"fake{count}.peer.test", hypervisor="fake", admin_state="down", hvparams={}, disks=[])
    for nic in new["nics"]:
        nic.update(uuid=str(uuid.uuid4()), mac=f"aa:00:01:{count >> 16:02x}:{count >> 8 & 255:02x}:{count & 255:02x}")
    instances[key] = new
configuration["serial_no"] += 1
configuration["cluster"]["serial_no"] += 1
with open(path + ".new", "w") as file:
    json.dump(configuration, file)
os.chown(path + ".new", status.st_uid, status.st_gid)
os.chmod(path + ".new", status.st_mode & 0o777)
os.rename(path + ".new", path)
PROGRAM
/usr/lib/ganeti/daemon-util start-all
for try in $(seq 100); do
  gnt-instance list > /dev/null 2>&1 && exit 0
  sleep 0.2
done
exit 1
"""
"""Ganeti's records of $1 more machines: copies of the first one's, as its own commands would need hours for them."""


class Ganeti:
    """A cluster of one node, in namespaces that end with the bench."""

    def __init__(self, folder: Path) -> None:
        self._machine = Machine(folder)

    def bring_up(self) -> None:
        """ToolError when it does not start."""
        archives = peers.archives_from_debian("bench-ganeti", "ganeti")
        self._machine.start()
        self.run("/bin/bash", "-c", _ROOT, "root", str(archives), _EMULATOR)
        self.run("/bin/bash", "-c", _CLUSTER.replace("MEMORY", str(GUEST_MEMORY_MB)))

    def tear_down(self) -> None:
        """Works in any state."""
        self._machine.stop()
        shutil.rmtree(self._machine.folder, ignore_errors=True)

    def command(self, *arguments: str) -> list[str]:
        """The command line that executes a command of the node."""
        return self._machine.command(arguments)

    def run(self, *arguments: str) -> str:
        """What a command of the node prints. ToolError when it fails."""
        return self._machine.run_checked(arguments, _SECONDS).text

    def add(self, name: str) -> None:
        """A machine with a disk of 1 GB, which is not started."""
        self.run(*add_arguments(name))

    def stop(self, *names: str) -> None:
        """At once."""
        self.run("/usr/sbin/gnt-instance", "shutdown", "--timeout=0", "--force-multiple", *names)

    def fork_ticks(self, name: str) -> int:
        """When the QEMU of a machine was forked, in clock ticks since boot."""
        number = self.run("/bin/cat", f"/run/ganeti/kvm-hypervisor/pid/{name}").strip()
        return int(self.run("/bin/cat", f"/proc/{number}/stat").rpartition(")")[2].split()[19])

    def daemons_megabytes(self) -> float:
        """Memory of Ganeti's daemons (PSS)."""
        return _resident_megabytes(self._machine, ("ganeti",))


def add_arguments(name: str) -> Sequence[str]:
    """The command that adds a machine with a disk of 1 GB, without an operating system, and does not start it."""
    checks = ("--no-name-check", "--no-ip-check", "--no-conflicts-check")
    system = (
        "--node=node1.peer.test",
        "--os-type=none+default",
        "--no-install",
        "--no-start",
        "--hypervisor-parameters=kvm",
    )
    return ("/usr/sbin/gnt-instance", "add", "--disk-template=file", "--os-size=1G", *checks, *system, name)


class Pair(NamedTuple):
    """The same question to both: its words in the table, its answers with their unit, and how it was measured."""

    what: str
    ours: float
    theirs: float
    unit: str
    how: str


def measure(site: BenchSite) -> list[Row]:
    """ToolError when our own half fails; a Ganeti that cannot be had or started has a row that says so."""
    ganeti = Ganeti(STATE / "bench-ganeti-node")
    ganeti.tear_down()  # the rest of a killed run
    try:
        ganeti.bring_up()
        return [row(pair) for pair in _pairs(site, ganeti)]
    except RocksError as error:
        return [not_measured("R36", "the same work by Ganeti", str(error))]
    finally:
        ganeti.tear_down()


def row(pair: Pair) -> Row:
    """Ours by theirs."""
    how = f"{pair.ours:.2f} {pair.unit} / {pair.theirs:.2f} {pair.unit}, {pair.how}"
    return at_most("R36", pair.what, pair.ours / pair.theirs, LIMIT, "", how)


def _pairs(site: BenchSite, ganeti: Ganeti) -> list[Pair]:
    return [*_one_machine(site, ganeti), _memory(site, ganeti), _at_once(site, ganeti), *_lists(site, ganeti)]


def _one_machine(site: BenchSite, ganeti: Ganeti) -> list[Pair]:
    """A machine with a disk is added, started, and removed with its disk, by both in turns: a pair for each step.

    The first turn, which is cold, is not counted.
    """
    name, frontend = "guest-peer", site.frontend.machine
    vlan = ("subnet=private", f"vlan={_FIRST_VLAN}")
    site.rocks("add", "host", "interface", FRONTEND, f"vlan{_FIRST_VLAN}", *vlan)

    def by_rocks() -> tuple[float, ...]:
        environment = site.environment()
        addition = run_seconds([ROCKS, *_adding(name, _FIRST_VLAN)], environment)
        begin = now()
        start = run_seconds([ROCKS, "start", "host", "vm", name], environment)
        execution = watch.executed(libvirtd.guests(frontend)[name].start_ticks) - begin
        site.rocks("stop", "host", "vm", name)
        removal = run_seconds([ROCKS, "remove", "host", "vm", name, "disks=remove"], environment)
        site.rocks("remove", "host", name)
        return addition, execution, start, removal

    def by_ganeti() -> tuple[float, ...]:
        addition = run_seconds(ganeti.command(*add_arguments(name)), os.environ)
        begin = now()
        start = run_seconds(ganeti.command("/usr/sbin/gnt-instance", "start", name), os.environ)
        execution = watch.executed_before(ganeti.fork_ticks(name)) - begin
        ganeti.stop(name)
        removal = run_seconds(
            ganeti.command("/usr/sbin/gnt-instance", "remove", "--force", "--shutdown-timeout=0", name),
            os.environ,
        )
        return addition, execution, start, removal

    with ExecWatch(_EMULATOR) as watch:
        (_, *ours), (_, *theirs) = in_turns([by_rocks, by_ganeti], ROUNDS + 1)
    how = f"medians of {ROUNDS}, in turns"
    steps = (
        (
            "a machine with a disk of 1 GB is added: `rocks add host vm` / `gnt-instance add`",
            f"{how}; ours makes the file at the first start",
        ),
        ("QEMU's exec: `rocks start host vm` / `gnt-instance start`", how),
        ("to the end of the command: `rocks start host vm` / `gnt-instance start`", how),
        ("a machine is removed with its disk: `rocks remove host vm` / `gnt-instance remove`", how),
    )
    mine, other = ([typical(step) for step in zip(*turns, strict=True)] for turns in (ours, theirs))
    return [
        Pair(what, *both, "s", how)
        for (what, how), both in zip(steps, zip(mine, other, strict=True), strict=True)
    ]


def _memory(site: BenchSite, ganeti: Ganeti) -> Pair:
    """The memory of the programs that stay resident after one machine was started and removed."""
    return Pair(
        "memory of what stays resident on one node: database, libvirt and agent / Ganeti's daemons",
        _resident_megabytes(site.frontend.machine, _PROGRAMS),
        ganeti.daemons_megabytes(),
        "MB",
        "proportional (PSS), without Nucleus, whose memory is a row of R22; no client is counted",
    )


def _at_once(site: BenchSite, ganeti: Ganeti) -> Pair:
    """Ganeti's guests do not run: they would take more of the processors than ours."""
    names = [f"guest-peer-{number}" for number in range(_AT_ONCE)]
    for vlan, name in enumerate(names, _FIRST_VLAN + 1):
        site.add_guest(name, FRONTEND, vlan)
        ganeti.add(name)

    def ours() -> float:
        seconds = run_seconds([ROCKS, "start", "host", "vm", *names], site.environment())
        site.rocks("stop", "host", "vm", *names)
        return seconds

    def theirs() -> float:
        start = ganeti.command("/usr/sbin/gnt-instance", "start", "--paused", "--force-multiple", *names)
        seconds = run_seconds(start, os.environ)
        ganeti.stop(*names)
        return seconds

    (_, *mine), (_, *other) = in_turns([ours, theirs], 4)
    what = f"{_AT_ONCE} machines at once, to the end: `rocks start host vm` / `gnt-instance start --paused`"
    return Pair(
        what, typical(mine), typical(other), "s", "medians of 3, in turns; our guests run, Ganeti's do not"
    )


def _lists(site: BenchSite, ganeti: Ganeti) -> list[Pair]:
    """Stored fields of all machines; those of Ganeti are copies of one."""
    ganeti.add(_BASE)
    pairs = []
    for size in SIZES:
        database = f"bench_peer_{size}"
        site.rocks("update", "database", database=database)
        site.rocks("sync", "vm", "lease", database=database)
        with Database(site.database_settings(database)) as connection:
            large_site.fill(connection, large_site.Size(100, size // _VMS_PER_CLUSTER, _VMS_PER_CLUSTER))
        ganeti.run("/bin/bash", "-c", _FILL.replace("BASE", _BASE), "fill", str(size))
        listing = ganeti.command("/usr/sbin/gnt-instance", "list", "--no-headers", "-o", _FIELDS)
        measures = [
            _timed([ROCKS, "list", "host", "vm"], site, database),
            _timed(listing, site, database),
        ]
        ours, theirs = (typical(seconds) for seconds in in_turns(measures, ROUNDS))
        what = f"a list of {size:,} machines: `rocks list host vm` / `gnt-instance list`"
        pairs.append(Pair(what, ours, theirs, "s", f"medians of {ROUNDS}, in turns; stored fields"))
    return pairs


def _timed(command: Sequence[str], site: BenchSite, database: str) -> Callable[[], float]:
    return lambda: run_seconds(command, site.environment(database))


def _adding(name: str, vlan: int) -> Sequence[str]:
    settings = (f"name={name}", f"vlan={vlan}", f"mem={GUEST_MEMORY_MB}", "disksize=1")
    return ("add", "host", "vm", FRONTEND, "membership=Hosted VM", *settings)


def _resident_megabytes(machine: Machine, programs: Sequence[str]) -> float:
    """Memory of the machine's processes whose command line has one of these words (PSS)."""
    total = 0.0
    for member in machine.members():
        folder = Path(f"/proc/{member.process_id}")
        with contextlib.suppress(OSError):  # it has ended
            if any(word in (folder / "cmdline").read_text("utf-8", "replace") for word in programs):
                figures = (folder / "smaps_rollup").read_text("ascii").partition("Pss:")[2]
                total += int(figures.split()[0]) / _KIB_PER_MIB
    return total
