"""What this NAS would refuse: a request is performed as far as its first change, which is left out."""

from __future__ import annotations

from typing import Any, Dict, NoReturn, Optional, TypeVar, cast

from rocks.core.errors import CLASSES, RocksError
from rocks.storage.life.effects import BETWEEN_NASES, AskHost
from rocks.storage.life.events import EffectDone, Event, Retry
from rocks.storage.life.image import Image, Rejection
from rocks.storage.life.state_machine import is_ready
from rocks.storage.nas.engine import Engine, Perform, failed_effect, now_seconds
from rocks.storage.nas.sequences import MACHINE

CHECK = "check"
"""The id of the operation that is checked; no other has it."""

_QUESTIONS = ("read_", "list_", "written_", "estimate_", "arrivals", "attributes", "all_", "operation")
"""How the names of methods begin that change nothing."""

_Real = TypeVar("_Real")


class FirstChangeError(Exception):
    """What follows would change something. Not an error of ours, so that no handler of one catches it."""


def end(*_: object, **__: object) -> NoReturn:
    """In place of a change."""
    raise FirstChangeError


class _Unchanged:
    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name) if name.startswith(_QUESTIONS) else end


def unchanged(real: _Real) -> _Real:
    """Pools, records or exports that answer questions, and end at the first change."""
    return cast("_Real", _Unchanged(real))


class UnchangedEngine(Engine):
    """The images as they are, and the records that a request would add."""

    def __init__(self, real: Engine, perform: Perform) -> None:
        self._lock, self._perform, self.queued_at = real._lock, perform, real.queued_at  # type: ignore[method-assign]
        self._images: Dict[str, Image] = {image.image_id: image for image in real.images()}

    def add(self, *images: Image) -> None:
        """For this request only."""
        self._images.update((image.image_id, image) for image in images)

    def take(self, image_id: str, event: Event, now: Optional[int] = None) -> Optional[Rejection]:
        """The rejection, or the error with which the operation would end before its first change."""
        image = self._images[image_id]
        while True:
            decision = MACHINE.decide(image, event, now_seconds())
            if isinstance(decision, Rejection):
                return decision
            for outcome in decision.outcomes:
                if outcome.op_id == CHECK and outcome.family is not None:
                    raise CLASSES[outcome.family](outcome.text)
            if isinstance(event, Retry) and event.op_id != CHECK and decision.image is not None:
                self.add(decision.image)  # a volume is adopted before its request is taken
                return None
            if decision.image is None or decision.image.work is None or not is_ready(decision.image):
                raise FirstChangeError
            image, work = decision.image, decision.image.work
            effect = work.effects[work.position]
            if isinstance(effect, (AskHost, *BETWEEN_NASES)):
                raise FirstChangeError
            try:
                event = EffectDone(work.work_id, work.position, self._perform(effect))
            except RocksError as error:
                event = failed_effect(image, work, effect, error)
