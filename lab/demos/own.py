"""`make demo-own-cluster`: on the demo's site, an owner installs a cluster with this roll's ISOs, and runs MPI on it.

The frontend has an image of Debian and becomes a frontend from the ISO of `make frontend-iso`, which its owner has
uploaded. It installs both computes from the network. What is typed on the frontend is in docs/guide/own-cluster.md;
a test compares them.

A node of a computeset gets a whole host, and the site has one (see `lab.demos.launch`). So this demo's list of hosts
names it twice, the second time by an alias.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable
from pathlib import Path

from lab.demos.demo import Demo
from lab.demos.image_demo import ImageDemo, answer_of, ssh_line
from lab.demos.owner import Owner
from lab.demos.plan import FRONTEND
from lab.nucleus import Nucleus
from lab.progress import Progress
from lab.site import Site
from rocks.core.errors import IncoherentError, StateError, ToolError

CLUSTER = "own"
ADDRESS = "203.0.113.30"
NODES = f"vm-{CLUSTER}-[0-1]"
COMPUTES = ("compute-0-0", "compute-0-1")
USER = "mia"
ALIAS = f"{FRONTEND}-2"
ISOS = (MEDIUM, OS_ROLL, MPI_ROLL) = ("rocks-frontend-*.iso", "os-*.disk1.iso", "mpi-*.disk1.iso")
"""What `make frontend-iso`, `make os-roll` and `make mpi-roll` build."""

ANSWERS = f"""\
Kickstart_PrivateHostname = {CLUSTER}
Kickstart_PrivateInterface = eth0
Kickstart_PrivateAddress = {{private}}
Kickstart_PrivateNetmask = 255.255.0.0
Kickstart_PublicInterface = eth1
Kickstart_PublicAddress = {ADDRESS}
Kickstart_PublicNetmask = 255.255.255.0
Kickstart_PublicGateway = 203.0.113.1
"""
"""For `rocks create site`; `private` is the address that the site has given the frontend on the VLAN."""

INSTALLATION = (
    "mkdir -p /media/cdrom && mount -r /dev/sr0 /media/cdrom",
    "sh /media/cdrom/install os=$(ls /root/os-*.iso) /root/site",
)
ROLLS = (
    "rocks add roll /root/mpi-*.iso",
    "rocks enable roll mpi",
    "cd /export/rocks/install && rocks create distro",
)
SERVICES = (
    f"rocks set host attr {CLUSTER} nucleus_service no",
    "systemctl disable --now rocks-nucleus rocks-nucleus-executor",
    f"rocks set host attr {CLUSTER} boot_service yes",
    f"rocks report host profile {CLUSTER} | bash",
)
HOSTS = (
    "rocks set appliance attr compute install_kernel_arguments"
    ' value="console=ttyS0,115200 mitigations=off no_timer_check"',
    "rocks add host compute-0-0",
    "rocks add host interface compute-0-0 eth0 ip=10.1.0.1 mac={macs[0]} subnet=private",
    "rocks add host compute-0-1",
    "rocks add host interface compute-0-1 eth0 ip=10.1.0.2 mac={macs[1]} subnet=private",
    "rocks set host boot compute-0-0 compute-0-1 action=install",
)
ACCOUNT = (
    f"useradd --create-home --shell /bin/bash {USER}",
    f"su - {USER} -c 'mkdir -m 700 .ssh'",
    f"su - {USER} -c 'ssh-keygen -q -t ed25519 -N \"\" -f .ssh/id_ed25519'",
    f"su - {USER} -c 'cp .ssh/id_ed25519.pub .ssh/authorized_keys'",
    f"su - {USER} -c 'echo StrictHostKeyChecking accept-new >.ssh/config'",
    "rocks sync users compute-0-0 compute-0-1",
    "rocks sync dns compute-0-0 compute-0-1",
    *(
        f"tar -C /home -c {USER} | ssh -i /etc/rocks/ssh/id_ed25519"
        f" -o UserKnownHostsFile=/etc/rocks/ssh/known_hosts root@{name} tar -C /home -x"
        for name in COMPUTES
    ),
)
MPI = f"su - {USER} -c 'ssh compute-0-0 mpirun -n 2 --host {','.join(COMPUTES)} python3 -m mpi4py.bench helloworld'"
_ANSWER = f"rocks run host {' '.join(COMPUTES)} command=true"
_SHORT_SECONDS, _LONG_SECONDS = 600.0, 5400.0
_INSTALLATION_SECONDS = 7200.0
_PAUSE_SECONDS = 15.0


class DemoOwn(ImageDemo):
    """One run of it; the ISOs are in `dist` of the checkout."""

    def __init__(self, site: Site, demo: Demo, images: Path, progress: Progress) -> None:
        super().__init__(site, demo, images, progress)
        self.isos = images.parents[2] / "dist"
        self._config = Path()

    def run(self) -> None:
        """Install what is missing, and run MPI. RocksError when a step fails; another run continues from there."""
        for pattern in ISOS:
            self._iso(pattern)  # what lacks is named before an hour has passed
        image, self._config = self.build_site(CLUSTER, ADDRESS)
        nucleus = Nucleus(self._site.machine)
        nucleus.begin()
        self._demo.stop_machines()
        self._progress.print(
            "\nA cluster: the frontend from an image of Debian, the computes with empty disks:"
        )
        name = self.add_image(image)
        self._add_own_cluster(name, self._config.parent / "id.pub")
        nucleus.finish()
        nucleus.use_hosts([FRONTEND, ALIAS])
        owner = Owner(self._site, self._progress, self.isos)
        owner.get(CLUSTER)
        self._progress.print("\nIts owner, from here on; the ISO of the roll in the frontend's drive:")
        self._install_frontend(owner)
        self._install_computes(owner)
        self._run_program()
        self._site.machine.release()
        self._progress.print(f"\nTimes:\n{self._progress.table()}")
        self._progress.print("\n`make demo-stop` ends and removes all of it.")

    def _iso(self, pattern: str) -> Path:
        found = sorted(self.isos.glob(pattern))
        if not found:
            raise StateError(f"{self.isos} has no {pattern}: run make demo-own-cluster, which builds it")
        if len(found) > 1:
            names = ", ".join(one.name for one in found)
            raise StateError(f"{self.isos} has several ISOs for {pattern}: remove all but one of {names}")
        return found[0]

    def _add_own_cluster(self, image: str, key: Path) -> None:
        if CLUSTER in {row["host"] for row in self._demo.ask("list", "host")}:
            return
        names = (f"fe-name={CLUSTER}", "cluster-naming=yes")
        images = (f"image={image}", "compute-image=none", f"key={key}")
        sizes = ("disk-per-frontend=12", "disk-per-compute=6", "mem-per-compute=1024")
        self._demo.show("add", "cluster", ADDRESS, "2", *names, *images, *sizes)
        self._demo.show("set", "host", "vm", CLUSTER, "mem=2048", "cpus=2")
        for number in range(2):  # the demo's attribute for all machines is no
            self._demo.show("set", "host", "attr", f"vm-{CLUSTER}-{number}", "kvm_netboot", "yes")
        self._demo.show("add", "host", "alias", FRONTEND, ALIAS)

    def _install_frontend(self, owner: Owner) -> None:
        medium, others = self._iso(MEDIUM), [self._iso(OS_ROLL), self._iso(MPI_ROLL)]
        if medium.name not in owner.answer("iso", "list").text:
            owner.comet("iso", "upload", medium.name, "--wait=3600")
            owner.comet("iso", "attach", medium.name, CLUSTER, "--wait=600")
        owner.comet("power", "on", CLUSTER, "--wait=600")
        with self._progress.step(f"{CLUSTER} boots until it answers by SSH"):
            answer_of(self._site, self._config, CLUSTER, "true")
        if not self._asks("test -s /var/lib/rocks/installed-version"):
            self._progress.print(f"  $ scp {' '.join(one.name for one in others)} root@{ADDRESS}:")
            copy = ["scp", "-q", "-F", str(self._config), *map(str, others), f"{CLUSTER}:/root/"]
            self._site.machine.run_checked(copy, _LONG_SECONDS)
            (interface,) = json.loads(self._answer("ip -json -4 address show eth0", _SHORT_SECONDS))
            self._type("tee /root/site", ANSWERS.format(private=interface["addr_info"][0]["local"]))
            self._type_all(INSTALLATION)
        if not self._asks("test -e /export/rocks/install/rocks-dist/x86_64/build/nodes/mpi.xml"):
            self._type_all(ROLLS)
        if not self._asks("systemctl is-active rocks-boot rocks-kickstart"):
            self._type_all(SERVICES)

    def _install_computes(self, owner: Owner) -> None:
        if not self._asks("rocks list host interface compute-0-1"):
            macs = [mac for _, mac in sorted(owner.macs(CLUSTER).items())]
            self._type_all(line.format(macs=macs) for line in HOSTS)
        owner.start(CLUSTER, NODES)
        begin = time.monotonic()
        printed = ""
        while True:
            listed = self._answer("rocks list host install", _SHORT_SECONDS)
            if listed != printed:
                self._progress.print(listed)
                printed = listed
            if listed.count(" configured ") == len(COMPUTES):
                break
            if " failed" in listed:
                raise ToolError(f"a compute was not installed: {listed}")
            if time.monotonic() > begin + _INSTALLATION_SECONDS:
                raise ToolError(f"the computes are not installed after {_INSTALLATION_SECONDS:g} s: {listed}")
            time.sleep(_PAUSE_SECONDS)
        while not self._asks(_ANSWER):  # a later start is from their disks
            if time.monotonic() > begin + _INSTALLATION_SECONDS:
                raise ToolError(f"{' and '.join(COMPUTES)} do not answer by SSH")
            time.sleep(_PAUSE_SECONDS)
        self._progress.record(
            "computes: from their start to the end of their profiles", time.monotonic() - begin
        )

    def _run_program(self) -> None:
        if not self._asks(f"su - {USER} -c 'ssh {COMPUTES[-1]} true'"):
            self._asks(f"userdel --remove {USER}")  # of an earlier run that ended here
            self._type_all(ACCOUNT)
        printed = self._type(MPI)
        expected = [
            f"Hello, World! I am process {number} of 2 on {name}." for number, name in enumerate(COMPUTES)
        ]
        if sorted(line for line in printed.splitlines() if line.startswith("Hello")) != expected:
            raise IncoherentError(f"MPI did not run on {' and '.join(COMPUTES)}: {printed}")

    def _type_all(self, commands: Iterable[str]) -> None:
        for command in commands:
            self._type(command)

    def _type(self, command: str, text: str = "") -> str:
        """Type a command on the frontend, as root at a shell, and print it with its output; the output."""
        self._progress.print(f"  root@{CLUSTER}:~# {command}")
        begin = time.monotonic()
        finished = self._site.machine.run(self._line(command), _LONG_SECONDS, text.encode())
        for line in (finished.text + finished.error_text).splitlines():
            self._progress.print(f"  {line}")
        if finished.exit_status:
            raise ToolError(f"{command!r} on {CLUSTER} ended with exit status {finished.exit_status}")
        self._progress.record(f"# {command}"[:60], time.monotonic() - begin)
        return finished.text

    def _asks(self, command: str) -> bool:
        return self._site.machine.run(self._line(command), _SHORT_SECONDS).exit_status == 0

    def _answer(self, command: str, seconds: float) -> str:
        return self._site.machine.run_checked(self._line(command), seconds).text

    def _line(self, command: str) -> list[str]:
        return ssh_line(self._config, CLUSTER, f"bash -lc {shlex.quote(command)}")
