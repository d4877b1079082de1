"""A site of any size behind the socket of Nucleus's executor: a program of its own, so that its work counts for nobody.

`python -m bench.nucleus.played_rocks SOCKET CLUSTERS COMPUTES`; each line of its input is a number of clusters that are
added then, as an operator's `rocks clone cluster` does, and answered by a line.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from lab.simulator import Simulator
from nucleus.backends.executor import Answer
from nucleus.backends.executor_service import ExecutorService


class PlayedRocks(Simulator):
    """The simulator, which makes each list once after a change; power of a frontend takes a second."""

    def run(self, arguments: Sequence[str], deadline_seconds: float) -> Answer:
        """See `Executor`."""
        key = tuple(arguments)
        if key[0] == "pragma":  # one cluster image; no cluster ever runs
            return Answer(0, _IMAGES if key[2] == "repository" else "", "")
        if key[0] in ("start", "stop") and not self._with_names(arguments)[3].startswith("vm-"):
            time.sleep(_FRONTEND_SECONDS)
        if key[0] != "list" or len(key) > _LONGEST_LIST:
            self._lists.clear()
            return super().run(arguments, deadline_seconds)
        if key not in self._lists:
            self._lists[key] = super().run(arguments, deadline_seconds)
        return self._lists[key]

    def __init__(self, clusters: int, computes: int) -> None:
        self._lists: dict[tuple[str, ...], Answer] = {}
        self._count, self._computes = clusters, computes
        super().__init__(clusters, computes)

    def clone(self, count: int) -> None:
        """So many clusters more, of the numbers that follow."""
        for number in range(self._count + 1, self._count + count + 1):
            self.add_cluster(f"vc{number}", self._computes)
        self._count += count
        self._lists.clear()


_FRONTEND_SECONDS = 1.0
_IMAGES = '[{"virtual image": "dock6"}]'
_LONGEST_LIST = 6
"""Words of `list host vm status=yes showdisks=yes json=yes`; that of one machine has as many, and its own name."""

if __name__ == "__main__":
    place, clusters, computes = sys.argv[1:]
    played = PlayedRocks(int(clusters), int(computes))
    service = ExecutorService(played, Path(place), {0})
    threading.Thread(target=service.serve_forever, daemon=True).start()
    for line in sys.stdin:
        played.clone(int(line))
        print("added", flush=True)
