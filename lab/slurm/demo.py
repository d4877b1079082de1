"""`make demo-slurm`: on the demo's site, a computeset that is a job of Slurm, beside a batch job, and its charge."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable
from typing import Any

from lab.demos.demo import Demo
from lab.demos.plan import CLUSTER, FRONTEND, GUESTS, addresses
from lab.namespace import CHECKOUT
from lab.nucleus import ALLOCATION, SLURM_SETTINGS, Nucleus
from lab.progress import Progress
from lab.site import Site
from lab.slurm.daemons import Slurm
from rocks.core.errors import HostError, IncoherentError, StateError, ToolError
from rocks.core.process import run

NODE = GUESTS[2]
_COMMAND_SECONDS = 660.0
_PAUSE_SECONDS = 1.0


class DemoSlurm:
    """One run on `site`, whose demo is `demo`, and runs."""

    def __init__(self, site: Site, demo: Demo, progress: Progress) -> None:
        self._site, self._demo, self._progress = site, demo, progress
        self._print = progress.print
        hook = CHECKOUT / "packaging" / "files" / "rocks-host-free"
        self._slurm = Slurm(site.machine, [FRONTEND], addresses()[0].partition("/")[0], hook)

    def run(self) -> None:
        """From Slurm's start to its end, whatever happens between. RocksError when a step fails or charges differ."""
        if active := [f"bin/comet terminate {one['id']}" for one in self._sets("--state=active")]:
            raise StateError(f"computesets use the demo's machines: {'; '.join(active)}. Then repeat this")
        nucleus = Nucleus(self._site.machine)
        self._print("\nThe site's only host gets no job while a machine runs on it:")
        stopped = self._demo.stop_machines()
        try:
            with self._progress.step("Slurm: munged, slurmdbd, slurmctld, slurmd"):
                self._slurm.start(self._allocations(), "root,nucleus")
            with self._progress.step("Nucleus, with Slurm"):
                nucleus.use_slurm()
            self._run_set()
        finally:
            with self._progress.step("Slurm's end, Nucleus with its list of hosts"):
                nucleus.use_list()
                self._slurm.stop()
        self._print(f"\nTimes:\n{self._progress.table()}")
        self._print("\nNothing of Slurm is left. `make demo-stop` ends and removes the site.")
        if stopped:
            self._print(f"bin/rocks start host vm {' '.join(stopped)} starts again what was stopped for it.")

    def _run_set(self) -> None:
        program = ["/usr/bin/env", *SLURM_SETTINGS, "/opt/rocks/bin/nucleus", "check", "slurm"]
        self._print(f"\nThe operator:\n  # nucleus check slurm\n  {self._machine_text(*program)}")
        batch = self._show(
            "sbatch", "--parsable", "--partition=batch", "--exclusive", f"--account={ALLOCATION}", "--chdir=/",
            "--output=/dev/null", "--job-name=simulation", "--wrap=exec sleep 3600",
        )  # fmt: skip
        self._until(
            "the batch job runs",
            lambda: "RUNNING" in self._slurm.ask("squeue", "-h", "-j", batch, "-o", "%T"),
        )
        self._print("\nann, who owns the cluster:")
        self._comet("start", CLUSTER, NODE, "--walltime=1m")
        number = str(max(int(one["id"]) for one in self._sets("--state=all")))
        self._until("the computeset waits", lambda: bool(self._set(number)["waiting"]))
        self._comet("computeset", number)
        self._show("squeue", "--format=%.5i %.10P %.32j %.9T %.12r %N")
        name = self._slurm.ask("squeue", "-h", "--user=nucleus", "-o", "%j")
        self._print("\nThe batch job ends, and the computeset begins:")
        self._show("scancel", batch)
        self._until("its node is on", lambda: self._set(number)["computes"][0]["state"] == "active")
        self._comet("computeset", number)
        self._show("squeue", "--format=%.5i %.10P %.32j %.9T %.12r %N")
        self._print(
            "\nIts walltime, a minute, ends, and its machine shuts down. No NAS is here to write its disk back to:"
        )
        self._until("it has ended", lambda: self._set(number)["state"] == "completed")
        self._until("it is charged", lambda: self._set(number)["charged_seconds"] is not None)
        self._comet("computeset", number)
        self._demo.show("list", "host", "vm", NODE, "status=yes")
        self._show(
            "sacct", "--allocations", "--duplicates", f"--name={name}",
            "--format=JobID,State,Start,End,ElapsedRaw,AllocNodes",
        )  # fmt: skip
        rows = self._slurm.ask(
            "sacct", "-n", "-X", "-D", "-P", f"--name={name}", "--format=ElapsedRaw,AllocNodes"
        )
        charged = sum(
            int(seconds) * int(nodes) for seconds, nodes in (row.split("|") for row in rows.splitlines())
        )
        if charged != self._set(number)["charged_seconds"] or not charged:
            raise IncoherentError(
                f"sacct charges {charged} node seconds, comet {self._set(number)['charged_seconds']}"
            )
        self._print(f"\ncomet and sacct print one charge: {charged} node seconds.")

    def _allocations(self) -> str:
        """Those of Nucleus, which an operator may have added to: each is an account of Slurm."""
        rows = self._machine_text("/opt/rocks/bin/nucleus", "allocation", "list").splitlines()[1:]
        return ",".join(row.split()[0] for row in rows)

    def _machine_text(self, *arguments: str) -> str:
        return self._site.machine.run_checked(arguments, _COMMAND_SECONDS).text.strip()

    def _show(self, program: str, *arguments: str) -> str:
        """Run a program of Slurm as root, print it with its output, and return that."""
        self._print(f"  # {shlex.join([program, *arguments])}")
        text = self._slurm.ask(program, *arguments)
        for line in text.splitlines():
            self._print(f"  {line}")
        return text

    def _comet(self, *arguments: str) -> None:
        self._print(f"  $ bin/comet {shlex.join(arguments)}")
        for line in self._comet_text(*arguments).splitlines():
            self._print(f"  {line}")

    def _comet_text(self, *arguments: str) -> str:
        environment = {**os.environ, "ROCKS_STATE": str(self._site.folder), "COLUMNS": "120"}
        for name in ("COMET_CONFIG", "COMET_ENDPOINT"):
            environment.pop(name, None)
        program = str(CHECKOUT / "bin" / "comet")
        finished = run([program, *arguments], deadline_seconds=_COMMAND_SECONDS, environment=environment)
        if finished.exit_status:
            raise ToolError(f"comet {shlex.join(arguments)} failed: {finished.error_text}")
        return finished.text

    def _sets(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._comet_text("computeset", *arguments, "--format=rest"))
        return found

    def _set(self, number: str) -> dict[str, Any]:
        found: Any = json.loads(self._comet_text("computeset", number, "--format=rest"))
        one: dict[str, Any] = found[0] if isinstance(found, list) else found
        return one

    def _until(self, what: str, is_so: Callable[[], bool]) -> None:
        begin = time.monotonic()
        while not is_so():
            if time.monotonic() > begin + _COMMAND_SECONDS:
                raise HostError(
                    f"not within {_COMMAND_SECONDS:g} s: {what}; logs are in {self._site.machine.log_folder}"
                )
            time.sleep(_PAUSE_SECONDS)
        self._progress.record(what, time.monotonic() - begin)
