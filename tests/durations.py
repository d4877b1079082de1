"""The time that each part of the tests took, summed over all workers."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath


def seconds_by_part(tests: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """(folder, seconds) from (node id, seconds), the longest first.

    A part is a folder of tests/, or of tests/system/, where each folder is a subsystem.
    """
    seconds: dict[str, float] = defaultdict(float)
    for node_id, duration in tests:
        folders = PurePosixPath(node_id.partition("::")[0]).parent.parts
        seconds["/".join(folders[: 3 if "system" in folders else 2])] += duration
    return sorted(seconds.items(), key=lambda part: -part[1])
