"""The space that the copies which a host receives at this moment still need: no two of them count on the same."""

from __future__ import annotations

import threading
from typing import Callable, Dict, Optional, Tuple


class RunningCopies:
    """Image → its pool, and the bytes that its copy still needs there. Any thread may call it."""

    def __init__(self) -> None:
        self._needs: Dict[str, Tuple[str, int]] = {}
        self._lock = threading.Lock()

    def needed_by_others(self, zvol: str, pool: str) -> int:
        """Bytes in the pool for other copies."""
        others = [
            needed for name, (place, needed) in self._needs.copy().items() if name != zvol and place == pool
        ]
        return sum(others)

    def admit(
        self, zvol: str, pool: str, needed_bytes: int, shortage: Callable[[int], Optional[str]]
    ) -> Optional[str]:
        """The result of `shortage`, which gets `needed_by_others`; when that is None, the copy's need is recorded.

        No other copy is admitted in between, so `shortage` reads no pool: that may hang.
        """
        with self._lock:
            found = shortage(self.needed_by_others(zvol, pool))
            if found is None:
                self._needs[zvol] = pool, needed_bytes
            return found

    def expect(self, zvol: str, pool: str, needed_bytes: int) -> None:
        """The copy was received; these bytes are needed until its `end`."""
        with self._lock:
            self._needs[zvol] = pool, needed_bytes

    def end(self, zvol: str) -> None:
        """The copy is complete and merged, or was interrupted."""
        with self._lock:
            self._needs.pop(zvol, None)
