"""The records of a NAS: images with their open work, operations and their requesters, attributes.

The file is on the system disk, not in a pool: the images of other pools must be served while one is missing.
Each volume carries its grant (decision 37), so its loss, or an older copy, loses no image and gives none to
two hosts; what is set again by hand are settings of images but `persistent`, and ends of grace periods. Tests put
back such copies at every moment.
"""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.codec import decode_lenient, encode
from rocks.storage.image.image import Image
from rocks.storage.iscsi.names import ChapSecrets
from rocks.storage.store.file import OutboxMessage, StoreFile, numbered, unnumbered

_TABLES = """
CREATE TABLE images (image_id TEXT PRIMARY KEY, zvol TEXT NOT NULL UNIQUE, record TEXT NOT NULL);
CREATE TABLE secrets (
  image_id TEXT NOT NULL, epoch INTEGER NOT NULL, secrets TEXT NOT NULL, PRIMARY KEY (image_id, epoch)
);
CREATE TABLE operations (
  op_id TEXT PRIMARY KEY, action TEXT NOT NULL, zvol TEXT NOT NULL, asker TEXT NOT NULL, reply_to TEXT NOT NULL,
  began INTEGER NOT NULL, answer BLOB
);
CREATE TABLE zvolattrs (
  zvol TEXT PRIMARY KEY, frequency INTEGER, nextsync INTEGER, downloadspeed TEXT, uploadspeed TEXT
);
CREATE TABLE globals (attr TEXT PRIMARY KEY, value TEXT);
CREATE TABLE beating_hosts (host TEXT PRIMARY KEY);
CREATE TABLE arrivals (zvol TEXT PRIMARY KEY, record TEXT NOT NULL);
"""

_STORED_OPERATIONS = 10_000
"""Answers that are stored for repeated requests."""

ATTRIBUTES = ("frequency", "nextsync", "downloadspeed", "uploadspeed")


class Operation(NamedTuple):
    """An operation that a command requested. `answer` is None while it is in progress; `began` in UNIX seconds."""

    op_id: str
    action: str
    zvol: str
    asker: str
    reply_to: str
    began: int
    answer: Optional[bytes]


@dataclass(frozen=True)
class Arrival:
    """An image that another NAS, `source`, moves to this one, into the pool `pool`.

    `epoch` is that of the newest attempt. `guid` is of the snapshot with which the received volume, of `volume_guid`,
    ends when its content was compared with the source's; None before that. `reason`: why it waits.
    """

    zvol: str
    pool: str
    source: str
    image_id: str
    epoch: int = 0
    guid: Optional[str] = None
    volume_guid: Optional[str] = None
    reason: str = ""


class NasStore(StoreFile):
    """The records of a NAS daemon."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLES)

    # --- hosts that send heartbeats

    def beating_hosts(self) -> List[str]:
        """Hosts that have ever sent a heartbeat."""
        return [str(host) for (host,) in self.rows("SELECT host FROM beating_hosts ORDER BY host")]

    def add_beating_host(self, host: str) -> None:
        """Record that a host sends heartbeats."""
        self.change("INSERT INTO beating_hosts (host) VALUES (?) ON CONFLICT DO NOTHING", (host,))

    # --- images that are being moved to this NAS

    def arrivals(self) -> List[Arrival]:
        """All arrivals, by volume."""
        rows = self.rows("SELECT zvol, record FROM arrivals ORDER BY zvol")
        return [decode_lenient(Arrival, json.loads(record), zvol) for zvol, record in rows]

    def add_arrival(self, arrival: Arrival) -> None:
        """Store a new one."""
        sql = "INSERT INTO arrivals (record, zvol) VALUES (?, ?)"
        self.change(sql, (json.dumps(encode(arrival), separators=(",", ":")), arrival.zvol))

    def update_arrival(self, arrival: Arrival) -> bool:
        """Store it; False when it is not expected any more."""
        sql = "UPDATE arrivals SET record = ? WHERE zvol = ?"
        return self.change(sql, (json.dumps(encode(arrival), separators=(",", ":")), arrival.zvol)) == 1

    def forget_arrival(self, zvol: str) -> None:
        """The image has arrived, or is not expected any more."""
        self.change("DELETE FROM arrivals WHERE zvol = ?", (zvol,))

    # --- images

    def images(self) -> List[Image]:
        """All images, by volume."""
        rows = self.rows("SELECT zvol, record FROM images ORDER BY zvol")
        return [decode_lenient(Image, unnumbered(json.loads(record), zvol), zvol) for zvol, record in rows]

    def save(self, image: Image) -> None:
        """Store the image."""
        record = json.dumps(numbered(encode(image)), separators=(",", ":"))
        self.change(
            "INSERT INTO images (image_id, zvol, record) VALUES (?, ?, ?) "
            "ON CONFLICT (image_id) DO UPDATE SET zvol = excluded.zvol, record = excluded.record",
            (image.image_id, image.zvol, record),
        )

    def forget(self, image_id: str) -> None:
        """Remove the image, its attributes and its secrets."""
        with self.transaction():
            self.change(
                "DELETE FROM zvolattrs WHERE zvol IN (SELECT zvol FROM images WHERE image_id = ?)",
                (image_id,),
            )
            self.change("DELETE FROM images WHERE image_id = ?", (image_id,))
            self.change("DELETE FROM secrets WHERE image_id = ?", (image_id,))

    # --- secrets of exports

    def secrets(self, image_id: str, epoch: int) -> Optional[ChapSecrets]:
        """Secrets of an image's export in an epoch, None when there are none."""
        found = self.rows("SELECT secrets FROM secrets WHERE image_id = ? AND epoch = ?", (image_id, epoch))
        return ChapSecrets(*json.loads(found[0][0])) if found else None

    def store_secrets(self, image_id: str, epoch: int, secrets: ChapSecrets) -> None:
        """Store the secrets of the current epoch; all others of the image are removed."""
        with self.transaction():
            self.change("DELETE FROM secrets WHERE image_id = ?", (image_id,))
            self.change(
                "INSERT INTO secrets (image_id, epoch, secrets) VALUES (?, ?, ?)",
                (image_id, epoch, json.dumps(astuple(secrets))),
            )

    # --- operations

    def operation(self, op_id: str) -> Optional[Operation]:
        """The operation with that id."""
        found = self.rows(f"SELECT {_OPERATION} FROM operations WHERE op_id = ?", (op_id,))
        return Operation(*found[0]) if found else None

    def open_operations(self) -> List[Operation]:
        """The operations in progress, oldest first."""
        rows = self.rows(f"SELECT {_OPERATION} FROM operations WHERE answer IS NULL ORDER BY began, op_id")
        return [Operation(*row) for row in rows]

    def begin(self, operation: Operation) -> bool:
        """Record it; False when one with that id is recorded."""
        sql = f"INSERT INTO operations ({_OPERATION}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        return self.change(sql, operation) == 1

    def answer(self, op_id: str, body: bytes) -> None:
        """Record the answer, and send it to the requester."""
        with self.transaction():
            operation = self.operation(op_id)
            if operation is None or operation.answer is not None:
                return
            self.change("UPDATE operations SET answer = ? WHERE op_id = ?", (body, op_id))
            if operation.reply_to:
                self.post(OutboxMessage(f"answer-{op_id}", operation.reply_to, "reply", op_id, None, body))
            self.change(
                "DELETE FROM operations WHERE answer IS NOT NULL AND op_id NOT IN "
                "(SELECT op_id FROM operations ORDER BY began DESC LIMIT ?)",
                (_STORED_OPERATIONS,),
            )

    def answer_again(self, operation: Operation) -> None:
        """Send the recorded answer to the queue of the repeated request."""
        if operation.answer is not None:
            number = f"answer-{operation.op_id}-{operation.reply_to}"
            self.post(
                OutboxMessage(number, operation.reply_to, "reply", operation.op_id, None, operation.answer)
            )

    def redirect(self, op_id: str, reply_to: str) -> None:
        """Send the answer to another queue: the requester has reconnected."""
        self.change(
            "UPDATE operations SET reply_to = ? WHERE op_id = ? AND answer IS NULL", (reply_to, op_id)
        )

    # --- settings

    def attributes_of(self, zvol: str) -> Dict[str, Any]:
        """Each of ATTRIBUTES of one image, None for one that is not set."""
        found = self.rows(f"SELECT {', '.join(ATTRIBUTES)} FROM zvolattrs WHERE zvol = ?", (zvol,))
        return dict(zip(ATTRIBUTES, found[0] if found else (None,) * len(ATTRIBUTES)))

    def all_attributes(self) -> Dict[str, Dict[str, Any]]:
        """Volume → its ATTRIBUTES, for images that have any."""
        rows = self.rows(f"SELECT zvol, {', '.join(ATTRIBUTES)} FROM zvolattrs")
        return {row[0]: dict(zip(ATTRIBUTES, row[1:])) for row in rows}

    def set_attribute_of(self, zvol: str, name: str, value: Any) -> None:
        """Set one of ATTRIBUTES, or clear it by None."""
        column = ATTRIBUTES[ATTRIBUTES.index(name)]
        self.change(
            f"INSERT INTO zvolattrs (zvol, {column}) VALUES (?, ?) "
            f"ON CONFLICT (zvol) DO UPDATE SET {column} = excluded.{column}",
            (zvol, value),
        )

    def attributes(self) -> Dict[str, Optional[str]]:
        """The attributes of the whole NAS."""
        return dict(self.rows("SELECT attr, value FROM globals ORDER BY attr"))

    def set_attribute(self, name: str, value: Optional[str]) -> None:
        """Set one of them; None is a value too."""
        self.change(
            "INSERT INTO globals (attr, value) VALUES (?, ?) ON CONFLICT (attr) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def forget_attributes(self, names: Tuple[str, ...]) -> None:
        """Remove some of them."""
        with self.transaction():
            for name in names:
                self.change("DELETE FROM globals WHERE attr = ?", (name,))


_OPERATION = ", ".join(Operation._fields)
