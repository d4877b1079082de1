"""What the demos with an image of Debian share: the site with its router, the image, a cluster, and SSH to it."""

from __future__ import annotations

import shlex
import time
from abc import ABC, abstractmethod
from pathlib import Path

from lab.demos.demo import Demo
from lab.progress import Progress
from lab.site import Site
from rocks.core.errors import StateError, ToolError
from rocks.core.process import run_checked

GATEWAY = "203.0.113.1"
GATEWAY_DEVICE = "rockspub0"
LIBRARY = "/var/opt/rocks/images"
FOR_LAUNCHERS = "launchers"
"""The kind of the image that has MPI, a compiler and AutoDock Vina, too."""
_DISK_GB = "4"
_ANSWER_SECONDS = 900.0
_SSH_SECONDS = 180.0
_PAUSE_SECONDS = 0.5


class ImageDemo(ABC):
    """One run on `site`, whose demo is `demo`; what `tools/guest-image` has made of `image_kind` is in `images`."""

    image_kind = "debian"
    """The name of a folder below `.state/guest`."""

    computes = 1
    """How many a cluster has."""

    def __init__(self, site: Site, demo: Demo, images: Path, progress: Progress) -> None:
        self._site = site
        self._demo = demo
        self._images = images
        self._progress = progress

    @abstractmethod
    def run(self) -> None:
        """Build what is missing, and show it. RocksError when a step fails; another run continues from there."""

    def build_site(self, cluster: str, address: str) -> tuple[Path, Path]:
        """The demo's site with its router: (the image, a configuration of ssh that reaches machines by name).

        The public key beside the configuration is `id.pub`. StateError without an image.
        """
        image = find_image(self._images)
        self._demo.build_site()
        # the place of the site's router, which the public network of a demo does not have
        gateway = ["/usr/sbin/ip", "address", "replace", f"{GATEWAY}/24", "dev", GATEWAY_DEVICE]
        self._site.machine.run_checked(gateway, 10.0)
        return image, _write_ssh_files(self._site.folder / f"ssh-{cluster}", cluster, address)

    def choose_library(self) -> set[str]:
        """The names of the library's images. It is on the state's own disk, unless it has images elsewhere."""
        images = {row["name"] for row in self._demo.ask("list", "image")}
        if not images and "image_library" not in {row["attr"] for row in self._demo.ask("list", "attr")}:
            self._demo.show("set", "attr", "image_library", LIBRARY)
        return images

    def add_image(self, file: Path, kind: str = "") -> str:
        """Add the image to the library; returns its name there: `debian-12`, and `kind` behind that."""
        name = file.name.rpartition("-")[0] + kind
        if name not in self.choose_library():
            self._demo.show("add", "image", name, f"file={file}", "comment=from packages of Debian")
        return name

    def add_cluster(self, name: str, address: str, image: str, key: Path) -> None:
        """Have a cluster of machines of the image, whose owner has the key."""
        if name in {row["host"] for row in self._demo.ask("list", "host")}:
            return
        sizes = (f"disk-per-frontend={_DISK_GB}", f"disk-per-compute={_DISK_GB}")
        names = (f"fe-name={name}", "cluster-naming=yes")
        key_and_image = (f"image={image}", f"key={key}")
        self._demo.show("add", "cluster", address, str(self.computes), *names, *key_and_image, *sizes)


def find_image(folder: Path) -> Path:
    """What tools/guest-image has made in the folder, `debian-12-KEY.img`. StateError without it."""
    found = sorted(folder.glob("debian-*.img"))
    if not found:
        raise StateError(f"there is no image in {folder}; run make guest-image, which builds it")
    return found[-1]


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
