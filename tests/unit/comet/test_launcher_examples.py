"""The examples of launchers, by `comet launch`, with programs that stand for SSH, AutoDock Vina and MPI."""

from pathlib import Path

import pytest

from comet.cli import launch
from tests.contract.ssh_programs import path_with, write_ssh_programs
from tests.nucleus_server import NucleusServer
from tests.unit.comet.conftest import Comet

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "launchers"
VINA = """#!/bin/sh
# --config box --receptor FILE --ligand FILE --out FILE
[ -s "$2" ] && [ -s "$4" ] && [ "${8#poses/}" = "${6#ligands/}" ] || exit 1
echo "MODEL 1\nREMARK VINA RESULT:  -$(wc -l <"$6").5  0.000  0.000" >"$8"
"""
MPICC = """#!/bin/sh
[ "$*" = "-O2 -o ring ring.c" ] && cp ring.c ring
"""
MPIRUN = """#!/bin/sh
for program; do :; done
echo "$3 $5 on" $(cat "$2") && test -s "$program" && rm "$program"
"""


@pytest.fixture
def programs(folder: Path, server: NucleusServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = write_ssh_programs(folder / "hosts")
    monkeypatch.setenv("PATH", path_with(found))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(launch, "PAUSE_SECONDS", 0.01)
    server.clusters[0]["frontend"]["power"] = "on"
    return found


def write(folder: Path, **programs: str) -> None:
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


@pytest.mark.parametrize("count", ["2", "4"])
def test_docking_shares_the_ligands_and_lists_the_best_first(
    comet: Comet, programs: Path, folder: Path, count: str
) -> None:
    write(programs, vina=VINA)
    found = comet("launch", str(EXAMPLES / "docking"), "-n", count, "--group=screen")
    assert found.status == 0, found
    results = folder / "screen-results"
    assert (results / "scores").read_text() == "-12.5 phenol\n-11.5 toluene\n-10.5 benzene\n"
    assert sorted(it.name for it in (results / "poses").iterdir()) == [
        "benzene.pdbqt",
        "phenol.pdbqt",
        "toluene.pdbqt",
    ]
    nodes = [line.split()[2] for line in (folder / "hosts" / "log").read_text().splitlines() if "vm-" in line]
    assert len(set(nodes)) == int(count)


def test_a_program_with_mpi_is_built_brought_to_the_nodes_and_run(
    comet: Comet, programs: Path, folder: Path
) -> None:
    write(programs, mpicc=MPICC, mpirun=MPIRUN)
    found = comet("launch", str(EXAMPLES / "mpi"))
    assert found.status == 0, found
    assert (folder / "mpi-results" / "ring.txt").read_text() == "--map-by -n on vm-vc2-0 vm-vc2-1\n"
