"""Volumes of the simulated world: content is a version number for each block, a snapshot is a copy of it."""

import itertools
from dataclasses import dataclass, field

from rocks.core.errors import IncoherentError
from rocks.storage.life.transfer_plan import Diverged, Point, SendPlan, Token, plan_send

Content = dict[int, int]

BLOCKS = 3
GIB = 1024**3
SIZE_BYTES = 8 * GIB

_guids = itertools.count(1000)


@dataclass
class Snap:
    name: str
    guid: str
    content: Content
    size_bytes: int = SIZE_BYTES


@dataclass
class Volume:
    """A volume with its past; `token` stands for a receive that was cut."""

    content: Content = field(default_factory=lambda: dict.fromkeys(range(BLOCKS), 0))
    snaps: list[Snap] = field(default_factory=list)
    holds: set[str] = field(default_factory=set)
    kind: str = "clean"
    token: Token | None = None
    size_bytes: int = SIZE_BYTES

    @property
    def newest(self) -> Snap | None:
        return self.snaps[-1] if self.snaps else None

    @property
    def is_written(self) -> bool:
        newest = self.newest
        return newest is None or (newest.content, newest.size_bytes) != (self.content, self.size_bytes)

    def find(self, name: str) -> Snap | None:
        return next((snap for snap in self.snaps if snap.name == name), None)

    def knows(self, guid: str | None) -> bool:
        return any(snap.guid == guid for snap in self.snaps)

    def snapshot(self, name: str) -> Snap:
        found = self.find(name)
        if found is None:
            found = Snap(name, str(next(_guids)), dict(self.content), self.size_bytes)
            self.snaps.append(found)
        return found

    def points(self) -> list[Point]:
        return [Point(snap.name, snap.guid, number) for number, snap in enumerate(self.snaps)]


def plan(sender: Volume, receiver: Volume, to_guid: str) -> SendPlan:
    """The plan, or IncoherentError."""
    found = plan_send(sender.points(), receiver.points(), to_guid, receiver.token)
    if isinstance(found, Diverged):
        raise IncoherentError(found.text)
    return found


def transfer(sender: Volume, receiver: Volume, to_guid: str, cut: bool = False) -> bool:
    """Send until the receiver has the snapshot; with `cut` its last stream breaks, and False is answered."""
    todo = plan(sender, receiver, to_guid)
    if todo.aborts_partial:
        receiver.token = None
    for number, step in enumerate(todo.steps):
        start = None if step.start is None else step.start.guid
        assert start is None or (receiver.newest is not None and receiver.newest.guid == start)
        if receiver.newest is not None and receiver.is_written:
            raise IncoherentError("the receiver was written to after its newest snapshot")
        if cut and number == len(todo.steps) - 1:
            receiver.token = Token(step.to.guid, start, "token")
            return False
        source = next(snap for snap in sender.snaps if snap.guid == step.to.guid)
        receiver.snaps.append(Snap(source.name, source.guid, dict(source.content), source.size_bytes))
        receiver.content, receiver.size_bytes = dict(source.content), source.size_bytes
        receiver.token = None
    return True
