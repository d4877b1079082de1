"""The records of a host: the stage to rebuild for each image, and requests with their answers."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, List, Mapping, NamedTuple, Optional, Set

from rocks.fleet.wire.codec import decode_lenient, encode
from rocks.storage.image.image import HostImage
from rocks.storage.store.file import OutboxMessage, StoreFile, numbered, unnumbered
from rocks.storage.wire.messages import HOST_NEWS, write_message
from rocks.storage.wire.names import nas_queue

_TABLES = """
CREATE TABLE copies (zvol TEXT PRIMARY KEY, image_id TEXT NOT NULL, record TEXT NOT NULL, details TEXT NOT NULL);
CREATE TABLE paused (zvol TEXT PRIMARY KEY);
CREATE TABLE requests (
  op_id TEXT PRIMARY KEY, nas TEXT NOT NULL, zvol TEXT NOT NULL, body BLOB NOT NULL, answer BLOB,
  came INTEGER, digest TEXT
);
"""

_STORED_REQUESTS = 10_000


class CopyRecord(NamedTuple):
    """This host's part of an image. `details` has the access to its NAS: names, addresses, secrets, as received.

    And `by_volume`, the epoch in which the record was made from volumes, since the host had lost it.
    """

    image_id: str
    known: HostImage
    details: Mapping[str, Any]


class RequestRecord(NamedTuple):
    """A request of a NAS. `answer` is None until it is answered; `came` in UNIX seconds. `digest` distinguishes it
    from another request of the same number.
    """

    op_id: str
    nas: str
    zvol: str
    body: bytes
    answer: Optional[bytes]
    came: int
    digest: str


class HostStore(StoreFile):
    """The records of a host daemon."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLES)

    # --- copies

    def copies(self) -> List[CopyRecord]:
        """All images of which the host has a part."""
        return [_copy(row) for row in self.rows(f"SELECT {_COPY} FROM copies ORDER BY zvol")]

    def copy(self, zvol: str) -> Optional[CopyRecord]:
        """The host's part of one image."""
        found = self.rows(f"SELECT {_COPY} FROM copies WHERE zvol = ?", (zvol,))
        return _copy(found[0]) if found else None

    def keep(self, copy: CopyRecord) -> None:
        """Store the host's part of an image."""
        texts = (json.dumps(numbered(encode(copy.known))), json.dumps(copy.details))
        self.change(
            "INSERT OR REPLACE INTO copies (zvol, image_id, record, details) VALUES (?, ?, ?, ?)",
            (copy.known.zvol, copy.image_id, *texts),
        )

    # --- guests that were paused for lack of free space

    def paused(self) -> Set[str]:
        """Images whose guests the daemon has paused."""
        return {zvol for (zvol,) in self.rows("SELECT zvol FROM paused")}

    def set_paused(self, zvol: str) -> None:
        """Record it before its guest is paused."""
        self.change("INSERT INTO paused (zvol) VALUES (?) ON CONFLICT DO NOTHING", (zvol,))

    def set_resumed(self, zvol: str) -> None:
        """Record that its guest runs again."""
        self.change("DELETE FROM paused WHERE zvol = ?", (zvol,))

    # --- requests

    def request(self, op_id: str) -> Optional[RequestRecord]:
        """The request with that id."""
        found = self.rows(f"SELECT {_REQUEST} FROM requests WHERE op_id = ?", (op_id,))
        return RequestRecord(*found[0]) if found else None

    def open_requests(self) -> List[RequestRecord]:
        """The unanswered requests, in the order of arrival."""
        rows = self.rows(f"SELECT {_REQUEST} FROM requests WHERE answer IS NULL ORDER BY rowid")
        return [RequestRecord(*row) for row in rows]

    def begin(self, request: RequestRecord) -> bool:
        """Record it; False when one with that id is recorded."""
        sql = f"INSERT INTO requests ({_REQUEST}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        return self.change(sql, request) == 1

    def answer(self, op_id: str, destination: str, body: bytes, sent: Optional[bytes] = None) -> None:
        """Record the answer, and send it, or `sent`, which has secrets besides. A repeated request gets the former."""
        with self.transaction():
            # the request itself is removed: it may contain secrets
            self.change("UPDATE requests SET answer = ?, body = '' WHERE op_id = ?", (body, op_id))
            self.send_answer(op_id, destination, sent or body)
            self.change(
                "DELETE FROM requests WHERE answer IS NOT NULL AND rowid < (SELECT MAX(rowid) FROM requests) - ?",
                (_STORED_REQUESTS,),
            )

    def send_answer(self, op_id: str, destination: str, body: bytes) -> None:
        """Send an answer, also repeatedly."""
        self.post(OutboxMessage(f"answer-{op_id}", destination, "request", None, None, body))

    def report(self, nas: str, fields: Mapping[str, Any], image_id: str = "", epoch: int = 0) -> str:
        """Send a report to a NAS that has not asked for it; returns the message's id."""
        number = str(uuid.uuid4())
        body = write_message(HOST_NEWS, fields, image_id=image_id or None, epoch=epoch or None)
        self.post(OutboxMessage(number, nas_queue(nas), "request", None, None, body))
        return number


_COPY = "image_id, zvol, record, details"
_REQUEST = ", ".join(RequestRecord._fields)


def _copy(row: Any) -> CopyRecord:
    image_id, zvol, record, details = row
    known = decode_lenient(HostImage, unnumbered(json.loads(record), zvol), zvol)
    return CopyRecord(image_id, known, json.loads(details))
