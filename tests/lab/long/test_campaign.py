"""Faults at any moment of an image's life, drawn from a seed: nothing is lost, nothing is left, one guest runs.

`make campaign SEED=1 RUNS=20`; `make campaign SEED=1 RUN=17` has that run alone (tests/lab/long/campaign_plan.py).
A run changes no record by hand: it repeats commands, and goes on with blocked images, as the guide says.
"""

import os
import subprocess  # noqa: TID251 - the type of what rocks.core.process starts
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab import broker
from lab.instruments.verifier import BLOCK_BYTES, SECTOR_BYTES, slot_sector
from lab.machines import image_storage
from lab.machines.frontend import Frontend
from lab.machines.lab import Lab
from tests.lab.full_pools import free_space, leave_free
from tests.lab.image_site import GUEST, NAS, VOLUME, ImageSite
from tests.lab.lab_site import LabSite
from tests.lab.long.campaign_plan import STATES, LostError, Plan, Result, draw, line_of, table
from tests.lab.long.test_image_faults import kill_daemon
from tests.patience import patience

SUBJECTS = ("src/rocks/storage", "src/rocks/agent")

_SEED = int(os.environ.get("CAMPAIGN_SEED") or 1)
_RUNS = int(os.environ.get("CAMPAIGN_RUNS") or 3)
_FIRST_MB, _BASE_MB, _WRITTEN_MB = 20, 12, 8
"""Where the guest, which counts on the first megabytes, does not write: data of the image, then that of the run."""

BLOCK_OF_DATA = (_FIRST_MB << 20) // BLOCK_BYTES
"""The first block of that."""

_SLOWLY = "400K"
_DEADLINE_SECONDS = 300.0
_POLL_SECONDS = 0.5
_PAUSE_SECONDS = 5.0
_MAX_REPEATS = 6
_RUNNING = tuple(state for state in STATES if state not in ("returning", "removing"))
_VOLUME = f"/dev/zvol/tank/{VOLUME}"
_DEVICE = f"/dev/mapper/{VOLUME}-snap"


class Campaign:
    """One site for all runs; after a failure the next run has a new one."""

    def __init__(self, lab: Lab, frontend: Frontend) -> None:
        self.images = ImageSite(LabSite(lab, frontend))
        self.site = self.images.site
        self.results: list[Result] = []
        self.is_set_up = False
        self.counted = 0
        """The last count that was found on the NAS."""
        self._digest = ""
        self._by_hand: list[str] = []

    def run(self, plan: Plan) -> None:
        """Live through a state with its fault, and judge what is left. The result is kept, and printed."""
        began = time.monotonic()
        self._by_hand = []
        try:
            seconds = self._live(plan)
        except BaseException as error:
            self.is_set_up = False
            outcome = "LOST" if isinstance(error, LostError) else "FAILED"
            self._keep(Result(plan, outcome, time.monotonic() - began))
            raise
        self._keep(Result(plan, ", ".join(dict.fromkeys(self._by_hand)) or "went on", seconds))

    def _keep(self, result: Result) -> None:
        self.results.append(result)
        print(f"\n{line_of(result)}", flush=True)

    def _live(self, plan: Plan) -> float:
        self._prepare(plan.state)
        command = self._reach(plan.state)
        self._by_hand = []  # what a busy machine made necessary is not of the fault
        time.sleep(plan.delay_seconds)
        counted = self.counted if plan.state == "mapping" else self.site.count("vmh1", GUEST)
        with self._fault(plan):
            time.sleep(plan.fault_seconds)
        ended_at = time.monotonic()
        if command is not None:
            command.communicate(timeout=patience(_DEADLINE_SECONDS))
        if command is not None and command.returncode:
            self._by_hand.append("command repeated")
        for rate in ("uploadspeed", "downloadspeed"):
            self._repeat("set", "host", "storageattr", NAS, rate, "none")
        if plan.state in _RUNNING:
            self._settle_running(plan.state, counted)
            seconds = time.monotonic() - ended_at
            self._end_guest()
        else:
            if plan.state == "returning":
                self._end_guest()
            else:
                self._remove_and_restore()
            seconds = time.monotonic() - ended_at
        self._judge(counted)
        return seconds

    def _prepare(self, state: str) -> None:
        if not self.is_set_up:
            self.site.frontend.start()
            self.site.set_up()
            self.images.set_up()
            self.counted, self.is_set_up = 0, True
            self.images.copy_slowly(_FIRST_MB, _BASE_MB, _SLOWLY)
            self._digest = self._digest_of("nas", _VOLUME)
        self.images.forget_copy("vmh1")
        speed = _SLOWLY if state in ("mapping", "copying", "merging") else "none"
        self.site.done("set", "host", "storageattr", NAS, "uploadspeed", speed)

    def _reach(self, state: str) -> subprocess.Popen[bytes] | None:
        """Have the image in the state; returns the command that is under way in it, if any."""
        if state == "mapping":
            return self.site.frontend.begin("start", "host", "vm", GUEST)
        self._repeat("start", "host", "vm", GUEST)
        self.site.wait_for_count("vmh1", GUEST, beyond=self.counted)
        if state in ("copying", "merging"):
            self._write()
        if state == "copying":
            return None
        if state == "merging":
            self.site.done("set", "host", "storageattr", NAS, "uploadspeed", "none")
            host = self.site.lab["vmh1"]
            _wait(lambda: self.images.device_status(host) != "snapshot", "the device is a snapshot")
            return None
        self.images.wait_for_state("mapped")
        self._write()
        if state == "local":
            return None
        if state == "pulling":
            self.site.done("set", "host", "storageattr", NAS, "downloadspeed", _SLOWLY)
            return self.site.frontend.begin("sync", "host", "storagemap", NAS, VOLUME)
        if state == "returning":
            return self.site.frontend.begin("stop", "host", "vm", GUEST)
        self._end_guest()
        return self.site.frontend.begin("remove", "host", "storageimg", NAS, "tank", VOLUME)

    def _write(self) -> None:
        """New data on the guest's disk, as by the guest, and flushed; its digest is kept."""
        self.site.lab["vmh1"].shell(
            f"dd if=/dev/urandom of={_DEVICE} bs=1M seek={_FIRST_MB + _BASE_MB} count={_WRITTEN_MB} "
            "oflag=direct conv=notrunc,fsync status=none\n",
            patience(60),
        )
        self._digest = self._digest_of("vmh1", _DEVICE)

    def _digest_of(self, machine: str, device: str) -> str:
        return self.images.digest(machine, device, _FIRST_MB, _BASE_MB + _WRITTEN_MB)

    @contextmanager
    def _fault(self, plan: Plan) -> Iterator[None]:
        """Begin the fault; at the end it is repaired, as a person would."""
        if plan.fault == "broker down":
            broker.kill(image_storage.BROKER)
            yield
            broker.start(image_storage.BROKER, patience(90))
        elif plan.fault == "database down":
            self.site.frontend.stop()
            yield
            self.site.frontend.start()
        else:
            machine = self.site.lab[plan.machine]
            step = ["date", "--set", f"{plan.clock_step_seconds} seconds"]
            begin, end = {
                "daemon killed": (lambda: kill_daemon(machine), lambda: None),
                "power": (machine.kill, lambda: machine.boot(patience(_DEADLINE_SECONDS))),
                "cable": (machine.cut, machine.reconnect),
                "pool full": (lambda: leave_free(machine, 0), lambda: free_space(machine)),
                "clock": (lambda: machine.run(step), machine.set_clock),
            }[plan.fault]
            begin()
            yield
            end()

    def _settle_running(self, state: str, counted: int) -> None:
        """The guest runs, is local, and counts on, on one host."""
        host = self.site.lab["vmh1"]
        self._have_guest_run(state)
        self._wait_for_state("mapped")
        assert self.images.device_status(host) == "linear"
        self.site.wait_for_count("vmh1", GUEST, beyond=max(counted, self.site.count("vmh1", GUEST)))
        if state == "mapping":
            self._write()
        if state == "pulling":
            self._repeat("sync", "host", "storagemap", NAS, VOLUME)
        assert self.site.domain_state("vmh2", GUEST) == "absent"
        log = host.run(["cat", f"/var/log/libvirt/qemu/{GUEST}.console.log"]).text
        if "lost " in log:
            raise LostError("the guest read something else than it had written")
        self._demand_written("vmh1", _DEVICE)

    def _demand_written(self, machine: str, device: str) -> None:
        """LostError unless the device of a machine has what was written and flushed."""
        if (found := self._digest_of(machine, device)) != self._digest:
            raise LostError(f"{device} of {machine} has {found}, and {self._digest} was written")

    def _have_guest_run(self, state: str) -> None:
        end_at = time.monotonic() + patience(_DEADLINE_SECONDS)
        while (found := self.site.domain_state("vmh1", GUEST)) != "running":
            assert time.monotonic() < end_at, f"the guest is {found}"
            if found in ("absent", "shut off"):
                self._continue_if_blocked()
                answer = self.site.rocks("start", "host", "vm", GUEST)
                if answer.exit_status == 0 and state != "mapping":
                    self._by_hand.append("guest started again")
            time.sleep(_POLL_SECONDS)

    def _end_guest(self) -> None:
        """The guest is stopped, and its image written back."""
        for _ in range(_MAX_REPEATS):
            if self.site.domain_state("vmh1", GUEST) == "absent":
                break
            self.site.rocks("stop", "host", "vm", GUEST)
        assert self.site.domain_state("vmh1", GUEST) == "absent"
        try:
            _wait(lambda: self.images.state() != "mapped", "the image is mapped", 30)
        except AssertionError:
            self._repeat("stop", "host", "vm", GUEST, "terminate=yes")
            self._by_hand.append("written back by command")
        self._wait_for_state("unmapped")

    def _remove_and_restore(self) -> None:
        """The image is removed, by the command again if need be, and restored within its grace period."""
        if self.images.state() == "unmapped":
            self._repeat("remove", "host", "storageimg", NAS, "tank", VOLUME)
        self._repeat("restore", "host", "storageimg", NAS, VOLUME)
        self._wait_for_state("unmapped")

    def _judge(self, counted: int) -> None:
        """The NAS has all that was confirmed, nothing is left over, and the daemons are well."""
        self.judge_data(max(counted, self.site.count("vmh1", GUEST)))
        for host in ("vmh1", "vmh2"):
            assert self.images.leftovers(host) == []
            assert self.site.domain_state(host, GUEST) == "absent"
        for machine in self.site.lab.machines.values():
            unit = image_storage.unit_of(machine)
            assert machine.run_any(["systemctl", "is-active", unit]).text.strip() == "active"
            errors = machine.run_any(["journalctl", "-u", unit, "-b", "-q", "--grep", "Traceback"]).text
            assert errors == "", errors

    def judge_data(self, reported: int) -> None:
        """LostError unless the NAS has each count that the guest had reported, and what was written and flushed."""
        try:
            self.counted = self.images.count_on_nas(reported)
        except AssertionError as error:
            raise LostError(f"the guest had reported {reported}, and the NAS has {error}") from error
        self._demand_written("nas", _VOLUME)

    def _repeat(self, *arguments: str) -> None:
        """A command that must succeed in the end; daemons may still be on their way back to the broker."""
        for _ in range(_MAX_REPEATS - 1):
            if self.site.rocks(*arguments).exit_status == 0:
                return
            self._by_hand.append("command repeated")
            time.sleep(patience(_PAUSE_SECONDS))
        self.site.done(*arguments)

    def _wait_for_state(self, state: str) -> None:
        """Until the image is in the state; one that is blocked meanwhile goes on by its command."""

        def is_reached() -> bool:
            self._continue_if_blocked()
            return self.images.state() == state

        _wait(is_reached, f"the image is not {state}")

    def _continue_if_blocked(self) -> None:
        if self.images.state() == "blocked":
            assert self._by_hand.count("unblocked") < _MAX_REPEATS
            reasons = [row for nas in self.images.operations() for row in nas["storageop"]]
            print(f"blocked: {self.images.note()} {reasons}", flush=True)
            self.site.rocks("clean", "host", "storagemap", NAS, VOLUME)
            self._by_hand.append("unblocked")


def _wait(
    is_reached: Callable[[], bool], otherwise: str, deadline_seconds: float = _DEADLINE_SECONDS
) -> None:
    end_at = time.monotonic() + patience(deadline_seconds)
    while not is_reached():
        assert time.monotonic() < end_at, f"{otherwise}, after {deadline_seconds:g} s"
        time.sleep(_POLL_SECONDS)


@pytest.fixture(scope="module")
def campaign(running_lab: Lab, frontend: Frontend) -> Iterator[Campaign]:
    """The site of all runs; the table of their results is printed at the end."""
    made = Campaign(running_lab, frontend)
    yield made
    print(f"\n{table(made.results)}", flush=True)


@pytest.mark.parametrize("number", range(1, _RUNS + 1))
def test_run(campaign: Campaign, watched: list[Lab], number: int) -> None:
    """`watched`: a failure leaves logs and states of all machines."""
    watched.append(campaign.site.lab)
    campaign.run(draw(_SEED, number))


@pytest.mark.parametrize("place", ["a count", "the data"])
def test_a_block_that_changes_is_a_loss(campaign: Campaign, place: str) -> None:
    """One block of the NAS's volume, after the last run; then it is as it was."""
    if not campaign.is_set_up:
        pytest.skip("no run of this session has ended well, whose disk could be changed")
    reported = campaign.counted
    block = BLOCK_OF_DATA if place == "the data" else slot_sector(reported) * SECTOR_BYTES // BLOCK_BYTES
    campaign.judge_data(reported)
    copy = f"dd bs={BLOCK_BYTES} count=1 conv=notrunc,fsync status=none"
    campaign.images.nas.shell(f"{copy} if={_VOLUME} skip={block} of=/root/block\n", 60)
    campaign.images.nas.shell(f"{copy} if=/dev/urandom of={_VOLUME} seek={block}\n", 60)
    try:
        with pytest.raises(LostError):
            campaign.judge_data(reported)
    finally:
        campaign.images.nas.shell(f"{copy} if=/root/block of={_VOLUME} seek={block}\n", 60)
    campaign.judge_data(reported)
