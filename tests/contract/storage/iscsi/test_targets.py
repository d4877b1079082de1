"""Exports of a NAS, in memory and by LIO."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from rocks.core.errors import IncoherentError, StateError, UserError
from rocks.storage.iscsi.target import ExportSpec
from tests.contract.outcomes import changes_once, refused
from tests.contract.storage.iscsi.target_world import (
    INITIATOR,
    OTHER,
    PREFIX,
    World,
    backstore,
    export_spec,
    open_world,
)
from tests.contract.worlds import WORLDS


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A NAS with two volumes and no export."""
    with open_world(request.param) as opened:
        yield opened


def exported(world: World) -> ExportSpec:
    spec = export_spec(world)
    world.targets.ensure_export(spec)
    return spec


def test_an_export_is_made_once(world: World) -> None:
    """Complete and as specified; the second call changes nothing."""
    spec = export_spec(world)
    assert world.targets.read_exports() == ()
    changes_once(world.targets.ensure_export, spec)
    (export,) = world.targets.read_exports()
    assert (export.target, export.device_path) == (spec.target, spec.device_path)
    assert (export.initiators, export.portals) == ((INITIATOR,), ("127.0.0.1:3260",))
    assert (export.unit_serial, export.sessions) == (spec.unit_serial, ())
    assert export.read_only and export.is_complete


def test_the_secrets_of_a_live_export_are_read(world: World) -> None:
    """A daemon that has lost its records needs them: the host logs in by them again."""
    spec = export_spec(world)
    assert world.targets.read_secrets(spec.target) is None
    world.targets.ensure_export(spec)
    assert world.targets.read_secrets(spec.target) == spec.chap is not None


def test_an_export_can_be_written_only_when_asked_for(world: World) -> None:
    """For images that stay on the NAS; without CHAP as well."""
    spec = export_spec(world, read_only=False, chap=None)
    changes_once(world.targets.ensure_export, spec)
    assert not world.targets.read_exports()[0].read_only
    with pytest.raises(
        IncoherentError, match="is .* writable with serial 0123456789abcdef, not .* read-only"
    ):
        world.targets.ensure_export(replace(spec, read_only=True))


@pytest.mark.parametrize("part", ["target", "LUN", "access list", "mapped LUN", "portal", "gate"])
def test_an_export_that_is_half_made_is_completed(world: World, part: str) -> None:
    """Whatever step the last attempt had come to."""
    spec = exported(world)
    (complete,) = world.targets.read_exports()
    world.take_part(spec.target, part)
    assert not any(export.is_complete for export in world.targets.read_exports())
    changes_once(world.targets.ensure_export, spec)
    assert world.targets.read_exports() == (complete,)


def test_a_backstore_without_target_is_found_and_removed(world: World) -> None:
    """It would keep its volume busy for ever."""
    spec = exported(world)
    assert world.targets.read_unused_backstores() == ()
    world.take_part(spec.target, "target")
    assert world.targets.read_unused_backstores() == (spec.target,)
    assert world.targets.ensure_export_gone(spec.target).changed
    assert world.targets.read_unused_backstores() == ()


def test_exports_of_two_volumes_do_not_meet(world: World) -> None:
    """Each goes alone."""
    first, second = export_spec(world), export_spec(world, "vm2", unit_serial="fedcba9876543210")
    world.targets.ensure_export(first)
    world.targets.ensure_export(second)
    assert [export.target for export in world.targets.read_exports()] == [first.target, second.target]
    assert world.targets.ensure_export_gone(first.target).changed
    (left,) = world.targets.read_exports()
    assert left.target == second.target and left.is_complete


def test_an_export_goes_once(world: World) -> None:
    """Target and backstore, so that the volume is free for the next epoch."""
    spec = exported(world)
    changes_once(world.targets.ensure_export_gone, spec.target)
    assert world.targets.read_exports() == () and world.targets.read_unused_backstores() == ()
    assert world.targets.ensure_export(export_spec(world, epoch=4)).changed


@pytest.mark.parametrize("part", ["LUN", "access list", "portal", "gate"])
def test_an_export_that_is_half_gone_goes(world: World, part: str) -> None:
    """Whatever step the last attempt had come to."""
    spec = exported(world)
    world.take_part(spec.target, part)
    assert world.targets.ensure_export_gone(spec.target).changed
    assert world.targets.read_exports() == () and world.targets.read_unused_backstores() == ()


def test_a_volume_is_exported_once(world: World) -> None:
    """Not to two hosts, and not under two epochs."""
    spec = exported(world)
    with pytest.raises(StateError, match=rf"is already exported by {spec.target}"):
        world.targets.ensure_export(export_spec(world, epoch=4))
    assert len(world.targets.read_exports()) == 1


def test_another_serial_or_device_is_refused(world: World) -> None:
    """A target is one image in one epoch, and stays so."""
    spec = exported(world)
    before = world.targets.read_exports()
    for changes in ({"unit_serial": "another-serial"}, {"device_path": world.device("vm2")}):
        with pytest.raises(IncoherentError, match=f"the backstore {backstore(spec)} is /dev/"):
            world.targets.ensure_export(replace(spec, **changes))
    assert world.targets.read_exports() == before


def test_who_was_let_in_besides_is_turned_out(world: World) -> None:
    """An access list has one entry."""
    spec = exported(world)
    world.let_in(spec.target, OTHER)
    assert set(world.targets.read_exports()[0].initiators) == {OTHER, INITIATOR}
    assert world.targets.ensure_export(spec).changed
    assert world.targets.read_exports()[0].initiators == (INITIATOR,)


def test_what_others_export_stays(world: World) -> None:
    """It is not listed, not touched, and cannot be named."""
    world.export_theirs("theirs", world.device("vm2"))
    spec = exported(world)
    assert [export.target for export in world.targets.read_exports()] == [spec.target]
    with pytest.raises(StateError, match=r"is already exported by iqn\.2024-01\.org\.example:theirs"):
        world.targets.ensure_export(export_spec(world, "vm2"))
    with pytest.raises(UserError, match=f"is not a target of this NAS: the prefix is {PREFIX}"):
        world.targets.ensure_export_gone("iqn.2024-01.org.example:theirs")
    world.targets.ensure_export_gone(spec.target)
    assert world.theirs() == "theirs"


def test_a_backstore_that_serves_others_stays(world: World) -> None:
    """Removing it would take their disk."""
    spec = exported(world)
    world.export_theirs(backstore(spec), None)
    with pytest.raises(
        IncoherentError, match=r"also serves iqn\.2024-01\.org\.example:theirs; nothing was removed"
    ):
        world.targets.ensure_export_gone(spec.target)
    assert world.theirs() == backstore(spec)
    assert world.targets.read_exports()[0].is_complete


def test_a_device_that_is_not_there(world: World) -> None:
    """Nothing is made of it."""
    spec = export_spec(world, device_path="/dev/zvol/none/such")
    with pytest.raises(StateError, match="/dev/zvol/none/such is not a block device of this NAS"):
        world.targets.ensure_export(spec)
    assert world.targets.read_exports() == ()


def test_an_address_that_is_not_the_nas_s_own(world: World) -> None:
    """No unreachable export is created."""
    spec = export_spec(world, portal_address="10.255.255.1")
    refused(StateError, r"10\.255\.255\.1 is not an address of this NAS", world.targets.ensure_export, spec)
    assert world.targets.read_exports() == () and world.targets.read_unused_backstores() == ()


@pytest.mark.parametrize("address", ["0.0.0.0", "8.8.8.8", "224.0.0.1", "nas-0-0", "127.1"])
def test_a_portal_is_one_address_of_a_network_of_the_sites_own(world: World, address: str) -> None:
    """Not all of them, not the internet's, and no name that may lead elsewhere tomorrow."""
    with pytest.raises(UserError, match="iSCSI portal"):
        world.targets.ensure_export(export_spec(world, portal_address=address))
    assert world.targets.read_exports() == ()
