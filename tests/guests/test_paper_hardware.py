"""`tools/paper-hardware` with real programs: pw.x over three machines by Ethernet, perftest by rdma_rxe between two.

Each machine is a host and its own guest. What only hardware has, KVM and virtual functions, is stated to be there.
UCX, by which pw.x would use InfiniBand, is set to TCP: over rdma_rxe it timed out (UCX 1.13, Linux 6.1).
"""

import os
import re
import shlex
from pathlib import Path

import pytest

from lab.demos.cluster import CLUSTER, DemoCluster
from lab.demos.image_demo import answer_of
from lab.site import Site
from rocks.core.process import run
from tests.guests.test_demo_cluster import machines_folder, run_demo, site
from tests.system.lab.conftest import CHECKOUT

__all__ = ["machines_folder", "site"]

pytestmark = pytest.mark.guests

NAMES = (CLUSTER, f"vm-{CLUSTER}-0", f"vm-{CLUSTER}-1")
PSEUDOPOTENTIAL = "H.pz-vbc.UPF"
HYDROGEN = f"""&control
  pseudo_dir = '.', outdir = '.', disk_io = 'none'
/
&system
  ibrav = 1, celldm(1) = 6, nat = 2, ntyp = 1, ecutwfc = 10
/
&electrons
  conv_thr = 1d-4
/
ATOMIC_SPECIES
H 1 {PSEUDOPOTENTIAL}
ATOMIC_POSITIONS bohr
H 0 0 0
H 0 0 1.4
K_POINTS gamma
"""
SETTINGS = r"""
set -e
modprobe rdma_rxe
device=$(ip -o -4 address show to 10.1.0.0/16 | cut -d ' ' -f 2)
[ -e /sys/class/infiniband/rxe0 ] || rdma link add rxe0 type rxe netdev "$device"
ucx=OMPI_MCA_opal_common_ucx
printf '%s\n' UCX_TLS=tcp,self ${ucx}_tls=any ${ucx}_devices=any >>/etc/environment
"""
SECONDS = 1800.0
SSH = """#!/bin/sh
hardware='s,-c /dev/kvm,-c /dev/null,; s,^cat /sys/.*/sriov_numvfs,echo 1,'
for word; do
  shift
  set -- "$@" "$(printf %s "$word" | sed "$hardware")"
done
exec LINE "$@"
"""


class _Cluster(DemoCluster):
    """A frontend and two computes."""

    image_kind = "hardware"
    computes = 2


@pytest.fixture
def names(site: Site, tmp_path: Path) -> tuple[str, ...]:
    """The machines, which answer by SSH and have a port of RDMA on the network of their cluster."""
    run_demo(site, tmp_path, _Cluster)
    for name in NAMES:
        answer_of(site, site.folder / f"ssh-{CLUSTER}" / "config", name, SETTINGS)
    return NAMES


def test_numbers_of_real_programs_are_read(site: Site, names: tuple[str, ...], tmp_path: Path) -> None:
    config = site.folder / f"ssh-{CLUSTER}" / "config"
    init = site.machine.init()
    assert init is not None
    # an emulated machine takes long for each connection; the first of an option's values counts
    enter = f"nsenter -n -t {init.process_id} /usr/bin/ssh -F {shlex.quote(str(config))} -o ConnectTimeout=55"
    program = tmp_path / "programs" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH.replace("LINE", enter))
    program.chmod(0o755)
    folder = tmp_path / "input"
    folder.mkdir()
    (folder / "pw.in").write_text(HYDROGEN)
    (folder / PSEUDOPOTENTIAL).write_text(
        answer_of(site, config, names[0], f"cat /usr/share/espresso/pseudo/{PSEUDOPOTENTIAL}")
    )
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "RUNS": "1"}
    line = [str(CHECKOUT / "tools" / "paper-hardware"), str(folder), *names, *names]
    found = run(line, deadline_seconds=SECONDS, environment=environment)
    print(found.text + found.error_text)
    assert found.exit_status == 0
    rows = found.text.splitlines()
    assert [row.split(" | ")[0] for row in rows] == [
        *["| `near-native InfiniBand latency/bandwidth`"] * 2,
        "| `8% slower w/ SR-IOV vs native IB`",
    ]
    for row, unit in zip(rows, ("us", "MB/s", "s of 3 processes"), strict=True):
        number = rf"[0-9.]*[1-9][0-9.]* {re.escape(unit)}"
        assert re.search(rf"\| {number} on hosts \| {number} in guests \| [+-][0-9.]+ % \|$", row), row
