"""What an owner does on the demo's site: gets a cluster of the operators, and types `comet`.

`comet` is outside of the site's network, as the web service is.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from lab.namespace import CHECKOUT
from lab.nucleus import ALLOCATION, PROJECT
from lab.progress import Progress
from lab.site import Site
from rocks.core.errors import ToolError
from rocks.core.process import Finished, run

_NUCLEUS = "/opt/rocks/bin/nucleus"
_POLL_SECONDS = 120.0
_COMMAND_SECONDS = 3600.0
_PAUSE_SECONDS = 1.0


class Owner:
    """The owner of the demo's project, who types commands in `folder`; `variables` are those of `comet` besides."""

    def __init__(
        self, site: Site, progress: Progress, folder: Path, variables: Mapping[str, str] | None = None
    ) -> None:
        self._site = site
        self._progress = progress
        self._folder = folder
        self._variables = variables or {}

    def get(self, cluster: str) -> None:
        """Have the operators give the project a cluster. ToolError when Nucleus does not see it in time."""
        end_at = time.monotonic() + _POLL_SECONDS
        while self._site.machine.run([_NUCLEUS, "cluster", "assign", cluster, PROJECT], 60.0).exit_status:
            if time.monotonic() > end_at:
                raise ToolError(f"Nucleus does not see the cluster {cluster} in {_POLL_SECONDS:g} s")
            time.sleep(_PAUSE_SECONDS)
        self._site.machine.run_checked([_NUCLEUS, "allocation", "permit", ALLOCATION, cluster], 60.0)

    def start(self, cluster: str, nodes: str) -> None:
        """Start a computeset of them, or power its nodes on: one of an earlier run is charged until its walltime."""
        sets = json.loads(self.answer("computeset", "--format=rest").text)
        if cluster in (one["cluster"] for one in sets):
            self.comet("power", "on", cluster, nodes, "--wait=600")
        else:
            self.comet("start", cluster, nodes, "--walltime=6h", "--wait=600")

    def macs(self, cluster: str) -> dict[str, str]:
        """Compute → its MAC address on the cluster's VLAN, as its owner sees it."""
        (found,) = json.loads(self.answer("cluster", cluster, "--format=rest").text)
        return {str(one["name"]): str(one["interface"][0]["mac"]) for one in found["computes"]}

    def comet(self, *arguments: str) -> None:
        """Type a command, and print it with its answer. ToolError when it fails."""
        self._progress.print(f"  $ comet {shlex.join(arguments)}")
        begin = time.monotonic()
        finished = self.answer(*arguments)
        for line in [*finished.error_text.splitlines(), *finished.text.splitlines()]:
            self._progress.print(f"  {line}")
        if finished.exit_status:
            raise ToolError(f"comet {shlex.join(arguments)} ended with exit status {finished.exit_status}")
        self._progress.record(f"comet {shlex.join(arguments)}", time.monotonic() - begin)

    def answer(self, *arguments: str) -> Finished:
        """What a command prints, whatever its exit status."""
        own = {"ROCKS_STATE": str(self._site.folder), "COLUMNS": "120"}
        program = ["/usr/bin/env", "-C", str(self._folder), str(CHECKOUT / "bin" / "comet"), *arguments]
        environment = {**os.environ, **own, **self._variables}
        return run(program, deadline_seconds=_COMMAND_SECONDS, environment=environment)
