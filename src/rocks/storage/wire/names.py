"""Names that commands and daemons share: queues of the message broker, base volumes, tags of holds. Pure.

Every message goes to the exchange `EXCHANGE` with the name of its queue as the routing key. So the broker can control
for each user to which queues it may write (a topic permission) and from which it may read.
"""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple, Optional

from rocks.fleet.wire.snapshot_names import FROZEN, MACHINE_OFF, Moment

VIRTUAL_HOST = "img-storage"
EXCHANGE = "img-storage"
DEAD_EXCHANGE = "img-storage.dead"
DEAD_QUEUE = "img-storage.dead"
"""Queue of messages that no handler could process; see rocks.storage.broker.definitions for its bounds."""

PORT = 5671

NAS = "nas"
HOST = "host"
FRONTEND = "frontend"
"""Roles of a node in image storage; a node may have several. NAS and host daemons have a durable queue."""

_TOKEN = re.compile("[0-9a-f]{32}")


def nas_queue(node: str) -> str:
    """The durable queue of the NAS daemon on that node."""
    return f"img-storage.{NAS}.{node}"


def host_queue(node: str) -> str:
    """The durable queue of the host daemon on that node."""
    return f"img-storage.{HOST}.{node}"


def reply_queue(node: str, token: str) -> str:
    """The short-lived queue of one command on that node; `token` is 32 hexadecimal digits."""
    return f"img-storage.reply.{node}.{token}"


def queue_node(queue: str) -> Optional[str]:
    """The node whose daemon reads that durable queue; None for another queue."""
    for role in (NAS, HOST):
        start = f"img-storage.{role}."
        if queue.startswith(start):
            return queue[len(start) :] or None
    return None


def is_own_queue(queue: str, node: str) -> bool:
    """Whether answers to that node may go to that queue: a node may request no answers to queues of others."""
    if queue in (nas_queue(node), host_queue(node)):
        return True
    start = reply_queue(node, "")
    return queue.startswith(start) and _TOKEN.fullmatch(queue[len(start) :]) is not None


# Base volumes: an image of the library, stored once in a pool of a NAS, of which disks are clones.
PREFIX = "library-"
SNAPSHOT = "base"
"""The snapshot that all disks are cloned from. It is made last: a volume without it is no base."""

_BASE = re.compile(rf"{PREFIX}[0-9a-f]{{64}}")


def base_volume(digest: str) -> str:
    """The volume of the image with this digest (64 hexadecimal digits)."""
    return f"{PREFIX}{digest}"


def is_base(zvol: str) -> bool:
    """Whether the name is that of a base volume, which is no image and is never mapped."""
    return _BASE.fullmatch(zvol) is not None


def base_snapshot(digest: str) -> str:
    """The origin of the disks that are made from the image, as VOLUME@SNAPSHOT."""
    return f"{base_volume(digest)}@{SNAPSHOT}"


# Tags of the holds by which a NAS keeps snapshots of volumes as parts of a snapshot of a machine.
#
# The holds are the record: ZFS keeps a held snapshot, and so does the retention of automatic ones.


_BEGIN = "rocks-snapshot"
_UNFINISHED = "unfinished"
_NAME = "[A-Za-z0-9][A-Za-z0-9_-]{0,31}"
_NUMBER = "[1-9][0-9]?"
_RUN = "[0-9a-f]{8}"
_TAG = re.compile(
    rf"{_BEGIN}:({_NAME}):(?:({_RUN}):({_NUMBER})-of-({_NUMBER})|({FROZEN}|{MACHINE_OFF}|{_UNFINISHED}))\Z"
)


class Tag(NamedTuple):
    """A tag: the snapshot's name, and either the disk's number from 1 and the number of all disks, or a word.

    `run` is the same for all parts that one command has made: an earlier snapshot had the name, too.
    `word` is empty in a tag with numbers. It is FROZEN or MACHINE_OFF, what the machine was doing; without such a tag
    the machine ran, and its file systems were not frozen. Or it marks a snapshot that is being made: its disks may be
    of different moments, and the mark goes when all have their numbers.
    """

    snapshot: str
    number: int = 0
    total: int = 0
    word: str = ""
    run: str = ""

    @property
    def is_unfinished(self) -> bool:
        """Whether it marks a snapshot that is being made, or was left so."""
        return self.word == _UNFINISHED


def new_run() -> str:
    """The run of a new snapshot: eight hexadecimal digits."""
    return secrets.token_hex(4)


def part_tag(snapshot: str, run: str, number: int, total: int) -> str:
    """The tag that makes the snapshot of a volume that of disk `number` of `total`."""
    return f"{_BEGIN}:{snapshot}:{run}:{number}-of-{total}"


def moment_tag(snapshot: str, moment: Moment) -> str:
    """The tag that states what the machine was doing, FROZEN or MACHINE_OFF."""
    return f"{_BEGIN}:{snapshot}:{moment}"


def unfinished_tag(snapshot: str) -> str:
    """The tag of a snapshot that is being made."""
    return f"{_BEGIN}:{snapshot}:{_UNFINISHED}"


def read_tag(tag: str) -> Optional[Tag]:
    """What the tag states; None for the hold of somebody else."""
    match = _TAG.match(tag)
    if match is None:
        return None
    return Tag(match[1], int(match[3] or 0), int(match[4] or 0), match[5] or "", match[2] or "")
