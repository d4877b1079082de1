"""Random lives of an image: whatever fails, and when, no write of its guest is lost, nothing is left, and it ends."""

import random
import shutil
import threading
from collections.abc import Callable
from typing import Any

import pytest

from rocks.core.errors import HostError, IncoherentError, RocksError, ToolError
from rocks.storage.host import devices
from rocks.storage.image.states import BLOCKED, UNMAPPED
from rocks.storage.nas import hosts as nas_hosts
from rocks.storage.nas.engine import Scheduler
from rocks.storage.nas.volumes import standing_grant
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import read_message, success_of
from tests.generated import examples
from tests.unit.storage.daemons.checks import check
from tests.unit.storage.daemons.driven_site import REPLIES, DrivenSite
from tests.unit.storage.daemons.guests import CHUNKS, VOLUME, ZVOL, Guest, content_of
from tests.unit.storage.daemons.nodes import FRONTEND, HOSTS, Node

LIVES = examples(100)
MOVES = 80
MIB = 2**20
MAX_TURNS = 400
MAX_EPOCH = 10**9


class Life:
    """A site with one image, its guest, and the lease of its machine."""

    def __init__(self, site: DrivenSite, patch: pytest.MonkeyPatch, seed: int) -> None:
        self.site, self.order = site, random.Random(seed)
        self.guest = Guest(site)
        self.holder: str | None = None
        self.token = 0
        self.is_mapped = False
        self.keeps_changes = True
        self.asked: dict[str, tuple[str, str]] = {}
        self.epoch, self.at_map = 0, self.guest.expected
        self.given_up: dict[str, int] = {}
        self.failure: RocksError | None = None
        self.are_records_lost = False
        self.may_wait = False
        patch.setattr(devices, "wait_seconds", self.wait)
        start_transfers = Scheduler._start_transfers

        def start_some(scheduler: Scheduler, now: int) -> None:
            if self.order.random() < 0.4:  # else others have the places
                start_transfers(scheduler, now)

        patch.setattr(Scheduler, "_start_transfers", start_some)
        patch.setattr(nas_hosts, "monotonic_seconds", lambda: float(site.now))
        site.nas.pools.ensure_volume(VOLUME, 16 * MIB, 16384)
        site.nas.pools.write(VOLUME, self.order.randbytes(100_000), MIB)
        for node in site.nodes.values():
            node.on_change = self.changes
            node.lose_power = lambda node=node, real=node.lose_power: self.lose_power(node, real)
        site.start()

    @property
    def image(self) -> Any:
        """Its record; None before the first map, and while the daemon of the NAS does not run."""
        return self.site.image(ZVOL)

    # --- what happens at any moment

    def changes(self) -> None:
        """A daemon is about to change something: the guest is at work meanwhile, and the change may fail."""
        if threading.current_thread() is not threading.main_thread():
            return  # another daemon waits for it
        if self.guest.host is not None and self.order.random() < 0.3:
            self.guest.check(self.may_wait)
            self.guest.write(self.order.choice(CHUNKS))
            if self.order.random() < 0.1:
                self.guest.stop()
        if self.failure is not None and self.site.acting is not None and self.order.random() < 0.3:
            failure, self.failure = self.failure, None
            raise failure

    def wait(self, seconds: float) -> None:
        """A host waits for its kernel, which merges meanwhile."""
        self.changes()
        self.guest.merge_one()
        self.site.acting.moments.pass_one()

    def lose_power(self, node: Node, real: Callable[[], None]) -> None:
        """The guest of a host ends, too; it waits for the exports of a NAS."""
        if self.guest.host is node:
            self.guest.stop()
        self.may_wait |= node is self.site.nas
        real()

    # --- the frontend

    def send(self, kind: str, request: Any, host: str = "") -> None:
        if self.site.nas.service is not None:
            check(self.site, request)
        self.asked[self.site.send(request)] = (kind, host)

    def map(self, host: str) -> None:
        """As `start host vm`: the lease first, then the image."""
        if self.holder not in (None, host):
            return
        if self.holder is None:
            self.token += 1
        self.holder = host
        initiator = self.site.hosts[host].sessions.read_initiator()
        is_copied = self.order.random() < 0.85
        self.send("map", wire.MapZvol("tank", ZVOL, host, "tank", 1, is_copied, initiator, self.token), host)

    def unmap(self) -> None:
        if self.order.random() < 0.8:
            self.guest.stop()
        self.send("unmap", wire.UnmapZvol(ZVOL))

    def read_answers(self) -> None:
        for _, message in self.site.queues[REPLIES]:
            kind, host = self.asked.pop(str(message.correlation_id), ("", ""))
            try:
                success_of(read_message(message.body))
            except RocksError:
                if kind == "map" and not self.is_mapped and ("map", host) not in self.asked.values():
                    self.holder = None
                continue
            if kind == "map":
                self.is_mapped = self.holder == host
            elif kind == "unmap":
                self.holder, self.is_mapped = None, False
            elif kind in ("yes", "no"):
                self.keeps_changes = kind == "yes"
        self.site.queues[REPLIES].clear()

    def configure(self) -> None:
        """Changes of the guest stay, or are discarded: decided while no host has the image."""
        if self.image is not None and self.image.state == UNMAPPED and not self.asked:
            value = self.order.choice(("yes", "yes", "no"))
            self.send(value, wire.SetZvolAttrs(ZVOL, (("persistent", value),)))
            self.turn()

    def grow(self) -> None:
        """To a larger size, or again to the same."""
        if self.image is not None and self.image.state == UNMAPPED:
            size = self.site.nas.pools.read_volume(VOLUME).size_bytes
            self.send("grow", wire.GrowZvol("tank", ZVOL, size + self.order.choice((0, 16 * MIB))))

    def give_up(self) -> None:
        """The host is switched off, and an operator gives up what only it has; then it is switched on again.

        So is the host that the volume names, with records of an earlier moment another one.
        """
        image = self.image
        if image is None or image.owner is None:
            return
        self.failure = None
        standing = standing_grant(self.site.nas.pools.read_volume(VOLUME))
        for host in dict.fromkeys((image.owner, standing.owner or image.owner)):
            self.site.hosts[host].lose_power()
            self.given_up[host] = max(image.epoch, standing.epoch)
        self.guest.stop()
        self.site.given_up.add(ZVOL)
        self.site.ask(wire.AbandonZvol(ZVOL, "it burns"))
        self.site.wait_for_state(ZVOL, UNMAPPED)
        found = content_of(self.site.nas.pools, VOLUME)
        assert found in self.guest.former, "the NAS has parts of different moments"
        self.guest.expected = self.at_map = found
        self.asked.clear()
        self.site.queues[REPLIES].clear()
        self.holder, self.is_mapped = None, False

    # --- failures

    def disturb(self) -> None:
        """Messages of the daemons are delivered in another order, twice, or never."""
        for name, queue in self.site.queues.items():
            if name == REPLIES or not queue:
                continue
            left = [one for one in queue if one[0] == FRONTEND or self.order.random() < 0.7]
            left += [one for one in queue if self.order.random() < 0.3]
            self.order.shuffle(left)
            queue.clear()
            queue.extend(left)

    def lose_records(self) -> None:
        """The NAS is installed anew over its pool; LIO may have its exports still."""
        self.are_records_lost = True
        node = self.site.nas
        node.lose_power() if self.order.random() < 0.5 else node.die()
        node.forget_records()
        self.site.start()

    def reinstall(self) -> None:
        """A host is installed anew over its pool."""
        self.are_records_lost = True
        host = self.site.hosts[self.order.choice(HOSTS)]
        host.lose_power()
        host.forget_records()
        self.site.start()

    def restore_host_records(self) -> None:
        """A host loses power, and gets the records of an earlier moment back: it may have the devices of that time."""
        host = self.site.hosts[self.order.choice(HOSTS)]
        folder, backup = host.store.parent, host.store.parent.with_name("backup")
        if backup.exists() and self.order.random() < 0.5:
            self.are_records_lost = True
            self.given_up[host.name] = MAX_EPOCH
            self.site.given_up.add(ZVOL)
            host.lose_power()
            shutil.rmtree(folder)
            shutil.copytree(backup, folder)
        else:
            host.die()
            shutil.copytree(folder, backup, dirs_exist_ok=True)
        self.site.start()

    def restore_records(self) -> None:
        """The NAS gets the records of an earlier moment back."""
        self.site.nas.die()
        folder, backup = self.site.nas.store.parent, self.site.nas.store.parent.with_name("backup")
        if backup.exists() and self.order.random() < 0.5:
            self.are_records_lost = True
            shutil.rmtree(folder)
            shutil.copytree(backup, folder)
        else:
            shutil.copytree(folder, backup, dirs_exist_ok=True)
        self.site.start()

    def strike(self) -> None:
        """A daemon dies soon, or loses its node's power; a change fails, or a stream is cut."""
        node = self.order.choice((self.site.nas, *self.site.hosts.values()))
        what = self.order.choice(("die", "power", "power", "fail", "disagree", "cut", "cut"))
        if what == "cut":
            node.pools.cut_next_send(self.order.choice((100, 20_000, 90_000)))
        elif what == "fail":
            self.failure = self.order.choice((ToolError("it failed"), HostError("it is away")))
        elif what == "disagree":
            self.failure = IncoherentError("not expected")
        elif node.service is not None:
            node.loses_power = what == "power"
            node.moments._die_at = node.moments.count + self.order.randrange(1, 30)

    # --- turns

    def turn(self) -> None:
        self.site.turn()
        self.read_answers()
        self.check()
        self.guest.merge_one()
        if self.holder is not None and self.is_mapped and self.order.random() < 0.5:
            self.guest.start(self.site.hosts[self.holder])
        if self.guest.host is not None:
            self.guest.write(self.order.choice(CHUNKS))

    def check(self) -> None:
        image = self.image
        if image is None:
            return
        if image.owner is not None and self.site.hosts[image.owner].service is not None:
            copies = self.site.hosts[image.owner].service._store.copies()
            given_up_epoch = self.given_up.get(image.owner, image.epoch)
            # a map without a copy leaves the copy that was given up, and a reinstalled host makes its device again
            if image.sync and any(one.known.epoch == image.epoch > given_up_epoch for one in copies):
                del self.given_up[image.owner]
        writers = set(self.site.writers(ZVOL)) - self.given_up.keys()
        assert len(writers) <= 1, f"{writers} can write"
        is_new = image.epoch > self.epoch  # records of an earlier moment have a lower one
        if (is_new or image.state == UNMAPPED) and not self.keeps_changes:
            self.guest.expected = self.at_map
        if is_new:
            self.epoch, self.at_map = image.epoch, self.guest.expected
        self.guest.check(self.may_wait)
        # the export of an image whose record contradicts its volume is made again when that has ended
        self.may_wait &= image.state == BLOCKED
        if image.state == UNMAPPED and image.work is None:
            self.check_unmapped(image)

    def check_unmapped(self, image: Any) -> None:
        """The NAS has what was written last, and nothing else is left."""
        self.is_mapped = False  # also by an unmap that was remembered: no guest starts before the next map
        found = content_of(self.site.nas.pools, VOLUME)
        assert found == self.guest.expected, f"the NAS has {found}, and {self.guest.expected} was written"
        self.at_map = found
        history = self.site.nas.pools.read_history(VOLUME).snapshots
        assert {one.guid for one in history if one.holds} <= {image.base_guid}, "a hold is left on the NAS"
        if not self.given_up and self.is_idle():
            assert self.leftovers() == []

    def leftovers(self) -> list[str]:
        """As of the site; what was quarantined stays until its NAS has it."""
        return [one for one in self.site.leftovers() if "-quarantine-" not in one]

    def is_idle(self) -> bool:
        """Whether all daemons run, and none has a request or a message."""
        nodes = self.site.nodes.values()
        hosts = self.site.hosts.values()
        return all(
            node.service is not None and not self.site.queues[node.queue] for node in nodes
        ) and not any(host.service._store.open_requests() for host in hosts)

    def settle(self) -> None:
        """Nothing fails any more: every machine does what is open, and an operator cleans and unmaps the image."""
        self.failure = None
        for node in self.site.nodes.values():
            node.moments._die_at = 0
            node.loses_power = False
            node.die()
        for number in range(MAX_TURNS):
            self.turn()
            image = self.image
            if image is None or (image.state == UNMAPPED and image.work is None):
                if self.given_up or self.leftovers() == []:
                    return
            elif number % 20 == 19:
                self.guest.stop()
                is_blocked = image.state == BLOCKED
                if is_blocked and number > MAX_TURNS // 2:
                    assert self.are_records_lost, image.reason
                    self.give_up()  # at last: records of another moment may contradict the volume for ever
                    return
                self.send("clean", wire.RetryZvol(ZVOL) if is_blocked else wire.UnmapZvol(ZVOL))
        raise AssertionError(f"no end: {self.image}, {self.leftovers()}")


MOVES_OF_A_LIFE: dict[Callable[[Life], object], int] = {
    lambda life: [life.turn() for _ in range(life.order.randrange(1, 12))]: 30,
    lambda life: life.map(life.order.choice(HOSTS)): 14,
    Life.unmap: 6,
    lambda life: life.send("pull", wire.PullZvol(ZVOL)): 5,
    lambda life: life.send("cancel", wire.CancelZvol(ZVOL)): 2,
    lambda life: life.send("clean", wire.RetryZvol(ZVOL)): 4,
    lambda life: life.guest.stop(): 2,
    Life.configure: 4,
    Life.give_up: 1,
    Life.disturb: 6,
    Life.strike: 12,
}
"""What happens, and how often."""

MORE: tuple[dict[Callable[[Life], object], int], ...] = (
    {},
    {Life.grow: 8},
    {Life.lose_records: 2, Life.restore_records: 4},
    {Life.reinstall: 3},
    {Life.restore_host_records: 8},
)
"""Besides, in every fifth life."""


@pytest.mark.hypothesis
@pytest.mark.parametrize("seed", range(LIVES))
def test_a_random_life(
    new_site: Callable[[], DrivenSite], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    life, moves = Life(new_site(), monkeypatch, seed), MOVES_OF_A_LIFE | MORE[seed % len(MORE)]
    for move in life.order.choices([*moves], [*moves.values()], k=MOVES):
        move(life)
    life.settle()
