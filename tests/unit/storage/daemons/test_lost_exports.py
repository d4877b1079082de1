"""LIO loses exports while the NAS's daemon runs: the daemon makes them again, and removes nothing."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from rocks.storage.iscsi.initiator import LOGGED_IN
from rocks.storage.iscsi.target import TargetConfig
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOST

ZVOL = "vm-vol"


def clear_configuration(site: DrivenSite) -> None:
    """As `targetcli clearconfig confirm=True` on the NAS."""
    site.nas.targets.configs.clear()
    site.nas.targets.backstores.clear()


def session_state(site: DrivenSite) -> str:
    (session,) = site.hosts[HOST].sessions.read_sessions()
    return session.state


def test_all_exports_are_made_again(site: DrivenSite, caplog: pytest.LogCaptureFixture) -> None:
    """As they were, of images that are mapped: the sessions go on. One that is local needs none."""
    site.map_local("local-vol")
    site.map(ZVOL, sync=False)
    before = site.nas.targets.read_exports()
    clear_configuration(site)
    assert session_state(site) != LOGGED_IN
    pause = site.nas.service._exports.look()
    assert site.nas.targets.read_exports() == tuple(one._replace(sessions=()) for one in before)
    assert len(before) == 1 and session_state(site) == LOGGED_IN
    (line,) = [one.getMessage() for one in caplog.records if one.name == "rocks.storage.nas.exports"]
    assert f"LIO has lost the export {before[0].target} for iqn." in line
    caplog.clear()
    assert site.nas.service._exports.look() == pause >= 60 and not caplog.records


@pytest.mark.parametrize(
    "lost",
    [{"luns": ()}, {"acls": ()}, {"portals": ()}, {"is_enabled": False}],
    ids=lambda lost: next(iter(lost)),
)
def test_a_part_of_an_export_is_made_again(site: DrivenSite, lost: dict[str, Any]) -> None:
    site.map(ZVOL, sync=False)
    configs = site.nas.targets.configs
    ((target, before),) = configs.items()
    configs[target] = before._replace(**lost)
    site.nas.service._exports.look()
    assert configs[target] == before._replace(acls=configs[target].acls)
    assert session_state(site) == LOGGED_IN


def test_passwords_that_were_changed_by_hand_are_set_again(
    site: DrivenSite, caplog: pytest.LogCaptureFixture
) -> None:
    """With those of the record the host logs in again; no password is in the log."""
    site.map(ZVOL, sync=False)
    configs = site.nas.targets.configs
    ((target, before),) = configs.items()
    (acl,) = before.acls
    assert acl.chap is not None
    typed = replace(acl.chap, password="typed-by-hand-1234")
    for chap in (typed, None):
        configs[target] = before._replace(acls=(acl._replace(chap=chap),))
        caplog.clear()
        site.nas.service._exports.look()
        assert [one.chap for one in configs[target].acls] == [acl.chap]
        assert session_state(site) == LOGGED_IN
        (line,) = [one.getMessage() for one in caplog.records if one.name == "rocks.storage.nas.exports"]
        assert target in line and typed.password not in line and acl.chap.password not in line
    before = dict(configs)
    site.nas.service._exports.look()
    assert configs == before


def test_an_access_list_entry_of_another_host_is_no_export_for_ours(site: DrivenSite) -> None:
    """Somebody has exchanged it by hand."""
    site.map(ZVOL, sync=False)
    configs = site.nas.targets.configs
    ((target, before),) = configs.items()
    configs[target] = before._replace(
        acls=(before.acls[0]._replace(initiator="iqn.2024-01.org:x", has_session=False),)
    )
    site.nas.service._exports.look()
    assert [acl.initiator for acl in configs[target].acls] == [before.acls[0].initiator]


def test_exports_that_nobody_expects_stay(site: DrivenSite) -> None:
    """Of another program, and one with a name of ours: only the start of the daemon decides about that."""
    prefix = site.nas.targets._prefix
    for name in ("iqn.2024-01.org.example:theirs", f"{prefix}unknown.1"):
        site.nas.targets.configs[name] = TargetConfig(name, (1,), True, (), (), (), ())
    before = dict(site.nas.targets.configs)
    site.nas.service._exports.look()
    assert site.nas.targets.configs == before


def test_an_export_that_is_being_made_is_not_lost(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The comparison comes while a worker makes the first export of an image."""
    show, seen = site.nas.pools.ensure_snapshots_visible, list[int]()

    def showing(volume: str, guid: str) -> Any:
        site.nas.service._exports.look()
        seen.append(len(site.nas.targets.read_exports()))
        return show(volume, guid)

    monkeypatch.setattr(site.nas.pools, "ensure_snapshots_visible", showing)
    site.map(ZVOL)
    assert seen == [0] and "has lost" not in caplog.text


def test_an_export_whose_image_is_unmapped_meanwhile_is_not_made(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While another one is made, which may take as long as LIO does."""
    for zvol in ("a-vol", "b-vol"):
        site.map(zvol, sync=False)
    clear_configuration(site)
    exports = site.nas.service._exports
    perform, unmapped = exports._perform, list[str]()

    def slowly(effect: Any) -> Any:
        if not unmapped:
            unmapped.append("b-vol")
            site.unmap("b-vol")
        return perform(effect)

    monkeypatch.setattr(exports, "_perform", slowly)
    exports.look()
    assert site.state("b-vol") == "unmapped" and exports.failures == {}
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert [":a-vol." in one.target for one in site.nas.targets.read_exports()] == [True]


def test_an_export_that_cannot_be_made_is_reported(
    site: DrivenSite, caplog: pytest.LogCaptureFixture
) -> None:
    """In the listing of images, and once in the log; it is made when its pool is back."""
    site.map(ZVOL, sync=False)
    clear_configuration(site)
    site.nas.pools.export_pool("tank")
    for _ in range(3):
        assert site.nas.service._exports.look() < 60
    text = "the export could not be made again, and is tried again: this machine has no ZFS pool tank"
    assert site.row(ZVOL)["reason"].startswith(text)
    errors = [one for one in caplog.records if one.levelno == logging.ERROR and text in one.getMessage()]
    assert len(errors) == 1
    site.nas.pools.import_pool("tank")
    site.nas.service._exports.look()
    assert len(site.nas.targets.read_exports()) == 1 and site.row(ZVOL)["reason"] == ""


@pytest.mark.parametrize("sync", [False, True])
def test_another_volume_is_not_exported_in_the_place_of_the_images(site: DrivenSite, sync: bool) -> None:
    """The pool was made anew of a copy, or the names were exchanged: the guest waits, and reads no other content."""
    site.map(ZVOL, sync=sync)
    name, pools = f"tank/{ZVOL}", site.nas.pools
    site.nas.lose_power()
    volume, history = pools.read_volume(name), pools.read_history(name)
    pools.ensure_renamed(name, volume.guid, "tank/former")
    pools.ensure_volume(name, volume.size_bytes, 16384, properties=dict(volume.properties))
    other = pools.read_volume(name)
    for snapshot in history.snapshots:
        pools.ensure_snapshot(name, other.guid, snapshot.name, {})
    site.nas.start()
    assert site.nas.service._exports.look() < 60 and site.nas.targets.read_exports() == ()
    assert (
        f"but the image's volume has {volume.guid}: another volume has its name" in site.row(ZVOL)["reason"]
    )
    pools.ensure_renamed(name, other.guid, "tank/other")
    pools.ensure_renamed("tank/former", volume.guid, name)
    site.nas.service._exports.look()
    assert len(site.nas.targets.read_exports()) == 1 and session_state(site) == LOGGED_IN
