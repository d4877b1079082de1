"""Whether an image is persistent is in the NAS's records and on its volume: what was set last counts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.errors import HostError
from rocks.core.values import BYTES_PER_GIB
from rocks.storage.image.effects import Effect, EnsureGrant, EnsurePartialGone, VerifyReceived
from rocks.storage.nas.engine import Engine
from rocks.storage.wire import requests as wire
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.moments import DiedError
from tests.unit.storage.daemons.nodes import HOSTS
from tests.unit.storage.daemons.test_lost_records import ZVOL, at_nas, backup_of, restart_with, site

__all__ = ["site"]

HOST, OTHER = HOSTS


def set_persistent(site: DrivenSite, value: str) -> None:
    site.ask(wire.SetZvolAttrs(ZVOL, (("persistent", value),)))


def die_before(
    site: DrivenSite, patch: pytest.MonkeyPatch, effect_type: type[Effect], *, loses_records: bool = False
) -> None:
    """The daemon of the NAS dies when it is about to perform such an effect."""
    engine = site.nas.service._engine
    perform: Callable[[object], object] = engine._perform

    def perform_or_die(effect: object) -> object:
        if isinstance(effect, effect_type):
            if loses_records:
                site.nas.forget_records()
            site.nas.moments.is_dead = True
            raise DiedError
        return perform(effect)

    patch.setattr(engine, "_perform", perform_or_die)


def test_it_may_be_set_while_a_grant_is_written(site: DrivenSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The grant has the former value: it is written once more, or a restart of the daemon would take that."""
    site.map_local(ZVOL)
    site.unmap(ZVOL)
    set_persistent(site, "no")
    engine, records, grants = site.nas.service._engine, site.nas.service._commands._records, []
    perform: Callable[[object], object] = engine._perform

    def perform_meanwhile(effect: object) -> object:
        if isinstance(effect, EnsureGrant):
            grants.append(effect.persistent)
            if len(grants) == 1:
                records.set_zvol_attrs(wire.SetZvolAttrs(ZVOL, (("persistent", "yes"),)))
        return perform(effect)

    monkeypatch.setattr(engine, "_perform", perform_meanwhile)
    site.map_local(ZVOL)
    assert grants[:2] == [False, True]
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", b"later", 4096)
    site.nas.die()
    site.nas.start()
    site.unmap(ZVOL)
    assert at_nas(site, b"later")


def test_a_grant_that_ends_just_before_the_record_has_the_last_word_on_no_volume(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor would the same command, typed again, have written it."""
    site.map_local(ZVOL)
    pools, take = site.nas.pools, Engine.take
    volume = pools.read_volume(f"tank/{ZVOL}")

    def as_the_grant_has_it() -> None:
        pools.ensure_properties(volume.name, volume.guid, {"imgstore:persistent": "yes"})

    def take_after_the_grant(engine: Engine, image_id: str, event: object, *more: object) -> object:
        as_the_grant_has_it()
        return take(engine, image_id, event, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "take", take_after_the_grant)
        set_persistent(site, "no")
    assert pools.read_volume(volume.name).property_value("imgstore:persistent") == "no"
    as_the_grant_has_it()
    set_persistent(site, "no")
    assert pools.read_volume(volume.name).property_value("imgstore:persistent") == "no"


def test_other_requests_do_not_wait_for_that_of_a_first_start(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The map, which comes next, writes it to the volume."""
    site.ask(wire.GrowZvol("tank", ZVOL, 2 * BYTES_PER_GIB))  # the image has a record now
    pools = site.nas.pools
    with monkeypatch.context() as patch:
        patch.setattr(pools, "ensure_properties", None)
        site.ask(wire.SetZvolAttrs(ZVOL, (("persistent", "no"),), "a-machine"))
    site.map_local(ZVOL)
    assert pools.read_volume(f"tank/{ZVOL}").property_value("imgstore:persistent") == "no"
    site.lose_records()
    site.wait_for_state(ZVOL, "local")
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", b"later", 4096)
    site.unmap(ZVOL)
    assert not at_nas(site, b"later")


@pytest.mark.parametrize("is_map_begun", [False, True])
def test_what_a_first_start_sets_counts_although_its_nas_dies(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, is_map_begun: bool
) -> None:
    """An operator has set the opposite before, and the daemon dies before the first grant is on the volume."""
    site.ask(wire.GrowZvol("tank", ZVOL, 2 * BYTES_PER_GIB))
    set_persistent(site, "yes")
    site.ask(wire.SetZvolAttrs(ZVOL, (("persistent", "no"),), "a-machine"))
    if is_map_begun:
        die_before(site, monkeypatch, EnsureGrant)
    else:
        site.nas.die()
        site.nas.start()
    site.map(ZVOL)
    assert site.nas.deaths == 1
    site.wait_for_state(ZVOL, "local")
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", b"later", 4096)
    site.unmap(ZVOL)
    assert not at_nas(site, b"later") and site.leftovers() == []


def test_what_was_set_last_counts_although_no_grant_was_ever_written(
    site: DrivenSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first map hangs, and the records that come back are from before the last word."""
    site.ask(wire.GrowZvol("tank", ZVOL, 2 * BYTES_PER_GIB))
    set_persistent(site, "no")

    def fail(*values: object) -> None:
        raise HostError("not now")

    with monkeypatch.context() as patch:
        for name in ("read_pool", "read_history"):
            patch.setattr(site.nas.pools, name, fail)
        initiator = site.hosts[HOST].sessions.read_initiator()
        site.send(wire.MapZvol("tank", ZVOL, HOST, "tank", 1, True, initiator))
        site.wait_for(lambda: "not now" in site.image(ZVOL).reason, "failure")
        backup = backup_of(site, tmp_path / "backup")
        set_persistent(site, "yes")
        restart_with(site, backup)
        assert site.image(ZVOL).epoch == 1 and site.image(ZVOL).persistent


@pytest.mark.slow
@pytest.mark.parametrize("is_pulled", [False, True], ids=["on the host", "pulled and not accepted"])
def test_changes_are_discarded_although_the_records_are_lost_before(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, is_pulled: bool
) -> None:
    """The device is gone, and the host was not asked to discard them yet."""
    site.map_local(ZVOL)
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", b"later", 4096)
    if is_pulled:
        die_before(site, monkeypatch, VerifyReceived, loses_records=True)
        site.send(wire.PullZvol(ZVOL))
        site.wait_for(lambda: site.nas.deaths == 1, "dead")
        site.wait_for_state(ZVOL, "local")
    set_persistent(site, "no")
    deaths = site.nas.deaths
    die_before(site, monkeypatch, EnsurePartialGone, loses_records=True)
    site.send(wire.UnmapZvol(ZVOL))
    site.wait_for(lambda: site.nas.deaths > deaths, "dead")
    site.wait_for_state(ZVOL, "unmapped")
    assert not at_nas(site, b"later") and site.leftovers() == []
    site.map_local(ZVOL)
    assert site.hosts[HOST].pools.read(f"tank/{ZVOL}", 5, 4096) == bytes(5)


def test_changes_of_another_grant_are_not_discarded(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host has lost its records, too: nobody knows of which grant its copy is, and nothing of it is destroyed."""
    host = site.map_local(ZVOL)
    host.pools.write(f"tank/{ZVOL}", b"later", 4096)
    set_persistent(site, "no")
    monkeypatch.setattr("rocks.storage.host.service.recover_records", lambda *_: frozenset())
    host.lose_power()
    host.forget_records()
    host.start()
    site.lose_records()
    site.wait_for_state(ZVOL, "unmapped")
    assert at_nas(site, b"later") and site.leftovers() == []


def test_a_contradiction_is_recorded_first(
    site: DrivenSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is taken wakes a worker, which must not go on with the step of the older record."""
    site.map_local(ZVOL)
    site.unmap(ZVOL)
    backup = backup_of(site, tmp_path / "backup")
    set_persistent(site, "no")
    site.map_local(ZVOL, OTHER)
    events: list[str] = []
    take = Engine.take

    def take_noted(engine: Engine, image_id: str, event: object, *more: object) -> object:
        events.append(type(event).__name__)
        return take(engine, image_id, event, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "take", take_noted)
    restart_with(site, backup)
    assert events[:2] == ["Contradicted", "Configure"]
    assert site.row(ZVOL)["state"] == "blocked" and site.image(ZVOL).persistent is False
