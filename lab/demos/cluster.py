"""`make demo-cluster`: on the demo's site, a cluster of two machines, made from an image, up to its answer by SSH.

The image is built from Debian's packages, without loop device and mount (`tools/guest-image`). Images of
Debian's cloud team were refused, as another source that differs from day to day; libguestfs, as it starts a
machine to write files.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from lab.demos.image_demo import GATEWAY, ImageDemo, answer_of
from rocks.core.errors import ToolError

CLUSTER = "web"
COMPUTE = f"vm-{CLUSTER}-0"
ADDRESS = "203.0.113.20"


class DemoCluster(ImageDemo):
    """A cluster of two machines of the image."""

    def run(self) -> None:
        """Build what is missing, and log in. RocksError when a step fails; another run continues from there."""
        name, config = self.prepare()
        self.add_cluster(CLUSTER, ADDRESS, name, config.parent / "id.pub")
        begin = time.monotonic()
        self._start()
        self._progress.record(
            "rocks start cluster: the image on its host, disks, machines", time.monotonic() - begin
        )
        self._log_in(config)
        self._site.machine.release()
        self._progress.print(f"\nTimes:\n{self._progress.table()}")
        self._progress.print(self._closing_text(config))

    def prepare(self) -> tuple[str, Path]:
        """The site with the image in its library, and no cluster of it: (the image's name, the configuration of
        `build_site`).
        """
        image, config = self.build_site(CLUSTER, ADDRESS)
        self._progress.print("\nAn image, and a cluster whose disks are made from it:")
        begin = time.monotonic()
        name = self.add_image(image)
        self._demo.show("list", "image")
        self._progress.record("rocks add image", time.monotonic() - begin)
        return name, config

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
