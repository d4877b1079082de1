"""Workers claim operations: which one is next, so that no project keeps the others waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror.columns import placeholders
from nucleus.mirror.operations import find_operation
from nucleus.mirror.pool import lock_name
from nucleus.records import SYSTEM, Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session

WORKER_LOCK = "worker."
"""A worker holds the server's lock of this name and its own; it is free when the worker has ended."""

_RUNNING_OF = (
    "SELECT m.physical_host, r.project_id, COUNT(*) AS busy FROM operation r"
    " JOIN node m ON m.id = r.target_node WHERE r.state = 'running'"
)
_NEXT = f"""
SELECT o.id FROM (
    SELECT MIN(id) AS id FROM operation WHERE state = 'queued' AND target_node IS NOT NULL GROUP BY target_node
    UNION ALL SELECT id FROM operation WHERE state = 'queued' AND target_node IS NULL
    UNION ALL SELECT id FROM operation WHERE state = 'running'
  ) candidate JOIN operation o ON o.id = candidate.id
  LEFT JOIN node n ON n.id = o.target_node
  LEFT JOIN (SELECT project_id, COUNT(*) AS busy FROM operation WHERE state = 'running' GROUP BY project_id) p
    ON p.project_id <=> o.project_id
  LEFT JOIN ({_RUNNING_OF} GROUP BY m.physical_host) h ON h.physical_host = n.physical_host
  LEFT JOIN ({_RUNNING_OF} GROUP BY m.physical_host, r.project_id) s
    ON s.physical_host = n.physical_host AND s.project_id = o.project_id
WHERE o.kind IN ({{kinds}})
  AND (o.not_before IS NULL OR o.not_before <= UTC_TIMESTAMP(3)) AND (
    (o.state = 'running' AND o.worker <> %s AND IS_FREE_LOCK(CONCAT(%s, o.worker)))
    OR (o.state = 'running' AND o.worker = %s AND o.id NOT IN ({{in_hand}}))
    OR (o.state = 'queued' AND (o.project_id IS NULL OR IFNULL(p.busy, 0) < %s) AND (o.target_node IS NULL OR (
      NOT EXISTS (SELECT 1 FROM operation r WHERE r.busy_node = o.target_node)
      AND IFNULL(h.busy, 0) < IF(s.busy > 0, %s, %s)))))
ORDER BY o.state = 'queued', IFNULL(p.busy, 0), FIELD(IFNULL(o.project_id, 0), {{served}}),
  o.unique_key IS NULL, o.id LIMIT 1
"""
"""Of each node only the oldest operation can be next: a node does them in the order in which they were asked for.

The parts of an operation come before those that look every second whether their parts have ended.
"""


class Claimant:
    """A worker as it claims: what it has in hand, and which projects have had their turn.

    At most `per_host` operations run on the machines of a physical host. The last quarter of that, and of the worker's
    threads, is for projects of which nothing runs: operations may take minutes, and others must not wait for their end,
    however many projects are busy.
    """

    def __init__(self, name: str, threads: int, per_host: int, kinds: Sequence[str]) -> None:
        self.name = name
        self._share = _share(threads)
        self._per_host = per_host
        self._kinds = list(kinds)
        self._in_hand: list[str] = []
        self._served: list[int] = []

    def claim(self, session: Session) -> Operation | None:
        """Take the operation that is next; None when none can be done now. After the commit comes `begin`.

        First those whose worker has ended, and those that this one claimed without learning of it. Then it is the turn
        of the project that has the fewest running, and of these of the one whose last turn was first.
        """
        # one claim at a time: otherwise two would count the operations of a host at the same time
        session.row("SELECT name FROM lease WHERE name = 'claims' FOR UPDATE")
        in_hand = self._in_hand.copy()  # others end some meanwhile
        row = session.row(
            _NEXT.format(
                kinds=placeholders(self._kinds), in_hand=placeholders(in_hand) if in_hand else "''",
                served=placeholders(self._served),
            ),
            [
                *self._kinds, self.name, lock_name(session.settings, WORKER_LOCK), self.name, *in_hand,
                self._share if len(in_hand) < self._share else 1, _share(self._per_host), self._per_host, *self._served,
            ],
        )  # fmt: skip
        if row is None:
            return None
        taken = session.execute(  # unless its asker has cancelled it since
            "UPDATE operation SET state = 'running', worker = %s, attempts = attempts + 1,"
            " generation = generation + 1, started = IFNULL(started, UTC_TIMESTAMP(3)), not_before = NULL"
            " WHERE id = %s AND state IN ('queued', 'running')",
            (self.name, row[0]),
        )
        return find_operation(session, SYSTEM, row[0]) if taken else None

    def begin(self, operation: Operation) -> None:
        """Count the operation as in hand until `end`."""
        self._in_hand.append(
            operation.id
        )  # once more where it was put back, and its thread has not ended yet
        project = operation.project_id or 0
        if project in self._served:
            self._served.remove(project)
        self._served.append(project)

    def end(self, operation: Operation) -> None:
        """Count the operation no longer: it is done, or put back."""
        self._in_hand.remove(operation.id)


def _share(count: int) -> int:
    return max(1, count * 3 // 4)
