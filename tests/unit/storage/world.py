"""The simulated world: one image, a NAS, two hosts, messages that arrive late, twice or out of order, and guests.

It records the last writes of a guest, and checks after every move that none was lost and that no other host can write.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rocks.storage.host import sequences as host_sequences
from rocks.storage.life import events
from rocks.storage.life.events import Event
from rocks.storage.life.image import Image, Outcome, Rejection
from rocks.storage.life.machine import Machine, is_ready
from rocks.storage.life.states import BLOCKED, LOCAL, MAPPED, STATES, UNMAPPED
from rocks.storage.nas.sequences import MACHINE
from tests.unit.storage.sim_host import Host
from tests.unit.storage.sim_nas import Nas
from tests.unit.storage.sim_volumes import BLOCKS, GIB, Content

HOSTS = ("vmh1", "vmh2")
NAS_FAILURES = ("kill", "kill within", "power cut", "program fails", "disagrees", "no answer")
HOST_FAILURES = ("kill", "power cut", "program fails", "disagrees", "stream cut")

Message = tuple[str, Any]
"""The destination (a host, or `nas`) and the content."""


@dataclass
class Frontend:
    """The frontend's lease of the virtual machine: which host may run it, under which token."""

    holder: str | None = None
    token: int = 0
    is_mapped: bool = False
    requested: dict[str, tuple[str, str]] = field(default_factory=dict)


class World:
    """NAS, hosts, frontend and messages. `machine` and `sequences` are the real ones or spoiled ones."""

    def __init__(
        self, machine: Machine = MACHINE, sequences: Callable[..., Any] = host_sequences.sequence_for
    ) -> None:
        self.nas = Nas(machine)
        self.hosts = {name: Host(name, self.nas, self.may_discard, sequences) for name in HOSTS}
        self.frontend = Frontend()
        self.messages: list[Message] = []
        self.expected: Content = dict.fromkeys(range(BLOCKS), 0)
        self.versions = 0
        self.discarding = False
        self.discarded: set[tuple[str, int]] = set()
        self.given_up: set[str] = set()
        self.operations = 0
        self.checks_holds = True
        self.nas.send = lambda ask: self.messages.append((ask.host, ask))
        self.nas.on_outcome = self.receive
        self.nas.on_change = self.watch

    @property
    def image(self) -> Image:
        return self.nas.image

    # --- the frontend ----------------------------------------------------------------------------------------------

    def request(self, event: Event) -> None:
        """A command's request reaches the NAS, if it is there."""
        if self.nas.is_up:
            self.nas.handle(event)

    def new_id(self, kind: str, host: str = "") -> str:
        self.operations += 1
        op_id = f"op{self.operations}"
        self.frontend.requested[op_id] = (kind, host)
        return op_id

    def map(self, name: str, sync: bool) -> None:
        """As `start host vm`: the lease first, then the image."""
        frontend = self.frontend
        if not self.nas.is_up or frontend.holder not in (None, name):
            return
        if frontend.holder is None:
            frontend.token += 1
        frontend.holder = name
        op_id = self.new_id("map", name)
        event = events.Map(op_id, name, "tank", sync, f"iqn.{name}", 8 * 1024**3, frontend.token)
        if isinstance(self.nas.handle(event), Rejection):
            frontend.requested.pop(op_id)
            if not frontend.is_mapped and not any(kind == "map" for kind, _ in frontend.requested.values()):
                frontend.holder = None

    def receive(self, outcome: Outcome) -> None:
        """The frontend receives the outcome of an operation."""
        kind, host = self.frontend.requested.pop(outcome.op_id, ("", ""))
        if kind == "map" and outcome.family is None:
            assert self.frontend.holder == host
            self.frontend.is_mapped = True
        elif kind == "map" and self.frontend.holder == host and not self.frontend.is_mapped:
            self.frontend.holder = None
        elif kind == "unmap" and outcome.family is None:
            assert self.image.state == UNMAPPED
            self.frontend.is_mapped, self.frontend.holder = False, None

    def watch(self, before: Image, after: Image) -> None:
        """Track the decisions of the NAS by which changes are discarded on request."""
        work = after.work
        if work is not None and (before.work is None or before.work.work_id != work.work_id):
            throws_away = work.step == "discard" or (
                work.step == "drop" and after.sync and not after.persistent
            )
            if throws_away:
                self.discarded.add((after.owner or "", after.epoch))
            self.discarding = throws_away or (self.discarding and work.step == "leave")
        if before.state == UNMAPPED and after.owner is not None:
            assert after.epoch > before.epoch, "a grant under an old epoch"
        if before.state != after.state and after.state in (MAPPED, LOCAL):
            self.discarding = False
        if after.state == UNMAPPED and before.state != UNMAPPED:
            if self.discarding or before.state == BLOCKED:
                self.expected = dict(self.nas.volume.content)
            self.discarding = False

    def grow(self, size_bytes: int) -> None:
        """As `set host vm disk`: the same size again changes nothing."""
        self.request(events.Grow(self.new_id("grow"), size_bytes))

    def ask_for(self, what: str) -> None:
        """Other requests of an operator."""
        image = self.image
        if what == "stop":
            self.stop_guests()
        elif what == "cancel":
            self.request(events.Cancel(self.new_id("cancel")))
        elif what in ("keep", "discard") and image.state == UNMAPPED:
            self.request(events.Configure(self.new_id("set"), what == "keep"))
        elif what == "grow":
            self.grow(self.nas.volume.size_bytes + GIB * (self.operations % 2))
        elif what == "pull":
            self.request(events.PullNow(self.new_id("pull")))
        elif what == "retry":
            self.request(events.Retry(self.new_id("retry")))
        elif what == "give up" and (image.state == BLOCKED or self.operations % 4 == 0):
            self.give_up_host()
        elif what == "report":
            self.report_copies()

    def report_copies(self) -> None:
        """As every host does at times."""
        for host in self.hosts.values():
            if host.is_up and not host.is_busy:
                self.messages.append(("nas", host.report()))

    def may_discard(self, host: str, epoch: int) -> bool:
        """Whether the host was requested, in that epoch, to discard changes."""
        return (host, epoch) in self.discarded

    # --- guests ----------------------------------------------------------------------------------------------------

    def start_guest(self, name: str) -> None:
        """The start hook lets it through only with the lease, a device, and the epoch in which it was mapped."""
        host = self.hosts[name]
        allowed = self.frontend.holder == name and self.frontend.is_mapped
        if (
            host.is_up
            and allowed
            and host.device is not None
            and host.can_read()
            and name not in self.given_up
        ):
            host.has_guest = True

    def stop_guests(self) -> None:
        for host in self.hosts.values():
            host.has_guest = False

    def write(self, name: str, block: int) -> None:
        host = self.hosts[name]
        if host.has_guest and host.can_read():
            self.versions += 1
            host.write(block, self.versions)
            self.expected[block] = self.versions

    # --- messages --------------------------------------------------------------------------------------------------

    def deliver(self, number: int, keep: bool) -> None:
        """One of the messages under way arrives, if its receiver is up; with `keep` it will arrive again."""
        if not self.messages:
            return
        index = number % len(self.messages)
        address, content = self.messages[index]
        if address == "nas":
            if not self.nas.is_up:
                return
            self.nas.handle(content)
        else:
            host = self.hosts[address]
            if not host.is_up:
                return
            self.answer(*host.take(content))
        if not keep:
            self.messages.pop(index)

    def answer(self, *events_of_host: Event) -> None:
        self.messages += [("nas", event) for event in events_of_host]

    def step_host(self, name: str) -> None:
        host = self.hosts[name]
        if host.is_up:
            self.answer(*host.step())

    def go_on(self, transfers: bool) -> None:
        """A turn in which every machine performs its next effect."""
        if transfers:
            self.request(events.StartSeed())
            if self.operations % 3 == 0:
                self.request(events.StartPull())
        self.deliver(0, keep=False)
        self.nas.step()
        for name, host in self.hosts.items():
            self.step_host(name)
            host.merge_one()

    # --- failures -------------------------------------------------------------------------------------------------

    def give_up_host(self) -> None:
        """The owner is switched off for good, and an operator gives up what only it has."""
        owner = self.image.owner
        if owner is None or not self.nas.is_up:
            return
        self.hosts[owner].power_off()
        self.given_up.add(owner)
        self.request(events.Abandon(self.new_id("abandon"), "it burns", is_fenced=True))
        self.frontend.holder, self.frontend.is_mapped = None, False

    def strike_nas(self, kind: str) -> None:
        """Any of NAS_FAILURES."""
        nas = self.nas
        if kind == "power cut":
            nas.power_off()
        elif nas.is_up:
            {
                "kill": nas.kill,
                "kill within": lambda: nas.step(is_killed=True),
                "program fails": lambda: nas.fail("tool"),
                "disagrees": lambda: nas.fail("incoherent"),
                "no answer": nas.give_up_waiting,
            }[kind]()

    def strike_host(self, name: str, kind: str) -> None:
        """Any of HOST_FAILURES."""
        host = self.hosts[name]
        if kind == "power cut":
            host.power_off()
        elif kind == "stream cut":
            host.cut_next = True
        elif host.is_up and kind == "kill":
            host.kill()
        elif host.is_up:
            self.answer(*host.fail("tool" if kind == "program fails" else "incoherent"))

    # --- invariants -----------------------------------------------------------------------------------------

    def check(self) -> None:
        """After every move."""
        image = self.image
        if image.owner is not None and image.state != BLOCKED:
            self.given_up.discard(image.owner) if self.hosts[image.owner].known.epoch == image.epoch else None
        writers = [
            host.name
            for host in self.hosts.values()
            if host.device is not None and host.is_up and host.name not in self.given_up
        ]
        assert len(writers) <= 1, f"{writers} can write"
        assert sum(export.snapshot is None for export in self.nas.exports.values()) <= 1
        for host in self.hosts.values():
            if host.has_guest:
                self._check_guest(host)
        if image.state == UNMAPPED:
            assert self.nas.volume.content == self.expected, "the NAS has not what was written last"
            self._check_nothing_left(image)
        if image.state == LOCAL and not any(host.is_busy for host in self.hosts.values()):
            self._check_local(image)

    def _check_guest(self, host: Host) -> None:
        assert host.device is not None, "the device of a guest is gone"
        image = self.image
        if not host.can_read():
            is_excused = not self.nas.is_up or host.name in self.given_up
            assert is_excused, f"a guest waits for an export that nobody will make ({image.state})"
            return
        assert host.read_all() == self.expected, "a guest does not read what was written last"
        assert host.known.size_bytes == self.nas.volume.size_bytes, "a guest has a disk of another size"

    def _check_nothing_left(self, image: Image) -> None:
        nas = self.nas
        assert nas.exports == {} and nas.volume.token is None, "something is left on the NAS"
        assert nas.volume.holds <= {image.base_guid}, "a hold is left on the NAS"
        for host in self.hosts.values():
            if host.name in self.given_up or not host.is_up or host.is_busy:
                continue
            left = (host.session, host.origin, host.device, host.temp_write, host.seed)
            assert left == (None,) * 5, f"something is left on {host.name}: {left}"
            assert host.known.stage == "none"

    def _check_local(self, image: Image) -> None:
        host = self.hosts[image.owner or ""]
        assert self.nas.exports == {}, "an export is left"
        if host.is_up and host.known.stage == "linear":
            assert (host.session, host.origin, host.temp_write, host.seed) == (None,) * 4
            assert host.copy is not None and image.base_guid in host.copy.holds
        is_held = image.base_guid in self.nas.volume.holds and len(self.nas.volume.holds) <= 2
        assert is_held or not self.checks_holds

    # --- settling -------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Without further failures every machine performs its open effects, and they must end."""
        self.nas.power_on()
        for host in self.hosts.values():
            host.power_on()
            host.cut_next = False
        order = random.Random(1)
        for turn in range(600):
            if self._is_settled():
                self.check()
                return
            self.nas.now += 400
            self._one_turn(turn, order)
            self.check()
        raise AssertionError(f"no end: {self.image.state}, {self.image.work}, {self.image.reason}")

    def _is_settled(self) -> bool:
        busy = any(host.is_busy and host.name not in self.given_up for host in self.hosts.values())
        image = self.image
        return STATES[image.state].is_stable and not is_ready(image) and not busy and not self.messages

    def _one_turn(self, turn: int, order: random.Random) -> None:
        image = self.image
        if image.unmap_ids:
            self.stop_guests()
        if turn % 20 == 19:
            self.nas.asked = set()  # what has no answer yet is asked again
        self.nas.handle(events.RetryDue())
        self.nas.handle(events.StartSeed())
        for _ in range(len(self.messages)):
            self.deliver(order.randrange(100), keep=False)
        self.nas.step()
        for host in self.hosts.values():
            self.step_host(host.name)
            host.merge_one()
