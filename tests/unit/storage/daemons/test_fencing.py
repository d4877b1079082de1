"""A host whose image was given up and mapped elsewhere."""

import os
from typing import Any

import pytest

from rocks.core.errors import IncoherentError, StateError
from rocks.storage.host.copies import RETURN
from rocks.storage.image.events import Abandon
from rocks.storage.stream.frames import Opening, receive_line, write_opening
from rocks.storage.wire import requests as wire
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOST, NAS, OTHER_HOST
from tests.unit.storage.memory_nodes import HalvingWriter

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_f7_a_stale_host_may_send_nothing(site: DrivenSite) -> None:
    """The image was given up and mapped elsewhere; its old host, which is back, is rejected, and its copy stays."""
    host = site.map_local("f7-vol")
    host.pools.write("tank/f7-vol", b"never seen", 4096)
    image = site.image("f7-vol")
    site.given_up.add("f7-vol")
    site.ask(wire.AbandonZvol("f7-vol", "its host has burned"))
    site.map_local("f7-vol", OTHER_HOST)
    opening = write_opening(Opening(RETURN, image.image_id, image.epoch, "1"))
    with (
        pytest.raises(StateError, match="stale_epoch"),
        site.connect(HOST, "", 0, NAS, opening) as connection,
    ):
        receive_line(connection.reader)
    assert host.pools.read("tank/f7-vol", 10, 4096) == b"never seen"
    site.unmap("f7-vol")
    # its old device is removed when the image is mapped to it again; what it wrote is quarantined
    site.map_local("f7-vol", HOST)
    quarantined = [fact.name for fact in host.pools.list_volumes("tank") if "f7-vol-" in fact.name]
    assert [host.pools.read(name, 10, 4096) for name in quarantined] == [b"never seen"]
    site.unmap("f7-vol")


def test_what_arrives_while_its_image_is_given_up_does_not_stay(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The NAS looks for a partial receive when the next part of the stream was let in, and is not stored yet."""
    host = site.map_local("late-vol")
    host.pools.write("tank/late-vol", os.urandom(6_000_000), 4096)
    image, receive, given_up = site.image("late-vol"), site.nas.pools.start_receive, list[str]()

    def give_up() -> None:
        if not given_up:
            given_up.append("late-vol")
            event = Abandon("give-up", "its host has burned")
            assert site.nas.service._engine.take(image.image_id, event) is None
            site.nas.jobs.perform()
            assert site.state("late-vol") == "unmapped"

    def start(spec: Any) -> Any:
        program = receive(spec)
        program.stream = HalvingWriter(program.stream, give_up)
        return program

    monkeypatch.setattr(site.nas.pools, "start_receive", start)
    site.given_up.add("late-vol")
    site.send(wire.PullZvol("late-vol"))
    site.wait_for(lambda: bool(given_up), "a pull")
    volume = site.nas.pools.read_volume("tank/late-vol")
    assert volume is not None and volume.resume_token is None
    site.map_local("late-vol", HOST)
    site.unmap("late-vol")


def test_an_image_that_was_given_up_before_its_pull_was_accepted_can_be_unmapped(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The NAS has verified the snapshot and not recorded it: the name of the base stays with its guid."""

    def fail(*values: object) -> None:
        raise IncoherentError("not expected")

    host = site.map_local("late-vol")
    host.pools.write("tank/late-vol", b"later", 4096)
    with monkeypatch.context() as patch:
        patch.setattr(site.nas.pools, "ensure_hold", fail)
        site.send(wire.PullZvol("late-vol"))
        site.wait_for_state("late-vol", "blocked")
    site.given_up.add("late-vol")
    site.ask(wire.AbandonZvol("late-vol", "its host has burned"))
    site.map("late-vol", HOST, sync=False)
    site.unmap("late-vol")
    assert site.nas.pools.read("tank/late-vol", 5, 4096) == b"later"
