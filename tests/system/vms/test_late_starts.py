"""An agent that is stopped (SIGSTOP) at a step of a start goes on after the machine was stopped, moved and started."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.vms.agents import replaced_agent
from tests.system.vms.site import ThreeMachines
from tests.waiting import wait_until

STOPPING_AGENT = '''#!/usr/bin/python3
"""Stands before the agent on a host, and stops it once before the step {step}. Nobody waits long for its lock."""
import os, runpy, signal, sys

sys.path.insert(0, "/opt/rocks/lib/rocks-agent.pyz")
from rocks.machine.host import facts, operations, start as starts
from rocks.leases.host.leases import Leases
from rocks.machine.host.libvirt.domains import Domains

operations.LOCK_SECONDS = starts.LOCK_SECONDS = facts._DEADLINE_SECONDS = 1.0


def stops(owner, name):
    real = getattr(owner, name)

    def stopping(*arguments):
        if "starting" in sys.argv and os.path.exists("{request}"):
            os.rename("{request}", "{request}ped")
            os.kill(os.getpid(), signal.SIGSTOP)
        return real(*arguments)

    setattr(owner, name, stopping)


start = operations.start_domain


def starting(*arguments):
    sys.argv.append("starting")
    return start(*arguments)


operations.start_domain = starting
stops({step})
from rocks.agent.main import main

sys.exit(main(sys.argv[1:]))
'''

REQUEST = "/var/lib/rocks/stop"

BEFORE_LOCK = 'starts, "_checked"'
WITH_LOCK = ('Leases, "admit"', 'Domains, "start_paused"', 'Domains, "resume"')
"""The first step, and the two around which the guest begins to run."""


class StoppedStart:
    """A start on vmh1 whose agent is stopped; its command has been killed."""

    def __init__(self, site: ThreeMachines) -> None:
        self._site = site
        self._machine = site.machines["vmh1"]
        self._machine.outside(REQUEST).touch()

    def begin(self, vm: str) -> None:
        command = self._site.begin(f"start host vm {vm}")
        wait_until(self._machine.outside(f"{REQUEST}ped").exists)
        wait_until(self._stopped)
        command.kill()

    def resume(self) -> None:
        """Let the agent go on, and wait for its end."""
        late = self._stopped()
        for number in late:
            os.kill(number, signal.SIGCONT)
        wait_until(lambda: not any(Path(f"/proc/{number}").exists() for number in late), seconds=60.0)

    def end(self) -> None:
        for number in self._stopped():
            os.kill(number, signal.SIGKILL)
        for name in (REQUEST, f"{REQUEST}ped"):
            self._machine.outside(name).unlink(missing_ok=True)

    def _stopped(self) -> list[int]:
        stopped = []
        for member in self._machine.members():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                text = Path(f"/proc/{member.process_id}/stat").read_text()
                if text.rpartition(")")[2].split()[0] == "T":
                    stopped.append(member.process_id)
        return stopped


@pytest.fixture
def start(site: ThreeMachines, step: str) -> Iterator[StoppedStart]:
    """Its agent is stopped before this step."""
    with replaced_agent(site, "vmh1", STOPPING_AGENT.format(step=step, request=REQUEST)):
        made = StoppedStart(site)
        yield made
        made.end()


@pytest.mark.parametrize("step", [BEFORE_LOCK], ids=["before the lock"])
def test_a_start_that_waits_is_late_after_a_stop(site: ThreeMachines, start: StoppedStart) -> None:
    """As the issue has it: the stop succeeds, and the machine runs elsewhere when the first start goes on."""
    vm = site.add_vm("late", "vmh1")
    start.begin(vm)
    site.done(f"stop host vm {vm}")
    assert site.lease(vm)[1] == "released"
    site.done(f"set host vm {vm} physnode=vmh2")
    site.done(f"start host vm {vm}")
    start.resume()
    assert site.running(vm) == ["vmh2"]
    assert vm not in site.domains("vmh1")


@pytest.mark.parametrize("step", [BEFORE_LOCK, *WITH_LOCK])
def test_a_start_that_stopped_at_a_step_is_the_only_one(
    site: ThreeMachines, start: StoppedStart, step: str
) -> None:
    """With the machine's lock in its hand it prevents the move, and ends its own start when it goes on."""
    vm = site.add_vm("late", "vmh1")
    start.begin(vm)
    site.done(f"set host vm {vm} physnode=vmh2")
    if step == BEFORE_LOCK:
        site.done(f"start host vm {vm}")
        start.resume()
        assert site.running(vm) == ["vmh2"]
        return
    error = site.refused(f"start host vm {vm}")
    assert "still at work on it on vmh1" in error or "already running on vmh1" in error
    assert "another command is working on late" in site.refused(f"stop host vm {vm}")
    assert site.lease(vm)[2] == "vmh1"
    start.resume()
    assert site.running(vm) == ["vmh1"]
    site.done(f"stop host vm {vm}")
    site.done(f"start host vm {vm}")
    assert site.running(vm) == ["vmh2"]
