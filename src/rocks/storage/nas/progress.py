"""Progress of transfers, in memory only: a transfer that continues after a restart reports it again."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Collection, Dict, Iterable, List, Optional

from rocks.storage.life.image import Image
from rocks.storage.stream.pace import Progress
from rocks.storage.wire.replies import OperationRow


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

    def row(self, operation: str, action: str, zvol: str, image: Optional[Image]) -> OperationRow:
        """A row of the list of operations, with what is known of the image's work."""
        with self._lock:
            progress = None if image is None else self._entries.get(image.image_id)
        row = OperationRow(operation, action, zvol)
        if image is not None:
            row = replace(row, host=image.owner or image.peer, phase=_phase(image), reason=image.reason)
        if progress is None:
            return row
        left = progress.seconds_left
        return replace(
            row,
            percent=round(progress.percent, 1),
            bytes=progress.bytes_done,
            rate=round(progress.rate) or None,
            eta=None if left is None else round(left),
            reason="",  # that of an earlier attempt
        )

    def rows_without(self, named: Collection[str], images: Iterable[Image]) -> List[OperationRow]:
        """Rows of transfers without an operation: those of other images than the named."""
        with self._lock:
            running = set(self._entries)
        return [
            self.row("-", _phase(image), image.zvol, image)
            for image in images
            if image.image_id in running and image.zvol not in named
        ]


def _phase(image: Image) -> str:
    return "importing" if image.importing else image.state
