"""`make demo-cluster`: on the demo's site, a cluster of two machines, made from an image, up to its answer by SSH.

The image is built from Debian's packages, without loop device and mount (`tools/guest-image`). Images of
Debian's cloud team were refused, as another source that differs from day to day; libguestfs, as it starts a
machine to write files.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from lab.demo import Demo
from lab.progress import Progress
from lab.site import Site
from rocks.core.errors import StateError, ToolError
from rocks.core.process import run_checked

CLUSTER = "web"
COMPUTE = f"vm-{CLUSTER}-0"
IMAGE = "debian-12"
ADDRESS = "203.0.113.20"
GATEWAY = "203.0.113.1"
GATEWAY_DEVICE = "rockspub0"
LIBRARY = "/var/opt/rocks/images"
FOR_LAUNCHERS = "launchers"
"""The folder of the image that has MPI, a compiler and AutoDock Vina, too."""
_DISK_GB = "4"
_ANSWER_SECONDS = 900.0
_SSH_SECONDS = 180.0
_PAUSE_SECONDS = 0.5


class ImageDemo:
    """One run on `site`, whose demo is `demo`; the images of `tools/guest-image` are in `images`."""

    images = "debian"
    """The folder of images below `.state/guest`."""

    def run(self) -> None:
        """Build what is missing, and show it. RocksError when a step fails; another run continues from there."""
        raise NotImplementedError

    def __init__(self, site: Site, demo: Demo, images: Path, progress: Progress) -> None:
        self._site = site
        self._demo = demo
        self._images = images
        self._progress = progress

    def build_site(self, cluster: str, address: str) -> tuple[Path, Path]:
        """The demo's site with its router: (the image, a configuration of ssh that reaches machines by name).

        The public key beside the configuration is `id.pub`. StateError without an image.
        """
        found = sorted(self._images.glob("debian-12-*.img"))
        if not found:
            raise StateError(f"there is no image in {self._images}; run make guest-image, which builds it")
        self._demo.build_site()
        # the place of the site's router, which the public network of a demo does not have
        gateway = ["/usr/sbin/ip", "address", "replace", f"{GATEWAY}/24", "dev", GATEWAY_DEVICE]
        self._site.machine.run_checked(gateway, 10.0)
        return found[-1], _write_ssh_files(self._site.folder / f"ssh-{cluster}", cluster, address)


class DemoCluster(ImageDemo):
    """A cluster of two machines of the image."""

    def run(self) -> None:
        """Build what is missing, and log in. RocksError when a step fails; another run continues from there."""
        config = self.prepare()
        self._add_cluster(config.parent / "id.pub")
        begin = time.monotonic()
        self._start()
        self._progress.record(
            "rocks start cluster: the image on its host, disks, machines", time.monotonic() - begin
        )
        self._log_in(config)
        self._site.machine.release()
        self._progress.print(f"\nTimes:\n{self._progress.table()}")
        self._progress.print(self._closing_text(config))

    def prepare(self) -> Path:
        """The site with the image in its library, and no cluster of it; returns the configuration of `build_site`."""
        image, config = self.build_site(CLUSTER, ADDRESS)
        self._progress.print("\nAn image, and a cluster whose disks are made from it:")
        begin = time.monotonic()
        self._add_image(image)
        self._progress.record("rocks add image", time.monotonic() - begin)
        return config

    def _add_image(self, file: Path) -> None:
        if {row["attr"] for row in self._demo.ask("list", "attr")}.isdisjoint({"image_library"}):
            self._demo.show("set", "attr", "image_library", LIBRARY)
        if IMAGE not in {row["name"] for row in self._demo.ask("list", "image")}:
            self._demo.show("add", "image", IMAGE, f"file={file}", "comment=from packages of Debian")
        self._demo.show("list", "image")

    def _add_cluster(self, key: Path) -> None:
        if CLUSTER in {row["host"] for row in self._demo.ask("list", "host")}:
            return
        sizes = (f"disk-per-frontend={_DISK_GB}", f"disk-per-compute={_DISK_GB}")
        names = (f"fe-name={CLUSTER}", "cluster-naming=yes")
        self._demo.show("add", "cluster", ADDRESS, "1", *names, f"image={IMAGE}", f"key={key}", *sizes)

    def _start(self) -> None:
        machines = self._demo.ask("list", "host", "vm", CLUSTER, COMPUTE, "status=yes")
        if any(row["status"] != "active" for machine in machines for row in machine["vm"]):
            self._demo.show("start", "cluster", CLUSTER)

    def _log_in(self, config: Path) -> None:
        self._progress.print(
            "\nBy SSH, from the site to the frontend, and through it to the compute by its name:"
        )
        begin = time.monotonic()
        for name, meaning in ((CLUSTER, "the frontend answers"), (COMPUTE, "the compute answers")):
            answer = answer_of(self._site, config, name, "hostname").strip()
            if answer != name:
                raise ToolError(f"{name} answers by SSH, and calls itself {answer}")
            self._progress.record(f"guests: since the start, {meaning}", time.monotonic() - begin)
        for name, command in (
            (CLUSTER, ("cat", "/etc/hosts")),
            (COMPUTE, ("hostname",)),
            (CLUSTER, ("ssh", "-o", "BatchMode=yes", COMPUTE, "hostname")),
            (COMPUTE, ("ping", "-q", "-c", "1", "-w", "60", GATEWAY)),
        ):
            self._progress.print(f"  # ssh {name} {shlex.join(command)}")
            for line in answer_of(self._site, config, name, shlex.join(command)).splitlines():
                self._progress.print(f"  {line}")

    def _closing_text(self, config: Path) -> str:
        enter = f"nsenter -n -t $(cut -d ' ' -f 1 {shlex.quote(str(self._site.folder / 'init'))})"
        return "\n".join(
            [
                "",
                "The cluster stays up, in the demo's own network. A shell on its frontend, and on its compute:",
                f"  {enter} ssh -F {shlex.quote(str(config))} {CLUSTER}",
                f"  {enter} ssh -F {shlex.quote(str(config))} {COMPUTE}",
                "`make demo-stop` ends and removes all of it; the image stays in .state/guest for the next time.",
            ]
        )


def _write_ssh_files(folder: Path, cluster: str, address: str) -> Path:
    """A key, and a configuration of ssh by which the cluster's machines are reached by their names."""
    folder.mkdir(mode=0o700, exist_ok=True)
    key, config = folder / "id", folder / "config"
    if not key.exists():
        run_checked(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", str(key)],
            deadline_seconds=20.0,
        )
    common = f'  User root\n  IdentityFile "{key}"\n  IdentitiesOnly yes\n  ConnectTimeout 60\n'
    common += "  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n"
    common += f'  UserKnownHostsFile "{folder / "known_hosts"}"\n'
    config.write_text(
        f"Host {cluster} {address}\n  HostName {address}\n{common}"
        f"Host vm-{cluster}-* compute-*\n"
        f"  ProxyCommand ssh -F {shlex.quote(str(config))} -W %h:%p {cluster}\n{common}"
    )
    return config


def ssh_line(config: Path, name: str, command: str) -> list[str]:
    """What runs a command on a machine."""
    return ["ssh", "-F", str(config), "-o", "BatchMode=yes", name, command]


def answer_of(site: Site, config: Path, name: str, command: str) -> str:
    """The output of the command on the machine, which may still be starting. ToolError when it does not answer."""
    line = ssh_line(config, name, command)
    end = time.monotonic() + _ANSWER_SECONDS
    while True:
        try:
            return site.machine.run_checked(line, _SSH_SECONDS).text
        except ToolError as error:
            if time.monotonic() > end:
                raise ToolError(
                    f"{name} does not answer by SSH after {_ANSWER_SECONDS:g} s: {error}"
                ) from None
        time.sleep(_PAUSE_SECONDS)
