"""Progress of transfers, in memory only: a transfer that continues after a restart reports it again."""

from __future__ import annotations

import threading
from typing import Any, Dict, Iterable, List, Optional

from rocks.storage.life.image import Image
from rocks.storage.stream.pace import Progress


class ProgressBoard:
    """The last report of each image's transfer."""

    def __init__(self) -> None:
        self._entries: Dict[str, Progress] = {}
        self._lock = threading.Lock()

    def report(self, image_id: str, progress: Progress) -> None:
        """Record the progress of a transfer."""
        with self._lock:
            self._entries[image_id] = progress

    def end(self, image_id: str) -> None:
        """The transfer has ended, successfully or not."""
        with self._lock:
            self._entries.pop(image_id, None)

    def fields(self, image: Optional[Image]) -> Dict[str, Any]:
        """The fields of a listing about an image's work."""
        with self._lock:
            progress = None if image is None else self._entries.get(image.image_id)
        row: Dict[str, Any] = {
            "host": None if image is None else image.owner or image.peer,
            "phase": None if image is None else image.state,
            "percent": None,
            "bytes": None,
            "rate": None,
            "eta": None,
            "reason": "" if image is None else image.reason,
        }
        if progress is not None:
            left = progress.seconds_left
            row.update(
                percent=round(progress.percent, 1),
                bytes=progress.bytes_done,
                rate=round(progress.rate),
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
