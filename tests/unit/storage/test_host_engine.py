"""The host's engine takes requests in order, answers each once, and begins an open one again after a crash."""

from dataclasses import replace

import pytest

from rocks.storage.life.events import HostDone, HostFailed
from rocks.storage.life.requests import LookAtCopy, MapRemote
from tests.unit.storage.sim_host import Host
from tests.unit.storage.sim_nas import Export, Nas
from tests.unit.storage.sim_store import ZVOL, Ask

TARGET = "iqn.2001-04.com.nas-0-0:vm-vol.2"
LOOK = Ask("vmh1", 2, 5, LookAtCopy(ZVOL, "tank"))
MAP = Ask("vmh1", 2, 6, MapRemote(ZVOL, None, TARGET, "serial", 8 * 1024**3, False))


@pytest.fixture
def host() -> Host:
    """A host whose NAS exports the image to it."""
    nas = Nas()
    nas.exports[TARGET] = Export("iqn.vmh1", None)
    return Host("vmh1", nas, lambda host, epoch: False)


def perform(host: Host, ask: Ask) -> HostDone | HostFailed:
    assert host.take(ask) == []
    while True:
        for event in host.step():
            assert isinstance(event, (HostDone, HostFailed))
            return event


def test_the_same_request_gets_the_same_answer(host: Host) -> None:
    """No effect is performed for it again."""
    answer = perform(host, MAP)
    host.session = host.device = None
    assert host.take(MAP) == [answer] and not host.is_busy
    assert host.session is None


@pytest.mark.parametrize("late", [replace(LOOK, epoch=1, sequence=9), replace(LOOK, sequence=4)])
def test_an_overtaken_request_is_rejected(host: Host, late: Ask) -> None:
    """Of an older epoch, or with a lower number: it is not recorded, and the NAS is informed."""
    perform(host, LOOK)
    (answer,) = host.take(late)
    assert isinstance(answer, HostFailed) and "was overtaken" in answer.message
    assert not host.is_busy and host.known.last_sequence == 5


def test_a_request_that_waits_is_overtaken_by_the_next(host: Host) -> None:
    """It is answered with an error, and only the newer one is performed."""
    assert host.take(LOOK) == [] and host.take(MAP) == []
    answers = [*host.step(), *host.step()]
    assert [type(answer) for answer in answers] == [HostFailed, HostDone]
    assert [answer.work_id for answer in answers] == ["2-5", "2-6"]  # type: ignore[attr-defined]


def test_an_open_request_begins_again_after_a_crash(host: Host) -> None:
    """From the stage that is recorded by then."""
    host.take(MAP)
    assert host.step() == [] and host.known.stage == "remote"
    host.kill()
    answers = [*host.step(), *host.step()]
    assert [type(answer) for answer in answers] == [HostDone] and host.session == TARGET


def test_devices_are_rebuilt_after_a_restart(host: Host) -> None:
    """As soon as the NAS exports the image again."""
    perform(host, MAP)
    export = host.nas.exports.pop(TARGET)
    host.power_off()
    host.power_on()
    assert host.step() == [] and host.is_busy and host.device is None
    host.nas.exports[TARGET] = export
    host.step()
    assert host.device is not None and not host.is_busy
