"""The host's engine takes requests in order, answers each once, and begins an open one again after a crash."""

from pathlib import Path

import pytest

from rocks.core.errors import HostError
from rocks.fleet.wire.codec import encode
from rocks.storage.host.effects import Name
from rocks.storage.host.engine import GrantedImage, HostEngine
from rocks.storage.image.effects import DropMap, HostRequest, LookAtCopy, MapRemote, ReturnCopy
from rocks.storage.image.events import HostDone, HostFailed
from rocks.storage.image.image import NOTHING, Facts
from rocks.storage.nas.hosts import event_of
from rocks.storage.store.host import HostStore
from rocks.storage.wire.messages import HOST_REQUEST, read_message, write_message
from tests.waiting import step_until

ZVOL, NAS = "vm-vol", "nas-0-0"
IMAGE, FORMER = "1", "0"
LOOK = LookAtCopy(ZVOL, "tank")
MAP = MapRemote(ZVOL, None, "iqn.2001-04.com.nas-0-0:vm-vol.2", "serial", 8 * 1024**3, False)


class Host:
    """An engine whose effects are only recorded; `is_away`: a session cannot be made."""

    def __init__(self, folder: Path) -> None:
        self.store = HostStore(folder / "host.db")
        self.done: list[Name] = []
        self.is_away = False
        self.start()

    def start(self) -> None:
        """The daemon, which was killed, starts."""
        self.engine = HostEngine(self.store, self.do)

    def do(self, effect: Name, request: HostRequest | None, image: GrantedImage) -> Facts:
        if self.is_away and effect == "EnsureSession":
            raise HostError("no such target")
        self.done.append(effect)
        return NOTHING

    def take(self, number: str, request: HostRequest, image_id: str = IMAGE) -> list[HostDone | HostFailed]:
        """A request arrives; returns the answers that are sent at once."""
        place = {"nas": NAS, "volume": f"tank/{ZVOL}", "address": "10.2.0.1"}
        fields = {"request": encode(request), **place, "portal_port": 3260, "stream_port": 7780}
        epoch = int(number.partition("-")[0])
        body = write_message(
            HOST_REQUEST, fields, op_id=f"{image_id}.{number}", image_id=image_id, epoch=epoch
        )
        self.engine.take(read_message(body), request, NAS, body)
        return self.answers()

    def step(self) -> list[HostDone | HostFailed]:
        self.engine.step(ZVOL)
        return self.answers()

    def answers(self) -> list[HostDone | HostFailed]:
        found = []
        for message in self.store.waiting(9):
            event = event_of(read_message(message.body), "vmh1")[1]
            assert isinstance(event, (HostDone, HostFailed))
            found.append(event)
            self.store.sent(message.message_id)
        return found

    def perform(self, number: str, request: HostRequest) -> HostDone | HostFailed:
        assert self.take(number, request) == []
        return step_until(self.step, f"{number} has no answer, {self.store.open_requests()}")[0]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_same_request_gets_the_same_answer(host: Host) -> None:
    """No effect is performed for it again."""
    answer = host.perform("2-6", MAP)
    host.done.clear()
    assert host.take("2-6", MAP) == [answer] and not host.store.open_requests()
    assert host.done == []


@pytest.mark.parametrize("number", ["1-9", "2-4"])
def test_an_overtaken_request_is_rejected(host: Host, number: str) -> None:
    """Of an older epoch, or with a lower number: it is not recorded, and the NAS is informed."""
    host.perform("2-5", LOOK)
    (answer,) = host.take(number, LOOK)
    assert isinstance(answer, HostFailed) and "was overtaken" in answer.message
    assert not host.store.open_requests() and host.store.copy(ZVOL).known.last_sequence == 5


def test_a_request_that_waits_is_overtaken_by_the_next(host: Host) -> None:
    """It is answered with an error, and only the newer one is performed."""
    assert host.take("2-5", LOOK) == [] and host.take("2-6", MAP) == []
    answers = [*host.step(), *host.step()]
    assert [(type(one), one.work_id) for one in answers] == [(HostFailed, "2-5"), (HostDone, "2-6")]


DROP = DropMap(ZVOL, None, "iqn.2001-04.com.nas-0-0:vm-vol.9", discards=False)
RETURN = ReturnCopy(ZVOL, "tank", "img-9-9-x", "900")


@pytest.mark.parametrize(
    ("late", "answer"),
    [(LOOK, HostDone), (DROP, HostDone), (RETURN, HostFailed)],
    ids=["look", "drop", "return"],
)
@pytest.mark.parametrize("waits", [False, True])
def test_a_late_request_of_a_former_image_of_the_name_changes_nothing(
    host: Host, late: HostRequest, answer: type, waits: bool
) -> None:
    """It is answered; the image of now, and its request that waits, go on. So does its rebuild after a restart."""
    host.perform("2-6", MAP)
    before = host.store.copy(ZVOL)
    if waits:
        host.take("2-7", LOOK)
        before = host.store.copy(ZVOL)
    host.start()
    host.done.clear()
    assert host.take("9-3", late, FORMER) == []
    answers = [one for _ in range(5) for one in host.step()]
    expected = [("9-3", answer), ("2-7", HostDone)] if waits else [("9-3", answer)]
    assert [(one.work_id, type(one)) for one in answers] == expected
    assert host.store.copy(ZVOL) == before and "EnsureSession" in host.done
    assert isinstance(host.perform("2-8", DropMap(ZVOL, None, MAP.target, discards=False)), HostDone)
    assert host.store.copy(ZVOL).known.stage == "none"


@pytest.mark.parametrize("late", [LOOK, DROP], ids=["look", "drop"])
def test_a_late_request_of_a_former_image_does_not_end_one_that_waits(host: Host, late: HostRequest) -> None:
    """No host has a device of the image of now; its request waits, and is done."""
    host.perform("2-6", LOOK)
    host.take("2-7", RETURN)
    before = host.store.copy(ZVOL)
    assert host.take("9-3", late, FORMER) == []
    answers = [one for _ in range(12) for one in host.step()]
    assert [(one.work_id, type(one)) for one in answers] == [("9-3", HostDone), ("2-7", HostDone)]
    assert host.store.copy(ZVOL) == before and before.image_id == IMAGE


def test_an_open_request_begins_again_after_a_crash(host: Host) -> None:
    """From the stage that is recorded by then."""
    host.take("2-6", MAP)
    assert host.step() == [] and host.store.copy(ZVOL).known.stage == "remote"
    host.start()
    answers = [*host.step(), *host.step()]
    assert [type(answer) for answer in answers] == [HostDone] and host.done == ["EnsureSession"]


def test_devices_are_rebuilt_after_a_restart(host: Host) -> None:
    """As soon as the NAS exports the image again."""
    host.perform("2-6", MAP)
    host.done.clear()
    host.is_away = True
    host.start()
    assert host.step() == [] and host.engine.must_rebuild(ZVOL) and host.done == []
    host.is_away = False
    host.step()
    assert host.done == ["EnsureSession"] and not host.engine.must_rebuild(ZVOL)


def test_a_rebuild_that_cannot_go_on_is_logged_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Its image may have been given up, and then it is tried for ever."""
    host.perform("2-6", MAP)
    host.is_away = True
    host.start()
    for _ in range(3):
        host.step()
    assert caplog.text.count("cannot be rebuilt yet: no such target") == 1
