"""`make demo-launch`: on the demo's site, `comet launch` of the examples of launchers, on a compute reached by SSH.

A node of a computeset gets a whole host, and the site has one. A second machine of the lab as a host was refused: where
the kernel has no VLANs, those of the demo are bridges of one host. `comet` is outside of the site's network, as the web
service is; its `ssh` is a program that enters that network.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from pathlib import Path

from lab.demos.image_demo import FOR_LAUNCHERS, ImageDemo, answer_of
from lab.namespace import CHECKOUT
from lab.nucleus import ALLOCATION, PROJECT, Nucleus
from rocks.core.errors import IncoherentError, ToolError
from rocks.core.process import Finished, run

CLUSTER = "mpi"
COMPUTE = f"vm-{CLUSTER}-0"
IMAGE = "debian-12-mpi"
ADDRESS = "203.0.113.22"
LAUNCHERS = CHECKOUT / "examples" / "launchers"
_POLL_SECONDS = 120.0
_END_SECONDS = 900.0
_COMMAND_SECONDS = 3600.0


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
        self.add_image(IMAGE, image)
        self.add_cluster(CLUSTER, ADDRESS, IMAGE, config.parent / "id.pub")
        nucleus.finish()
        self._make_folder(config)
        self._give_to_owner()
        self._progress.print("\nIts owner:")
        self._comet("power", "on", CLUSTER, "--wait")
        with self._progress.step(f"{CLUSTER} boots until it answers by SSH"):
            answer_of(self._site, config, CLUSTER, "true")
        ring = self._launch("mpi", "ring.txt")
        if ring.splitlines() != [f"process 0 of 1 on {COMPUTE}", "the sum is 0"]:
            raise IncoherentError(f"the program with MPI did not run on {COMPUTE}: {ring}")
        scores = self._launch("docking", "scores")
        if len(scores.splitlines()) != len(list((LAUNCHERS / "docking" / "ligands").iterdir())):
            raise IncoherentError(f"not every ligand has a score: {scores}")
        self._comet("computeset", "--state=all")
        self._site.machine.release()
        self._progress.print(f"\nTimes:\n{self._progress.table()}")
        self._progress.print("\n`make demo-stop` ends and removes all of it.")

    def _give_to_owner(self) -> None:
        nucleus = "/opt/rocks/bin/nucleus"
        end_at = time.monotonic() + _POLL_SECONDS
        while self._site.machine.run([nucleus, "cluster", "assign", CLUSTER, PROJECT], 60.0).exit_status:
            if time.monotonic() > end_at:
                raise ToolError(f"Nucleus does not see the cluster {CLUSTER} in {_POLL_SECONDS:g} s")
            time.sleep(1.0)
        self._site.machine.run_checked([nucleus, "allocation", "permit", ALLOCATION, CLUSTER], 60.0)

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

    def _launch(self, name: str, result: str) -> str:
        """The text of a file of the results, once the computeset has ended: the cluster has no other compute."""
        group = f"{name}-{time.time():.0f}"
        begin = time.monotonic()
        self._comet("launch", name, "-n", "1", f"--cluster={CLUSTER}", f"--group={group}")
        self._progress.record(
            f"comet launch {name}: from the request to the results", time.monotonic() - begin
        )
        end_at = time.monotonic() + _END_SECONDS
        while json.loads(self._answer("computeset", "--state=ending", "--format=json").text or "[]"):
            if time.monotonic() > end_at:
                raise ToolError(f"the computeset of {name} has not ended in {_END_SECONDS:g} s")
            time.sleep(1.0)
        return (self._folder / f"{group}-results" / result).read_text()

    def _comet(self, *arguments: str) -> None:
        self._progress.print(f"  $ comet {shlex.join(arguments)}")
        finished = self._answer(*arguments)
        for line in [*finished.error_text.splitlines(), *finished.text.splitlines()]:
            self._progress.print(f"  {line}")
        if finished.exit_status:
            raise ToolError(f"comet {shlex.join(arguments)} ended with exit status {finished.exit_status}")

    def _answer(self, *arguments: str) -> Finished:
        path = f"{self._folder / 'bin'}:{os.environ['PATH']}"
        environment = {**os.environ, "ROCKS_STATE": str(self._site.folder), "COLUMNS": "120", "PATH": path}
        program = ["/usr/bin/env", "-C", str(self._folder), str(CHECKOUT / "bin" / "comet"), *arguments]
        return run(program, deadline_seconds=_COMMAND_SECONDS, environment=environment)
