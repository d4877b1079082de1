"""Progress of transfers, in memory only: a transfer that continues after a restart reports it again."""

from __future__ import annotations

import threading
from typing import Any, Dict, Iterable, List, NamedTuple, Optional

from rocks.storage.life.image import Image
from rocks.storage.stream.pace import Progress


class _Entry(NamedTuple):
    phase: str
    progress: Progress
    since: int


class ProgressBoard:
    """The last report of each image's transfer."""

    def __init__(self) -> None:
        self._entries: Dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def report(self, image_id: str, phase: str, progress: Progress, now_seconds: int) -> None:
        """Record the progress of a transfer."""
        with self._lock:
            before = self._entries.get(image_id)
            since = before.since if before is not None and before.phase == phase else now_seconds
            self._entries[image_id] = _Entry(phase, progress, since)

    def end(self, image_id: str) -> None:
        """The transfer has ended, successfully or not."""
        with self._lock:
            self._entries.pop(image_id, None)

    def since(self) -> Dict[str, int]:
        """When each transfer under way began, UNIX seconds, by image."""
        with self._lock:
            return {image_id: entry.since for image_id, entry in self._entries.items()}

    def fields(self, image: Optional[Image]) -> Dict[str, Any]:
        """The fields of a listing about an image's work."""
        with self._lock:
            entry = None if image is None else self._entries.get(image.image_id)
        row: Dict[str, Any] = {
            "host": None if image is None else image.owner or image.peer,
            "phase": None if image is None else image.state,
            "percent": None,
            "bytes": None,
            "rate": None,
            "eta": None,
            "reason": "" if image is None else image.reason,
        }
        if entry is not None:
            left = entry.progress.seconds_left
            row.update(
                percent=round(entry.progress.percent, 1),
                bytes=entry.progress.bytes_done,
                rate=round(entry.progress.rate),
                eta=None if left is None else round(left),
            )
        return row

    def rows_without(self, rows: List[Dict[str, Any]], images: Iterable[Image]) -> List[Dict[str, Any]]:
        """Rows of transfers without an operation."""
        named = {row["image"] for row in rows}
        with self._lock:
            running = set(self._entries)
        return [
            {"op": "-", "action": image.state, "image": image.zvol, **self.fields(image)}
            for image in images
            if image.image_id in running and image.zvol not in named
        ]
