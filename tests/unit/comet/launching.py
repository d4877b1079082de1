"""A launcher, and `comet launch` with a program that stands for ssh."""

from pathlib import Path

import pytest

from comet.cli import launch
from comet.client import launch_frontend
from tests.contract.ssh_programs import path_with, write_ssh_programs
from tests.unit.comet.conftest import Comet, Result

ADDRESS = "203.0.113.9"
COMMAND = 'echo x >>../../runs; echo "$(cat nodes) say hello"; mkdir -p poses; cp ligands/a poses'


class Launching:
    """A launcher `dock` for two nodes, in the folder from which it is launched; `root` has the hosts."""

    def __init__(self, comet: Comet, folder: Path) -> None:
        self.comet, self.folder, self.root = comet, folder, folder / "hosts"
        self.server, self.patch = comet.server, comet.patch
        self.programs = write_ssh_programs(self.root)
        (folder / "dock" / "ligands").mkdir(parents=True)
        (folder / "dock" / "ligands" / "a").write_text("a ligand\n")
        self.write()

    def write(self, command: str = COMMAND, **more: str) -> None:
        values = {"nodes": "2", "walltime": '"2h"', "files": '["ligands"]', "results": '["poses"]', **more}
        values["command"] = f"'''{command}'''"
        (self.folder / "dock" / "launcher.toml").write_text(
            "".join(f"{key} = {it}\n" for key, it in values.items())
        )

    def run(self, *typed: str) -> Result:
        return self.comet("launch", "dock", *typed)

    def write_programs(self, **programs: str) -> None:
        """Name → text of programs that stand for those of a cluster."""
        for name, text in programs.items():
            (self.programs / name).write_text(text)
            (self.programs / name).chmod(0o755)

    def runs(self) -> int:
        """How often the command was started."""
        file = self.root / ADDRESS / "runs"
        return len(file.read_text()) // 2 if file.exists() else 0

    def states(self) -> list[str]:
        return [str(it["state"]) for it in self.server.sets.values()]

    def left_on_frontend(self) -> list[Path]:
        return list(self.root.glob(f"{ADDRESS}/comet-launch/*"))


@pytest.fixture
def it(comet: Comet, folder: Path) -> Launching:
    found = Launching(comet, folder)
    comet.patch.setenv("PATH", path_with(found.programs))
    comet.patch.delenv("XDG_STATE_HOME", raising=False)
    comet.patch.chdir(folder)
    comet.patch.setattr(launch, "PAUSE_SECONDS", 0.01)
    # where no init collects ended processes, they seem to live on
    comet.patch.setattr(launch_frontend, "_STOP", launch_frontend._STOP.replace("0.2 0.5 1 2", ""))
    comet.server.clusters[0]["frontend"]["power"] = "on"
    return found
