"""`rocks start service ha`: what a failed host had starts elsewhere, once; real hosts, a real fence command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.system.vms.site import HOSTS, ThreeMachines, wait_until

pytestmark = [pytest.mark.system]

OLD, NEW = HOSTS
WITH, WITHOUT = "vm-ha-0", "vm-ha-1"
FENCE = """#!/bin/sh
echo fenced >>/opt/rocks/fenced
while [ -e /opt/rocks/hold ]; do sleep 0.1; done
exit "$(cat /opt/rocks/outcome)"
"""
PATIENCE_SECONDS = 120.0


class Fenced:
    """The fence command of a host; it waits while `hold` exists."""

    def __init__(self, site: ThreeMachines) -> None:
        folder = site.machines["head"].outside("/opt/rocks")
        self.hold, self.outcome, self._calls = folder / "hold", folder / "outcome", folder / "fenced"
        self._calls.unlink(missing_ok=True)
        self.outcome.write_text("0")
        (folder / "fence.sh").write_text(FENCE)
        (folder / "fence.sh").chmod(0o755)
        (folder / "fence").touch(mode=0o600)
        (folder / "fence").write_text("/opt/rocks/fence.sh\n")

    def calls(self) -> int:
        return len(self._calls.read_text().splitlines()) if self._calls.exists() else 0


@pytest.fixture
def fence(site: ThreeMachines, from_nas: None) -> Iterator[Fenced]:
    """Two machines run on the first host, with their disks on a NAS; one has high availability."""
    for name in (WITH, WITHOUT):
        site.started(name, OLD)
    for name in (WITH, WITHOUT):
        site.put_on_nas(name, NEW)  # the hook of `from_nas` takes them from it at each start
    site.done(f"set host attr {WITH} ha yes")
    found = Fenced(site)
    site.done(f"set host sec_attr {OLD} vm_fence_command file=/opt/rocks/fence")
    yield found
    found.hold.unlink(missing_ok=True)
    site.rocks(f"remove host sec_attr {OLD} vm_fence_command")


class Service:
    """`rocks start service ha`, and what it has logged."""

    def __init__(self, site: ThreeMachines) -> None:
        self._running = site.begin("start service ha silence=10")
        self._lines: list[str] = []
        self._is_killed = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while line := self._running.first_line():
            self._lines.append(line)

    def has_logged(self, text: str) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not any(text in line for line in self._lines):
            assert time.monotonic() < end, f"no line has {text!r}: {self._lines}"
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL, once."""
        if not self._is_killed:
            self._is_killed = True
            self._running.kill()


@pytest.fixture
def begin(site: ThreeMachines) -> Iterator[Callable[[], Service]]:
    """Starts a service that watches; it is ended after the test."""
    begun: list[Service] = []

    def start() -> Service:
        begun.append(Service(site))
        begun[-1].has_logged("watching the hosts")
        return begun[-1]

    yield start
    for service in begun:
        service.kill()


def test_a_machine_starts_elsewhere_once_after_its_host_was_fenced(
    site: ThreeMachines, fence: Fenced, begin: Callable[[], Service]
) -> None:
    assert "silence must be from 10 to 86400" in site.refused("start service ha silence=1")
    service = begin()
    assert "the service runs already" in site.refused("start service ha")
    fence.hold.touch()
    site.vanish(OLD)
    service.has_logged("starts elsewhere")
    wait_until(fence.calls, PATIENCE_SECONDS)
    assert (site.running(WITH), site.place(WITH)) == ([OLD], OLD)
    for name in (WITH, WITHOUT):
        site.virsh(OLD, "destroy", name)  # what a fence does
    fence.hold.unlink()
    service.has_logged(f"{WITH} runs on")
    (now,) = site.running(WITH)
    assert (now != OLD, site.place(WITH)) == (True, now)
    assert site.lease(WITH)[1:] == ("running", now)
    assert site.lease(WITHOUT)[1:] == ("running", OLD), "only a machine with ha=yes is taken"
    assert fence.calls() == 1
    actions = [action for (action,) in site.sql("SELECT Action FROM sec_audit")]
    assert [action for action in actions if "evacuate host" in action and "must-fence=yes" in action]
    site.revive()
    site.done(f"list host vm status=yes {OLD}")
    assert site.running(WITH) == [now]


def test_a_machine_whose_host_could_not_be_fenced_stays_and_goes_on_there(
    site: ThreeMachines, fence: Fenced, begin: Callable[[], Service]
) -> None:
    """Also when the service is killed meanwhile, and when the host returns."""
    fence.outcome.write_text("1")
    first = begin()
    site.vanish(OLD)
    first.has_logged("could not be fenced")
    first.kill()
    assert (site.running(WITH), site.lease(WITH)[2]) == ([OLD], OLD)
    site.revive()
    begin()
    wait_until(lambda: site.lease(WITH)[1:] == ("running", OLD), PATIENCE_SECONDS)
    assert site.running(WITH) == [OLD]
    assert fence.calls() == 1


def test_what_an_interrupted_evacuation_has_taken_is_started(
    site: ThreeMachines, fence: Fenced, begin: Callable[[], Service]
) -> None:
    """The evacuation was killed after the fence; another machine was stopped since, while its host is silent."""
    site.vanish(OLD)
    for name in (WITH, WITHOUT):
        site.virsh(OLD, "destroy", name)
    site.done(f"set host attr {WITHOUT} ha yes")
    site.rocks(f"stop host vm {WITH} force=yes reason='high availability: {OLD} has not answered'", 120)
    site.rocks(f"stop host vm {WITHOUT} force=yes reason='high availability: {OLD} has not answered'", 120)
    assert fence.calls() == 2
    site.refused(f"stop host vm {WITHOUT}")
    begin().has_logged(f"{WITH} runs on")
    assert len(site.running(WITH)) == 1 and site.running(WITH) != [OLD]
    assert site.lease(WITHOUT)[1:] == ("released", "NULL")
    assert fence.calls() == 2


def test_a_start_elsewhere_that_failed_is_repeated(
    site: ThreeMachines, fence: Fenced, begin: Callable[[], Service]
) -> None:
    """Also when the service was killed meanwhile; the machine is recorded on its new host by then."""
    site.vanish(OLD)
    for name in (WITH, WITHOUT):
        site.virsh(OLD, "destroy", name)
    site.done(f"set host cpus {WITH} 4000")
    first = begin()
    first.has_logged("it has 4000 CPUs")
    assert site.place(WITH) != OLD and site.running(WITH) == []
    first.kill()
    site.done(f"set host cpus {WITH} 1")
    begin()
    wait_until(lambda: site.running(WITH) == [site.place(WITH)], PATIENCE_SECONDS)
    assert fence.calls() == 1
