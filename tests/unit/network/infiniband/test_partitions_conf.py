"""opensm's partitions.conf: the generated section and the operator's lines."""

import pytest

from rocks.core.errors import StateError
from rocks.network.infiniband.partition_plan import Partition, PartitionMember, PartitionTable
from rocks.network.infiniband.partitions_conf import generated_section, with_section

TABLE = PartitionTable(
    "both",
    (
        Partition("vc2", 3, "limited", False),
        Partition("vc1", 2, "full", True),
        Partition("idle", 4, "full", True),
    ),
    (
        PartitionMember(3, 0x10000B, "vmc-0-0 mlx4_0 port 1"),
        PartitionMember(2, 0x10000D, "vmc-0-1 mlx4_0 port 1"),
        PartitionMember(2, 0x10000B, "vmc-0-0 mlx4_0 port 1"),
    ),
)
OURS = """\
# rocks: begin - written by `rocks sync ib partitions`; lines above and below the two markers are yours
Default=0x7fff, ipoib : ALL=both, SELF=full ;
vc1=0x0002, ipoib : 0x000000000010000b=full ; # vmc-0-0 mlx4_0 port 1
vc1=0x0002 : 0x000000000010000d=full ; # vmc-0-1 mlx4_0 port 1
vc2=0x0003 : 0x000000000010000b=limited ; # vmc-0-0 mlx4_0 port 1
# rocks: end
"""


def test_the_generated_section() -> None:
    """Sorted by key, then GUID; without clusters that do not run; the first line of a partition has its flags."""
    assert generated_section(TABLE) == OURS
    silent = generated_section(TABLE._replace(default_membership="none"))
    assert "Default" not in silent
    assert silent.count("\n") == OURS.count("\n") - 1


def test_the_operators_lines_stay() -> None:
    mine = "# mine\nstorage=0x0100 : ALL=limited ;"
    first = with_section(mine, OURS)
    assert first == mine + "\n" + OURS
    edited = first + "after=0x0101 : SELF ;\n"
    other = generated_section(TABLE._replace(partitions=(), members=()))
    assert with_section(edited, other) == mine + "\n" + other + "after=0x0101 : SELF ;\n"
    assert with_section(with_section(edited, other), OURS) == edited
    assert with_section("", OURS) == OURS


@pytest.mark.parametrize(
    "text", ["# rocks: begin\n", "# rocks: end\n", OURS + OURS, "# rocks: end\n# rocks: begin\n"]
)
def test_edited_markers(text: str) -> None:
    with pytest.raises(StateError, match="are not exactly one pair"):
        with_section(text, OURS)
