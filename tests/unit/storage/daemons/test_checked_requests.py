"""A check says whether a request would be refused, and changes nothing."""

from typing import Any

import pytest

from rocks.core.errors import RocksError, ToolError
from rocks.storage.nas.service import NasHandlers
from rocks.storage.wire import requests as wire
from tests.unit.storage.daemons.checks import check
from tests.unit.storage.daemons.driven_site import DrivenSite

ZVOL = "a-vol"


@pytest.mark.parametrize(
    "request_",
    [
        wire.DelZvol("tank", ZVOL),
        wire.DelZvol("tank", ZVOL, force=True, with_snapshots=True),
        wire.GrowZvol("tank", ZVOL, 2**31),
        wire.RestoreZvol(ZVOL, "daily", zpool="tank"),
        wire.AddZvol("tank", "new-vol", 2**20),
    ],
)
def test_a_pool_that_is_missing(site: DrivenSite, request_: Any) -> None:
    """The check ends, with the error that the request has."""
    site.nas.pools.ensure_volume(f"tank/{ZVOL}", 2**30, 16384)
    site.map_local(ZVOL)
    site.unmap(ZVOL)
    site.nas.pools.export_pool("tank")
    message = check(site, request_)
    assert message
    with pytest.raises(RocksError) as refused:
        site.ask(request_)
    assert str(refused.value) == message


def test_a_step_that_would_be_tried_again(site: DrivenSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails and is no refusal: the daemon accepts the request, and repeats the step after a pause."""
    site.nas.pools.ensure_volume(f"tank/{ZVOL}", 2**30, 16384)
    site.map_local(ZVOL)
    tried: list[object] = []

    def fail(_: NasHandlers, effect: object) -> Any:
        tried.append(effect)
        raise ToolError("it hangs")

    with monkeypatch.context() as patch:
        patch.setattr(NasHandlers, "do", fail)
        assert check(site, wire.AbandonZvol(ZVOL, "it burns")) == ""
    assert len(tried) == 1


def test_an_image_that_writes_to_the_nas_is_not_made_forgetful(site: DrivenSite) -> None:
    """The mark on the volume, which is written first, does not hide the refusal."""
    site.map(ZVOL, sync=False)
    site.wait_for_state(ZVOL, "remote")
    request = wire.SetZvolAttrs(ZVOL, (("persistent", "no"),))
    message = check(site, request)
    with pytest.raises(RocksError, match="cannot be discarded") as refused:
        site.ask(request)
    assert message == str(refused.value)


def test_an_import_that_runs(site: DrivenSite) -> None:
    """It is refused as the request is, and the check is no import."""
    request = wire.AddZvol("tank", ZVOL, 2**20, importing=True)
    site.ask(request)
    with site.nas.service._commands._imports.alone(f"tank/{ZVOL}"):
        assert "another import" in check(site, request)
    assert check(site, request) == ""
    site.ask(request)


def test_a_volume_without_a_record_that_a_host_has(site: DrivenSite) -> None:
    """As of a pool that another NAS had: its record is made first, and then the removal refused."""
    site.map_local(ZVOL)
    image = site.image(ZVOL)
    site.nas.service._store.forget(image.image_id)
    del site.nas.service._engine._images[image.image_id]
    request = wire.DelZvol("tank", ZVOL)
    message = check(site, request)
    with pytest.raises(RocksError) as refused:
        site.ask(request)
    assert message == str(refused.value)
