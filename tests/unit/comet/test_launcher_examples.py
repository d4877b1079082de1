"""The examples of launchers, by `comet launch`, with programs that stand for SSH, AutoDock Vina and MPI."""

from pathlib import Path

import pytest

from tests.unit.comet.launching import Launching, it

__all__ = ["it"]

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


@pytest.mark.parametrize("count", ["2", "4"])
def test_docking_shares_the_ligands_and_lists_the_best_first(it: Launching, count: str) -> None:
    it.write_programs(vina=VINA)
    found = it.comet("launch", str(EXAMPLES / "docking"), "-n", count, "--group=screen")
    assert found.status == 0, found
    results = it.folder / "screen-results"
    assert (results / "scores").read_text() == "-12.5 phenol\n-11.5 toluene\n-10.5 benzene\n"
    assert sorted(pose.name for pose in (results / "poses").iterdir()) == [
        "benzene.pdbqt",
        "phenol.pdbqt",
        "toluene.pdbqt",
    ]
    nodes = [
        line.split()[2] for line in (it.folder / "hosts" / "log").read_text().splitlines() if "vm-" in line
    ]
    assert len(set(nodes)) == int(count)


def test_a_program_with_mpi_is_built_brought_to_the_nodes_and_run(it: Launching) -> None:
    it.write_programs(mpicc=MPICC, mpirun=MPIRUN)
    found = it.comet("launch", str(EXAMPLES / "mpi"))
    assert found.status == 0, found
    assert (it.folder / "mpi-results" / "ring.txt").read_text() == "--map-by -n on vm-vc2-0 vm-vc2-1\n"
