"""What a host knows: the stage that it must rebuild for each image, and what it was asked and has answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List, Mapping, NamedTuple, Optional, Set

from rocks.imgstorage.model.host_actions import HostImage
from rocks.imgstorage.store.file import LaterColumn, OutboxMessage, StoreFile
from rocks.wire.codec import decode, encode

_TABLES = """
CREATE TABLE copies (zvol TEXT PRIMARY KEY, image_id TEXT NOT NULL, record TEXT NOT NULL, details TEXT NOT NULL);
CREATE TABLE paused (zvol TEXT PRIMARY KEY);
CREATE TABLE requests (
  op_id TEXT PRIMARY KEY, nas TEXT NOT NULL, zvol TEXT NOT NULL, body BLOB NOT NULL, answer BLOB
);
"""

# the tables above are those of the first release, in new files too
_LATER = (LaterColumn("requests", "came", "INTEGER"),)

_KEPT_REQUESTS = 10_000


class CopyRecord(NamedTuple):
    """What this host has of an image. `details` is the way to its NAS: names, addresses, secrets, as they were sent."""

    image_id: str
    known: HostImage
    details: Mapping[str, Any]


class RequestRecord(NamedTuple):
    """What a NAS has asked. `answer` None while it is not answered; `came` in UNIX seconds, None in records of before
    it was kept.
    """

    op_id: str
    nas: str
    zvol: str
    body: bytes
    answer: Optional[bytes]
    came: Optional[int] = None


class HostStore(StoreFile):
    """The records of a host daemon."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLES, _LATER)

    # --- copies

    def copies(self) -> List[CopyRecord]:
        """All images that the host has something of."""
        return [_copy(row) for row in self.rows(f"SELECT {_COPY} FROM copies ORDER BY zvol")]

    def copy(self, zvol: str) -> Optional[CopyRecord]:
        """What it has of one."""
        found = self.rows(f"SELECT {_COPY} FROM copies WHERE zvol = ?", (zvol,))
        return _copy(found[0]) if found else None

    def keep(self, copy: CopyRecord) -> None:
        """That is what it has now."""
        texts = (json.dumps(encode(copy.known)), json.dumps(copy.details))
        self.change(
            "INSERT OR REPLACE INTO copies (zvol, image_id, record, details) VALUES (?, ?, ?, ?)",
            (copy.known.zvol, copy.image_id, *texts),
        )

    def forget(self, zvol: str) -> None:
        """It has nothing of that image any more."""
        self.change("DELETE FROM copies WHERE zvol = ?", (zvol,))

    # --- guests that were paused for want of room

    def paused(self) -> Set[str]:
        """Images whose guests the daemon has paused."""
        return {zvol for (zvol,) in self.rows("SELECT zvol FROM paused")}

    def set_paused(self, zvol: str) -> None:
        """Its guest is about to be paused."""
        self.change("INSERT INTO paused (zvol) VALUES (?) ON CONFLICT DO NOTHING", (zvol,))

    def set_resumed(self, zvol: str) -> None:
        """Its guest goes on."""
        self.change("DELETE FROM paused WHERE zvol = ?", (zvol,))

    # --- requests

    def request(self, op_id: str) -> Optional[RequestRecord]:
        """What was asked under that number."""
        found = self.rows(f"SELECT {_REQUEST} FROM requests WHERE op_id = ?", (op_id,))
        return RequestRecord(*found[0]) if found else None

    def open_requests(self) -> List[RequestRecord]:
        """Those that are not answered, in the order in which they came."""
        rows = self.rows(f"SELECT {_REQUEST} FROM requests WHERE answer IS NULL ORDER BY rowid")
        return [RequestRecord(*row) for row in rows]

    def begin(self, request: RequestRecord) -> bool:
        """Record it; False when one of that number is recorded already."""
        sql = f"INSERT INTO requests ({_REQUEST}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        return self.change(sql, request) == 1

    def answer(self, op_id: str, destination: str, body: bytes) -> None:
        """Record the answer, and send it. Asked again, it is the same."""
        with self.transaction():
            # the request itself goes: it may hold secrets
            self.change("UPDATE requests SET answer = ?, body = '' WHERE op_id = ?", (body, op_id))
            self.send_answer(op_id, destination, body)
            self.change(
                "DELETE FROM requests WHERE answer IS NOT NULL AND rowid < (SELECT MAX(rowid) FROM requests) - ?",
                (_KEPT_REQUESTS,),
            )

    def send_answer(self, op_id: str, destination: str, body: bytes) -> None:
        """Send an answer, for the first time or again."""
        self.post(OutboxMessage(f"answer-{op_id}", destination, "request", None, None, body))


_COPY = "image_id, record, details"
_REQUEST = ", ".join(RequestRecord._fields)


def _copy(row: Any) -> CopyRecord:
    return CopyRecord(row[0], decode(HostImage, json.loads(row[1]), "copy"), json.loads(row[2]))
