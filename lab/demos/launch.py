"""`make demo-launch`: on the demo's site, `comet launch` of the examples of launchers, on a compute reached by SSH.

A node of a computeset gets a whole host, and the site has one. A second machine of the lab as a host was refused: where
the kernel has no VLANs, those of the demo are bridges of one host. The `ssh` of `comet` is a program that enters the
site's network.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from pathlib import Path

from lab.demos.image_demo import FOR_LAUNCHERS, ImageDemo, answer_of
from lab.demos.owner import Owner
from lab.namespace import CHECKOUT
from lab.nucleus import Nucleus
from rocks.core.errors import IncoherentError, ToolError

CLUSTER = "mpi"
COMPUTE = f"vm-{CLUSTER}-0"
ADDRESS = "203.0.113.22"
LAUNCHERS = CHECKOUT / "examples" / "launchers"
_END_SECONDS = 900.0


class DemoLaunch(ImageDemo):
    """One run of it."""

    image_kind = FOR_LAUNCHERS

    def run(self) -> None:
        """Launch, and show what came of it. RocksError when a step fails; another run continues from there."""
        image, config = self.build_site(CLUSTER, ADDRESS)
        nucleus = Nucleus(self._site.machine)
        nucleus.begin()
        self._demo.stop_machines()
        self._progress.print("\nAn image with what the launchers need, and a cluster of it:")
        name = self.add_image(image, "-mpi")
        self.add_cluster(CLUSTER, ADDRESS, name, config.parent / "id.pub")
        nucleus.finish()
        self._make_folder(config)
        owner = Owner(
            self._site, self._progress, self._folder, {"PATH": f"{self._folder / 'bin'}:{os.environ['PATH']}"}
        )
        owner.get(CLUSTER)
        self._progress.print("\nIts owner:")
        owner.comet("power", "on", CLUSTER, "--wait")
        with self._progress.step(f"{CLUSTER} boots until it answers by SSH"):
            answer_of(self._site, config, CLUSTER, "true")
        ring = self._launch(owner, "mpi", "ring.txt")
        if ring.splitlines() != [f"process 0 of 1 on {COMPUTE}", "the sum is 0"]:
            raise IncoherentError(f"the program with MPI did not run on {COMPUTE}: {ring}")
        scores = self._launch(owner, "docking", "scores")
        if len(scores.splitlines()) != len(list((LAUNCHERS / "docking" / "ligands").iterdir())):
            raise IncoherentError(f"not every ligand has a score: {scores}")
        owner.comet("computeset", "--state=all")
        self._site.machine.release()
        self._progress.print(f"\nTimes:\n{self._progress.table()}")
        self._progress.print("\n`make demo-stop` ends and removes all of it.")

    @property
    def _folder(self) -> Path:
        """Where `comet` is called: with launchers, their results, and in `bin` its `ssh`."""
        return self._site.folder / "launch"

    def _make_folder(self, config: Path) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(LAUNCHERS, self._folder)
        init = self._site.machine.init()
        assert init is not None
        # an emulated machine takes long for each connection; the first of an option's values counts
        options = "-o ConnectTimeout=55 -o ControlMaster=auto -o ControlPersist=60 -o ControlPath=%C"
        enter = ["/usr/bin/nsenter", "-n", "-t", str(init.process_id)]
        line = [*enter, "/usr/bin/ssh", "-F", str(config), *options.split()]
        program = self._folder / "bin" / "ssh"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shlex.join(line)} "$@"\n')
        program.chmod(0o755)

    def _launch(self, owner: Owner, name: str, result: str) -> str:
        """The text of a file of the results, once the computeset has ended: the cluster has no other compute."""
        group = f"{name}-{time.time():.0f}"
        owner.comet("launch", name, "-n", "1", f"--cluster={CLUSTER}", f"--group={group}")
        end_at = time.monotonic() + _END_SECONDS
        while json.loads(owner.answer("computeset", "--state=ending", "--format=json").text or "[]"):
            if time.monotonic() > end_at:
                raise ToolError(f"the computeset of {name} has not ended in {_END_SECONDS:g} s")
            time.sleep(1.0)
        return (self._folder / f"{group}-results" / result).read_text()
