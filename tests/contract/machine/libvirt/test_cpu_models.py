"""What `virsh` prints of CPU models; libvirt's test driver has the same list as QEMU's, and needs no daemon."""

from rocks.core.process import run_checked
from rocks.machine.cpu_models import COMMAND


def test_each_line_is_a_model() -> None:
    command = COMMAND.replace("qemu:///system", "test:///default").split()
    models = run_checked(command, deadline_seconds=20).text.split()
    assert {"qemu64", "Haswell", "EPYC"} <= set(models)
