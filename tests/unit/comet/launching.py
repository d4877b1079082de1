"""A launcher, and `comet launch` with a program that stands for ssh."""

from pathlib import Path

import pytest

from comet.cli import launch
from comet.client import frontend
from tests.contract.ssh_programs import path_with, write_ssh_programs
from tests.nucleus_server import NucleusServer
from tests.unit.comet.conftest import Comet, Result

ADDRESS = "203.0.113.9"
COMMAND = 'echo x >>../../runs; echo "$(cat nodes) say hello"; mkdir -p poses; cp ligands/a poses'


class Launching:
    """A launcher `dock` for two nodes, in the folder from which it is launched; `root` has the hosts."""

    def __init__(self, comet: Comet, folder: Path, server: NucleusServer) -> None:
        self.comet, self.folder, self.server, self.root = comet, folder, server, folder / "hosts"
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

    def runs(self) -> int:
        """How often the command was started."""
        file = self.root / ADDRESS / "runs"
        return len(file.read_text()) // 2 if file.exists() else 0

    def states(self) -> list[str]:
        return [str(it["state"]) for it in self.server.sets.values()]

    def left_on_frontend(self) -> list[Path]:
        return list(self.root.glob(f"{ADDRESS}/comet-launch/*"))


@pytest.fixture
def it(comet: Comet, folder: Path, server: NucleusServer, monkeypatch: pytest.MonkeyPatch) -> Launching:
    monkeypatch.setenv("PATH", path_with(write_ssh_programs(folder / "hosts")))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(launch, "PAUSE_SECONDS", 0.01)
    # where no init collects ended processes, they seem to live on
    monkeypatch.setattr(frontend, "_STOP", frontend._STOP.replace("0.2 0.5 1 2", ""))
    server.clusters[0]["frontend"]["power"] = "on"
    return Launching(comet, folder, server)
