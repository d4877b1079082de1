"""Timed events of a NAS: retries, transfers that may start, due pulls, silent hosts."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Tuple

from rocks.core.clock import monotonic_seconds
from rocks.core.periodic import PeriodicThread
from rocks.storage.life import schedule
from rocks.storage.life.events import GracePassed, HostFailed, RetryDue, StartPull, StartSeed
from rocks.storage.life.image import Image
from rocks.storage.life.schedule import LONGEST_DELAY_SECONDS
from rocks.storage.life.states import DELETING, LOCAL, MAPPED
from rocks.storage.nas.engine import Engine, now_seconds
from rocks.storage.nas.host_requests import HostCorrespondence
from rocks.storage.store.nas import NasStore

_TICK_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = LONGEST_DELAY_SECONDS + 60
_LONGEST_WAIT_SECONDS = 8 * 86400
_COUNT_SECONDS = 300
"""After that much of a grace period the rest is recorded, for the next start of the daemon."""


class Scheduler(PeriodicThread):
    """One thread that checks all images periodically; no error ends it."""

    def __init__(
        self,
        engine: Engine,
        store: NasStore,
        hosts: HostCorrespondence,
        limits: schedule.Limits,
        look_for_hosts: Callable[[Iterable[Image]], None],
    ) -> None:
        """`look_for_hosts` reports hosts that have become silent."""
        super().__init__(
            "scheduler", _TICK_SECONDS, lambda: self.tick(now_seconds()), "a round of the scheduler failed"
        )
        self._look_for_hosts = look_for_hosts
        self._engine = engine
        self._store = store
        self._hosts = hosts
        self._limits = limits
        self._since: Dict[str, int] = {}
        self._counted: Dict[Tuple[str, int], float] = {}
        """Image and end of its grace period → when it was counted last."""

    def tick(self, now: int) -> None:
        """One round at that time (UNIX seconds)."""
        images = self._engine.images()
        for image in images:
            self._look_at(image, now)
        self._count_graces(images, now)
        self._start_transfers(now)
        self._look_for_hosts(images)
        known = {image.image_id for image in images}
        for image_id in [one for one in self._since if one not in known]:
            del self._since[image_id]

    def _look_at(self, image: Image, now: int) -> None:
        if image.retry_at is not None and not now < image.retry_at <= now + _LONGEST_PAUSE_SECONDS:
            # a time beyond any pause was set by a wrong clock
            self._engine.take(image.image_id, RetryDue(), max(now, image.retry_at))
        silent = self._hosts.silent_seconds(image)
        if (
            silent is not None
            and image.retry_at is None
            and image.work is not None
            and image.owner is not None
        ):
            text = f"{image.owner} has not answered for {silent:.0f} s"
            failed = HostFailed(image.work.work_id, image.owner, image.epoch, "host", text)
            self._engine.take(image.image_id, failed)
        if image.state in (MAPPED, LOCAL):
            self._since.setdefault(image.image_id, now)
        else:
            self._since.pop(image.image_id, None)

    def _count_graces(self, images: Iterable[Image], now: int) -> None:
        """A grace period ends when it is due, and counted by the monotonic clock: a wrong clock destroys no volume."""
        clock = monotonic_seconds()
        waiting = {
            (image.image_id, image.due_at): image.grace_seconds
            for image in images
            if image.state == DELETING and image.work is None and image.due_at is not None
        }
        self._counted = {key: self._counted.get(key, clock) for key in waiting}
        for (image_id, due_at), left_seconds in waiting.items():
            seconds = int(clock - self._counted[image_id, due_at])
            if seconds >= _COUNT_SECONDS or (seconds >= left_seconds and due_at <= now):
                self._counted[image_id, due_at] = clock
                self._engine.take(image_id, GracePassed(seconds))

    def _start_transfers(self, now: int) -> None:
        images = self._engine.images()
        running = [job for job in map(schedule.running_of, images) if job is not None]
        attributes = self._store.all_attributes()
        period = int(self._store.attributes().get("frequency") or 0) or None
        waiting = []
        for image in images:
            own = attributes.get(image.zvol, {})
            due_at = self._pull_due_at(image, own, own.get("frequency") or period, now)
            job = schedule.job_of(image, self._since.get(image.image_id, now), due_at, now)
            if job is not None:
                waiting.append(job)
        for job in schedule.choose(waiting, running, self._limits, now):
            rejection = self._engine.take(job.image_id, StartSeed() if job.kind == "seed" else StartPull())
            image_now = self._engine.image(job.image_id)
            if rejection is None and job.kind != "seed" and image_now is not None:
                every = attributes.get(image_now.zvol, {}).get("frequency") or period
                self._store.set_attribute_of(image_now.zvol, "nextsync", schedule.next_pull(now, every))

    def _pull_due_at(self, image: Image, own: Mapping[str, Any], every: Optional[int], now: int) -> int:
        """When the image's changes are due; recorded, since it is listed, may be set, and survives a restart."""
        due_at = own.get("nextsync")
        if image.state == LOCAL and due_at is None:
            due_at = schedule.next_pull(now, every)
            self._store.set_attribute_of(image.zvol, "nextsync", due_at)
        elif image.state == LOCAL and int(due_at or 0) > now + _LONGEST_WAIT_SECONDS:
            due_at = now  # not intended: the clock was wrong when it was set
        elif image.owner is None and due_at is not None:
            self._store.set_attribute_of(image.zvol, "nextsync", None)
        return now + 1 if due_at is None else int(due_at)
