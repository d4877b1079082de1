"""opensm's partitions.conf (opensm(8), PARTITION CONFIGURATION): generated lines between two markers.

Lines outside the markers belong to the operator.

Each member has its own line, which repeats name and key: opensm merges them, and a line of a thousand ports would be
hard to read and compare. A partition without members is omitted.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.network.infiniband.guids import guid_text
from rocks.network.infiniband.pkeys import DEFAULT_PKEY, pkey_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rocks.network.infiniband.partition_rules import Partition, PartitionMember, PartitionTable

BEGIN = "# rocks: begin"
END = "# rocks: end"
_HINT = " - written by `rocks sync ib partitions`; lines above and below the two markers are yours"


def generated_section(table: PartitionTable) -> str:
    """The generated section, with its markers."""
    members: defaultdict[int, list[PartitionMember]] = defaultdict(list)
    for member in sorted(table.members):
        members[member.pkey].append(member)
    lines = [BEGIN + _HINT]
    if table.default_membership != "none":
        lines.append(
            f"Default={pkey_text(DEFAULT_PKEY)}, ipoib : ALL={table.default_membership}, SELF=full ;"
        )
    for partition in sorted(table.partitions, key=lambda partition: partition.pkey):
        lines += _partition(partition, members[partition.pkey])
    return "".join(f"{line}\n" for line in (*lines, END))


def with_section(existing: str, ours: str) -> str:
    """The file with the section replaced, or appended; every other line stays.

    StateError when the markers are not exactly one pair.
    """
    lines = existing.splitlines(keepends=True)
    begins = [number for number, line in enumerate(lines) if line.startswith(BEGIN)]
    ends = [number for number, line in enumerate(lines) if line.startswith(END)]
    if not begins and not ends:
        gap = "" if not existing or existing.endswith("\n") else "\n"
        return existing + gap + ours
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0]:
        raise StateError(
            f'its lines "{BEGIN}" and "{END}" are not exactly one pair; remove them and the lines between them, and '
            "run it again"
        )
    return "".join(lines[: begins[0]]) + ours + "".join(lines[ends[0] + 1 :])


def _partition(partition: Partition, members: list[PartitionMember]) -> Iterator[str]:
    flags = ", ipoib" if partition.has_ipoib else ""
    for member in members:
        yield (
            f"{partition.frontend}={pkey_text(partition.pkey)}{flags} : "
            f"{guid_text(member.guid)}={partition.membership} ; # {member.owner}"
        )
        flags = ""
