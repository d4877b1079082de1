"""`make demo-fai`: on the demo's site, an owner's computes are installed by FAI, Fully Automatic Installation.

The frontend has an image of Debian. The owner makes an ISO with FAI's programs from `examples/fai`, in a fresh Debian
of its own below `.state/guest/fai`, and puts it into the drives of both computes. What is typed is in
docs/guide/own-cluster.md; a test compares them.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from lab.demos.image_demo import ImageDemo, answer_of, ssh_line
from lab.demos.owner import Owner
from lab.demos.plan import FRONTEND
from lab.namespace import CHECKOUT
from lab.nucleus import Nucleus
from rocks.core.errors import IncoherentError, ToolError
from rocks.core.process import run_checked

CLUSTER = "fai"
ADDRESS = "203.0.113.35"
NODES = f"vm-{CLUSTER}-[0-1]"
COMPUTES = tuple(f"vm-{CLUSTER}-{number}" for number in range(2))
USER = "mia"
ALIAS = f"{FRONTEND}-2"
ISO = "fai-computes.iso"
EXAMPLE = CHECKOUT / "examples" / "fai"

PACKAGES = (
    "apt-get install --yes --no-install-recommends fai-server fai-setup-storage reprepro squashfs-tools xorriso"
    " dosfstools mtools openssh-client"
)
SOURCES = "sed -i /fai-project/d /etc/fai/apt/sources.list"
ROOT = "fai-make-nfsroot -s -f"
MIRROR = "fai-mirror -s /root/fai -c COMPUTE /root/mirror"
KEY = "ssh-keygen -q -t ed25519 -N '' -f fai/files/id_ed25519"
BUILD = f"fai-cd -f -c /root/fai -g /root/fai/grub.cfg -m /root/mirror /root/{ISO}"
NAMES = "printf '10.1.0.1 vm-fai-0\\n10.1.0.2 vm-fai-1\\n' >>/etc/hosts"
MPI = f"mpirun -n 2 --host {','.join(COMPUTES)} python3 -m mpi4py.bench helloworld"
_SECONDS = 3600.0
_INSTALLATION_SECONDS = 5400.0
_PAUSE_SECONDS = 15.0


class DemoFai(ImageDemo):
    """One run of it."""

    def run(self) -> None:
        """Install the computes, and run MPI. RocksError when a step fails; another run continues from there."""
        self._progress.print("The owner's Debian with FAI:")
        self._prepare_root()
        image, config = self.build_site(CLUSTER, ADDRESS)
        nucleus = Nucleus(self._site.machine)
        nucleus.begin()
        self._demo.stop_machines()
        self._progress.print(
            "\nA cluster: the frontend from an image of Debian, the computes with empty disks:"
        )
        name = self.add_image(image)
        self._add_cluster(name, config.parent / "id.pub")
        nucleus.finish()
        nucleus.use_hosts([FRONTEND, ALIAS])
        owner = Owner(self._site, self._progress, self._root / "root")
        owner.get(CLUSTER)
        self._progress.print("\nIts owner:")
        owner.comet("power", "on", CLUSTER, "--wait=600")
        with self._progress.step(f"{CLUSTER} boots until it answers by SSH"):
            answer_of(self._site, config, CLUSTER, "true")
        attached = config.parent / "attached"  # of an earlier run
        if not attached.exists():
            self._make_iso(owner, config)
            self._progress.print(f"  root@{CLUSTER}:~# {NAMES}")
            self._at(config, CLUSTER, NAMES)
            if ISO in owner.answer("iso", "list").text:
                owner.comet("iso", "delete", ISO, "--yes", "--wait=600")
            owner.comet("iso", "upload", ISO, "--wait=3600")
            owner.comet("iso", "attach", ISO, CLUSTER, NODES, "--wait=600")
            attached.touch()
        owner.start(CLUSTER, NODES)
        self._wait_for_computes(config)
        self._run_program(config)
        self._site.machine.release()
        self._progress.print(f"\nTimes:\n{self._progress.table()}")
        self._progress.print(
            "\n`make demo-stop` ends and removes the site; the Debian with FAI stays in .state/guest/fai."
        )

    @property
    def _root(self) -> Path:
        return self._images.parent / "fai"

    def _prepare_root(self) -> None:
        """Have a Debian with FAI, its nfsroot, and a partial mirror with the packages of computes."""
        made = self._root / "root" / "nfsroot.made"
        if not made.exists():
            self._type("apt-get update")
            self._type(PACKAGES)
            self._type(SOURCES)
            # the sources of this machine's apt, in place of Debian's own
            sources = "cat /etc/apt/sources.list.d/*.list >/etc/fai/apt/sources.list"
            release = ". /etc/os-release && release=$VERSION_CODENAME"
            mirror = 'mirror=$(awk "/ $release main/ { print \\$(NF - 2); exit }" /etc/fai/apt/sources.list)'
            its_mirror = 'sed -i "s|$release http[^\\"]*|$release $mirror|" /etc/fai/nfsroot.conf'
            self._in_root(f"{sources} && {release} && {mirror} && {its_mirror}")
            self._type(ROOT)
            made.touch()
        shutil.copytree(EXAMPLE, self._root / "root" / "fai", dirs_exist_ok=True)
        self._type(MIRROR)

    def _add_cluster(self, image: str, key: Path) -> None:
        if CLUSTER in {row["host"] for row in self._demo.ask("list", "host")}:
            return
        names = (f"fe-name={CLUSTER}", "cluster-naming=yes")
        images = (f"image={image}", "compute-image=none", f"key={key}")
        sizes = ("disk-per-frontend=4", "disk-per-compute=6", "mem-per-compute=1536")
        self._demo.show("add", "cluster", ADDRESS, "2", *names, *images, *sizes)
        self._demo.show("add", "host", "alias", FRONTEND, ALIAS)

    def _make_iso(self, owner: Owner, config: Path) -> None:
        folder = self._root / "root" / "fai" / "files"
        owner.comet("cluster", CLUSTER)
        macs = owner.macs(CLUSTER)
        lines = [f"{macs[name]} {name} 10.1.0.{number}/16\n" for number, name in enumerate(COMPUTES, 1)]
        (folder / "computes").write_text("".join(lines))
        shutil.copy(config.parent / "id.pub", folder / "ann.pub")
        self._type("cat fai/files/computes")
        if not (folder / "id_ed25519").exists():
            self._type(KEY)
        self._type(BUILD)

    def _wait_for_computes(self, config: Path) -> None:
        begin = time.monotonic()
        for name in COMPUTES:
            while not self._answers(config, name):
                if time.monotonic() > begin + _INSTALLATION_SECONDS:
                    raise ToolError(
                        f"{name} does not answer by SSH after {_INSTALLATION_SECONDS:g} s; its console has the reason"
                    )
                time.sleep(_PAUSE_SECONDS)
        self._progress.record("computes: from their start until they answer by SSH", time.monotonic() - begin)

    def _answers(self, config: Path, name: str) -> bool:
        try:
            return self._site.machine.run(ssh_line(config, name, "true"), 120.0).exit_status == 0
        except ToolError:  # a login of an emulated machine may take longer
            return False

    def _run_program(self, config: Path) -> None:
        self._progress.print(f"  $ ssh -J root@{ADDRESS} {USER}@{COMPUTES[0]} {MPI}")
        printed = self._at(config, f"{USER}@{COMPUTES[0]}", MPI)
        for line in printed.splitlines():
            self._progress.print(f"  {line}")
        expected = [
            f"Hello, World! I am process {number} of 2 on {name}." for number, name in enumerate(COMPUTES)
        ]
        if sorted(line for line in printed.splitlines() if line.startswith("Hello")) != expected:
            raise IncoherentError(f"MPI did not run on {' and '.join(COMPUTES)}: {printed}")

    def _at(self, config: Path, name: str, command: str) -> str:
        return self._site.machine.run_checked(ssh_line(config, name, command), _SECONDS).text

    def _type(self, command: str) -> None:
        """Type a command in the owner's Debian, as root, and print it with the end of its output."""
        self._progress.print(f"  root@build:~# {command}")
        begin = time.monotonic()
        printed = self._in_root(command).splitlines()
        for line in printed[-3:]:
            self._progress.print(f"  {line}")
        self._progress.record(f"# {command}"[:60], time.monotonic() - begin)

    def _in_root(self, command: str) -> str:
        program = str(CHECKOUT / "tools" / "fresh-root")
        line = [
            program,
            str(self._root),
            "sh",
            "-c",
            f"cd /root && export DEBIAN_FRONTEND=noninteractive TMPDIR=/var/tmp && {command}",
        ]
        return run_checked(line, deadline_seconds=_SECONDS).text
