"""The frontend of a second site over the lab's machines: its own folders and database, in mounts of its own.

It shares the lab's network, so both frontends have the same address there; each host belongs to one of them.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.machines.checkout import CHECKOUT
from lab.machines.namespace import FOLDERS, Namespace
from lab.machines.roster import Description
from lab.processes import end
from rocks.core.process import Finished, run, run_checked, start_in_background
from tests.waiting import wait_until

_SECONDS = 300.0
_BIND = "mount --bind {0}/frontend{1} {1}"
_BEGIN = """\
import sys
from pathlib import Path
from lab.machines.frontend import Frontend
from lab.machines.roster import MACHINES
frontend = Frontend(Path(sys.argv[1]), Path(sys.argv[2]))
own = [machine for machine in MACHINES if machine.name in sys.argv[3:]]
frontend.start()
frontend.begin_anew()
frontend.describe_site(own)
frontend.share_keys(own)
"""


class SecondFrontend:
    """It exists between `start` and `stop`, over a folder that `start` makes."""

    def __init__(self, folder: Path, operator_key: Path) -> None:
        self._namespace = Namespace(folder)
        self.folder, self._key = folder, operator_key
        self._holder = 0

    def start(self, machines: Sequence[Description]) -> None:
        """Have the site described, with these hosts, which know its key then."""
        for place, mode in FOLDERS.items():
            self._namespace.outside(place).mkdir(mode=mode, parents=True)
            self._namespace.outside(place).chmod(mode)
        binds = " && ".join(_BIND.format(self.folder, place) for place in FOLDERS)
        program = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"{binds} && exec sleep inf"]
        self._holder = start_in_background(program, self.folder / "holder.log")
        wait_until(self._namespace.members, lambda: (self.folder / "holder.log").read_text())
        wait_until(lambda: Path(f"/proc/{self._holder}/comm").read_text() == "sleep\n", "no sleep")
        names = [machine.name for machine in machines]
        begin = [sys.executable, "-c", _BEGIN, str(self.folder), str(self._key), *names]
        run_checked(self.inside(begin), deadline_seconds=_SECONDS, environment=self._environment())

    def stop(self) -> None:
        """End all that runs there."""
        end(self._namespace.members(), 0)

    def inside(self, arguments: Sequence[str]) -> list[str]:
        """The program, in the mounts of this site."""
        mounts = f"--mount=/proc/{self._holder}/ns/mnt"
        return ["nsenter", mounts, f"--wdns={CHECKOUT}", "--", *arguments]

    def rocks(self, *arguments: str) -> Finished:
        """Run a command, whatever its exit status."""
        program = self.inside([str(CHECKOUT / "bin/rocks"), *arguments])
        return run(program, deadline_seconds=_SECONDS, environment=self._environment())

    def done(self, *arguments: str) -> str:
        """Run a command that must succeed; returns its output."""
        finished = self.rocks(*arguments)
        assert finished.exit_status == 0, f"rocks {arguments}: {finished.error_text}{finished.text}"
        return finished.text

    def kill(self, arguments: Sequence[str]) -> int:
        """End the programs with these arguments in their command lines by SIGKILL; returns their number."""
        found = [
            process
            for process in self._namespace.members()
            if set(arguments) <= set(_arguments(process.process_id))
        ]
        end(found, 0)
        return len(found)

    def _environment(self) -> dict[str, str]:
        python_path = f"{CHECKOUT}:{CHECKOUT / 'src'}"
        return {**os.environ, "ROCKS_STATE": str(self.folder), "PYTHONPATH": python_path}


def _arguments(process_id: int) -> list[str]:
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
