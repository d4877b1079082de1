"""A host with a certificate that sends its NAS what it likes, and reads nothing: the NAS's records do not grow."""

from __future__ import annotations

import os
from typing import Any

import pytest

from rocks.core.errors import IncoherentError
from rocks.storage.bus import Delivery, Kind
from rocks.storage.image import transfers
from rocks.storage.store import file as store_file
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import HOST_NEWS, write_message, write_request
from rocks.storage.wire.names import host_queue
from rocks.storage.zfs.facts import SendSpec
from rocks.storage.zfs.tool import Transfer
from tests.fakes.zfs import FakeSend, encode_begin
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOST, NAS, Node

LOCAL_ZVOL = "a-vol"


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
        received(site, 1, write_message("unmap_zvol", {"zvol": LOCAL_ZVOL, name: "x" * 256}))
    assert waiting(site) == []


def test_a_machine_that_ends_again_and_again_is_one_unmap(site: DrivenSite) -> None:
    """The host that has the image never removes its device, and goes on reporting."""
    site.map_local(LOCAL_ZVOL)
    image = site.image(LOCAL_ZVOL)
    body = write_message(HOST_NEWS, {"released": LOCAL_ZVOL}, image_id=image.image_id, epoch=image.epoch)
    for number in range(10):
        received(site, number, body)
    assert len(site.image(LOCAL_ZVOL).unmap_ids) == 1
    site.wait_for_state(LOCAL_ZVOL, "unmapped")


# A hostile host and a hostile NAS: what they send is rejected before it creates anything, or is destroyed.


ZVOL = "vm-vol"
MIB = 2**20

FILE_SYSTEM = encode_begin("77", None, "tank/home@one", object_set=2) + bytes(MIB)
PACKAGE = encode_begin("0", None, "tank/home@one", kind=2) + bytes(MIB)


@pytest.fixture
def site(site: DrivenSite) -> DrivenSite:
    """A NAS and two hosts with one image."""
    site.ask(wire.AddZvol("tank", ZVOL, 64 * MIB))
    return site


def send_instead(machine: Node, patch: pytest.MonkeyPatch, data: bytes) -> None:
    """Have the machine send this data instead of its snapshots."""

    def start(spec: SendSpec) -> Transfer:
        return FakeSend(spec.to_name, data, None)

    patch.setattr(machine.pools, "start_send", start)


def wait_for_reason(site: DrivenSite, *texts: str) -> None:
    """Wait until the listing of images gives this reason."""
    site.wait_for(lambda: all(text in str(site.row(ZVOL)["reason"]) for text in texts), f"{texts}")


@pytest.mark.parametrize(
    ("data", "text"), [(FILE_SYSTEM, "a file system"), (PACKAGE, "a package of streams")]
)
def test_a_nas_cannot_make_anything_but_the_copy_on_a_host(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, data: bytes, text: str
) -> None:
    """The image is blocked with the name of the NAS; the guest's disk, and the host's pool, stay as they are."""
    before = site.hosts[HOST].pools.list_volumes("tank")
    with monkeypatch.context() as patch:
        send_instead(site.nas, patch, data)
        site.map(ZVOL, HOST)
        wait_for_reason(site, f"{NAS} sent", text)
        names = {one.name for one in site.hosts[HOST].pools.list_volumes("tank")} - {
            one.name for one in before
        }
        assert all("temp-write" in name for name in names)
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "local")
    site.unmap(ZVOL)


@pytest.mark.parametrize("data", [FILE_SYSTEM, PACKAGE, b"no stream at all" * 1000])
def test_a_host_cannot_make_anything_on_the_nas(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """The next attempt sends the host's real changes."""
    site.map_local(ZVOL)
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", b"changed", 5 * MIB)
    before = site.nas.pools.list_volumes("tank")
    snapshots = site.nas.pools.read_history(f"tank/{ZVOL}").snapshots
    with monkeypatch.context() as patch:
        send_instead(site.hosts[HOST], patch, data)
        with pytest.raises(Exception, match=f"{HOST} sent"):
            site.unmap(ZVOL)
        assert site.nas.pools.list_volumes("tank") == before
        assert site.nas.pools.read_history(f"tank/{ZVOL}").snapshots == snapshots
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "unmapped")
    assert site.nas.pools.read(f"tank/{ZVOL}", 7, 5 * MIB) == b"changed"


def test_a_host_cannot_fill_the_pool_of_the_nas(site: DrivenSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the volume can have: the transfer ends, and nothing of it stays."""
    slack_bytes = transfers._SLACK_BYTES
    monkeypatch.setattr(transfers, "_SLACK_BYTES", -63 * MIB)
    site.map_local(ZVOL)
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", os.urandom(8 * MIB), 0)
    before = site.nas.pools.read_volume(f"tank/{ZVOL}")
    with pytest.raises(Exception, match=f"{HOST} sent more than .* is destroyed"):
        site.unmap(ZVOL)
    assert site.nas.pools.read_volume(f"tank/{ZVOL}") == before
    monkeypatch.setattr(transfers, "_SLACK_BYTES", slack_bytes)
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "unmapped")
