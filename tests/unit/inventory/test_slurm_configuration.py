"""slurm.conf of a site's own Slurm; a real slurmctld reads it in tests/system/nucleus."""

import pytest

from rocks.core.errors import StateError
from rocks.inventory.slurm_configuration import (
    MARK,
    SlurmNode,
    check_named_once,
    node_names,
    slurm_configuration,
)

COMPUTE = SlurmNode("compute-0-0", None, 8, has_machines=False)
CONTAINER = SlurmNode("vmc-0-0", "10.1.0.2", 16, has_machines=True)


def test_hosts_with_machines_are_in_the_partition_of_computesets_and_all_in_that_of_batch_jobs() -> None:
    text = slurm_configuration("head", "10.1.1.1", [COMPUTE, CONTAINER], "MaxJobCount=5\n")
    assert text.startswith(MARK)
    assert node_names(text) == {"compute-0-0", "vmc-0-0"}
    assert "\nNodeName=compute-0-0 CPUs=8\nNodeName=vmc-0-0 NodeAddr=10.1.0.2 CPUs=16\n" in text
    assert "\nPartitionName=batch Nodes=ALL " in text and "\nPartitionName=virt Nodes=vmc-0-0 " in text
    assert text.endswith("\nMaxJobCount=5\n"), "of a parameter that is there twice, the last one counts"
    assert "virt" not in slurm_configuration("head", "10.1.1.1", [COMPUTE], "")


def test_a_program_of_the_site_is_in_the_place_of_ours() -> None:
    """Slurm 24.11 would run both, where 22.05 takes the last one."""
    text = slurm_configuration(
        "head", "10.1.1.1", [COMPUTE], " epilog = /site/end\nHealthCheckProgram=/site/health\n"
    )
    hooks = [line.strip() for line in text.split("\n") if "hook" in line.lower() or "log" in line.lower()[:8]]
    assert hooks == ["PrologFlags=Alloc", "Prolog=/opt/rocks/libexec/rocks-host-free", "epilog = /site/end"]
    assert text.index("HealthCheckProgram=/opt") < text.index("HealthCheckProgram=/site")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "no host gets jobs of Slurm: rocks set appliance attr compute slurm_server 10.1.1.1"),
        ([CONTAINER._replace(name="a\nProlog=/tmp/x")], "is no name or address of a host"),
        ([CONTAINER._replace(address="10.1.0.2 State=DOWN")], "is no name or address of a host"),
    ],
)
def test_records_of_which_there_is_no_configuration(nodes: list[SlurmNode], message: str) -> None:
    with pytest.raises(StateError, match=message):
        slurm_configuration("head", "10.1.1.1", nodes, "")


def test_nodes_of_the_sites_lines_are_read_as_slurm_reads_them() -> None:
    lines = (
        "NodeName=DEFAULT CPUs=2\nnodename=default State=UNKNOWN\n nodename = extra[1-3]\nNODENAME=defaults\n"
        "NodeName=a[08-11,3],b CPUs=1\nNodeName=r[1-2]n[0-1]x\nNodeName=broken[1-\nNodeName=odd[a-b]\n"
        "NodeName=more[0-999999999]\n"
    )
    text = slurm_configuration("head", "10.1.1.1", [COMPUTE], lines)
    found = node_names(text)
    assert {name for name in found if not name.startswith("more")} == {
        *("compute-0-0", "defaults", "extra1", "extra2", "extra3"),
        *("a08", "a09", "a10", "a11", "a3", "b"),
        *("r1n0x", "r1n1x", "r2n0x", "r2n1x", "broken[1-", "odd[a-b]"),
    }
    assert len(found) < 70_000, "a slip of the pen does not take all memory"


def test_a_node_of_the_database_is_none_of_the_sites_lines() -> None:
    check_named_once([COMPUTE, CONTAINER], "NodeName=extra[1-3]\n", "/etc/slurm/site.conf")
    with pytest.raises(
        StateError, match=r"^/etc/slurm/site.conf has a line NodeName for compute-0-0, .*: remove it"
    ):
        check_named_once([CONTAINER, COMPUTE], "NodeName=compute-0-[0-9] CPUs=1\n", "/etc/slurm/site.conf")
