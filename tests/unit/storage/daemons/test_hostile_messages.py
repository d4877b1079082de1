"""A host with a certificate that sends its NAS what it likes, and reads nothing: the NAS's records do not grow."""

from typing import Any

import pytest

from rocks.core.errors import IncoherentError
from rocks.storage.bus import Delivery, Kind
from rocks.storage.store import file as store_file
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import HOST_NEWS, write_message, write_request
from rocks.storage.wire.names import host_queue
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOST

ZVOL = "a-vol"


def received(site: DrivenSite, number: int, body: bytes) -> None:
    """Have the NAS get a message of the host, which wants an answer in its own queue."""
    message = Delivery(HOST, body, f"message-{number}", None, host_queue(HOST), Kind.REQUEST)
    site.nas.service._received(message)


def waiting(site: DrivenSite) -> list[Any]:
    return [one for one in site.nas.service._store.waiting(1000) if one.destination == host_queue(HOST)]


def test_requests_of_a_host_leave_no_record_and_few_answers(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the frontend's are recorded; answers that nobody takes from the queue wait in the NAS's outbox."""
    monkeypatch.setattr(store_file, "MAX_WAITING_REPLIES", 5)
    for number in range(20):
        request = wire.UnmapZvol(f"{number}-vol") if number % 2 else wire.ListZvols()
        received(site, number, write_request(request, op_id=f"operation-{number}"))
    assert site.nas.service._store.rows("SELECT COUNT(*) FROM operations") == [(0,)]
    answers = waiting(site)
    assert len(answers) == 5 and all(b"may not send that request" in one.body for one in answers)
    site.turn()
    received(site, 20, write_request(wire.ListZvols()))
    assert len(waiting(site)) == 1, "it is answered again when it has taken the former ones"


@pytest.mark.parametrize("name", ["op_id", "image_id", "action"])
def test_a_number_without_end_is_no_message(site: DrivenSite, name: str) -> None:
    with pytest.raises(IncoherentError, match=f"field message.{name}: longer than 255 characters"):
        received(site, 1, write_message("unmap_zvol", {"zvol": ZVOL, name: "x" * 256}))
    assert waiting(site) == []


def test_a_machine_that_ends_again_and_again_is_one_unmap(site: DrivenSite) -> None:
    """The host that has the image never removes its device, and goes on reporting."""
    site.map_local(ZVOL)
    image = site.image(ZVOL)
    body = write_message(HOST_NEWS, {"released": ZVOL}, image_id=image.image_id, epoch=image.epoch)
    for number in range(10):
        received(site, number, body)
    assert len(site.image(ZVOL).unmap_ids) == 1
    site.wait_for_state(ZVOL, "unmapped")
