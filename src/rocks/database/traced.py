"""A database that prints every statement, for ROCKSDEBUG."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rocks.database.connection import Database

if TYPE_CHECKING:
    from collections.abc import Sequence


class TracedDatabase(Database):
    """Prints each statement with its values on standard error before it is sent, and each commit and rollback."""

    def _send_commit(self) -> None:
        print("SQL: COMMIT", file=sys.stderr)
        super()._send_commit()

    def rollback(self) -> None:
        """As in `Database`."""
        print("SQL: ROLLBACK", file=sys.stderr)
        super().rollback()

    def _run(self, sql: str, values: Sequence[Any] = ()) -> Any:
        print(f"SQL: {' '.join(sql.split())} {list(values) or ''}".rstrip(), file=sys.stderr)
        return super()._run(sql, values)
