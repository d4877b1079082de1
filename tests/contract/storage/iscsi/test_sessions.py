"""Disks of a NAS on a host, in memory and by open-iscsi."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rocks.core.errors import HostError, IncoherentError, StateError, UserError
from rocks.storage.iscsi.initiator import LOGGED_IN, SessionFact, SessionSpec
from tests.contract.outcomes import refused
from tests.contract.storage.iscsi.session_world import (
    HostWorld,
    export,
    open_host_world,
    wait_for_state,
)
from tests.contract.storage.iscsi.target_world import CHAP, OTHER, SIZE_BYTES, export_spec
from tests.contract.worlds import WORLDS
from tests.waiting import wait_until


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> Iterator[HostWorld]:
    """A host and a NAS with nothing exported."""
    with open_host_world(request.param) as opened:
        yield opened


def attached(world: HostWorld) -> tuple[SessionSpec, SessionFact]:
    spec = export(world)
    return spec, world.sessions.ensure_session(spec)


def test_a_disk_is_attached_once(world: HostWorld) -> None:
    """Under its lasting name, read-only; the second time nothing changes."""
    spec, fact = attached(world)
    assert fact.device_path == f"/dev/disk/by-path/ip-127.0.0.1:3260-iscsi-{spec.target}-lun-0"
    assert (fact.target, fact.address, fact.port) == (spec.target, "127.0.0.1", 3260)
    assert (fact.state, fact.unit_serial, fact.size_bytes) == (LOGGED_IN, spec.unit_serial, SIZE_BYTES)
    assert fact.is_read_only
    assert world.can_read(fact.device_path)
    assert not world.can_write(fact.device_path)
    assert world.sessions.ensure_session(spec) == fact
    assert world.sessions.read_sessions() == (fact,)
    assert world.nas.targets.read_exports()[0].sessions == (world.sessions.read_initiator(),)


def test_a_disk_that_stays_on_the_nas_can_be_written(world: HostWorld) -> None:
    """When both sides want it so; a site without CHAP can have it."""
    spec = export(world, read_only=False, chap=None)
    fact = world.sessions.ensure_session(spec)
    assert world.can_write(fact.device_path)


def test_a_disk_goes_once(world: HostWorld) -> None:
    """With its session, and the secrets with it."""
    spec, _ = attached(world)
    assert world.has_record(spec.target)
    assert world.sessions.ensure_session_gone(spec.target).changed
    assert world.sessions.read_sessions() == ()
    assert not world.has_record(spec.target)
    assert not world.sessions.ensure_session_gone(spec.target).changed
    assert world.nas.targets.read_exports()[0].sessions == ()


def test_a_disk_in_use_does_not_go(world: HostWorld) -> None:
    """The error names the user of the device."""
    spec, fact = attached(world)
    assert world.sessions.used_targets() == set()
    world.open(fact.device_path)
    assert world.sessions.used_targets() == {spec.target}
    with pytest.raises(
        StateError, match=rf"the disk of {spec.target} is in use by process \d+ \(.*\); release it"
    ):
        world.sessions.ensure_session_gone(spec.target)
    assert world.sessions.read_sessions() == (fact,)
    world.close(fact.device_path)
    assert world.sessions.ensure_session_gone(spec.target).changed


@pytest.mark.parametrize("password", ["password", "mutual_password"])
def test_a_wrong_secret_is_refused(world: HostWorld, password: str) -> None:
    """On either side, and nothing is left of the attempt."""
    spec = export(world)
    wrong = replace(spec, chap=replace(CHAP, **{password: "this-is-another-secret"}))
    with pytest.raises(StateError, match=f"the NAS rejects this host at {spec.target}") as refusal:
        world.sessions.ensure_session(wrong)
    assert "secret" not in str(refusal.value)
    assert world.sessions.read_sessions() == ()
    assert not world.has_record(spec.target)
    assert world.sessions.ensure_session(spec).state == LOGGED_IN


@pytest.mark.parametrize("exported", [{}, {"initiator": OTHER}], ids=["without a secret", "to another host"])
def test_the_name_of_an_initiator_and_a_secret_are_each_no_proof_alone(
    world: HostWorld, exported: dict[str, str]
) -> None:
    spec = export(world, **exported)
    known = spec if exported else replace(spec, chap=None)
    refused(StateError, "rejects this host", world.sessions.ensure_session, known)
    assert world.sessions.read_sessions() == ()


def test_what_is_not_exported_yet_is_not_there(world: HostWorld) -> None:
    """As on a NAS that has just started and goes on exporting: asking again may help."""
    spec = export(world)
    with pytest.raises(HostError, match="Could not find iSCSI target .*vm2.*, or has not exported it yet"):
        world.sessions.ensure_session(replace(spec, target=spec.target.replace("vm1", "vm2")))
    assert world.sessions.read_sessions() == ()


def test_secrets_cannot_be_read(world: HostWorld) -> None:
    """Not by other users of the host, and not in its log, whether the login succeeds or not."""
    spec = export(world)
    wrong = replace(spec, chap=replace(CHAP, password="this-is-another-secret"))
    with world.spy(CHAP.password, CHAP.mutual_password, "this-is-another-secret") as seen:
        refused(StateError, "", world.sessions.ensure_session, wrong)
        world.sessions.ensure_session(spec)
    assert list(seen) == []


def test_a_session_outlives_its_daemon(world: HostWorld) -> None:
    """What iscsid knows of it, the secrets for the next login included, stands in the node record."""
    spec, fact = attached(world)
    world.restart_daemon()
    # a daemon that has just come restores its sessions first, and for a while reports one as FAILED
    wait_until(lambda: world.sessions.read_sessions() == (fact,))
    world.nas.targets.ensure_export_gone(spec.target)
    wait_for_state(world, is_logged_in=False)
    export(world)
    wait_for_state(world, is_logged_in=True)
    assert world.can_read(fact.device_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit_serial": "ffffffffffffffff"}, "has serial 0123456789abcdef, not ffffffffffffffff"),
        ({"size_bytes": 2 * SIZE_BYTES}, f"has {SIZE_BYTES} bytes, not {2 * SIZE_BYTES}"),
        ({"read_only": False}, "is read-only"),
    ],
)
def test_a_disk_that_differs_from_the_spec_is_not_used(
    world: HostWorld, change: dict[str, object], message: str
) -> None:
    """A guest must never see the disk of another."""
    spec = export(world)
    with pytest.raises(IncoherentError, match=message):
        world.sessions.ensure_session(replace(spec, **change))  # type: ignore[arg-type]
    assert world.sessions.read_sessions() == ()
    assert not world.has_record(spec.target)


def test_a_disk_in_use_is_retained_though_it_differs(world: HostWorld) -> None:
    """It belongs to its user; the request fails."""
    spec, fact = attached(world)
    world.open(fact.device_path)
    with pytest.raises(IncoherentError, match="has serial"):
        world.sessions.ensure_session(replace(spec, unit_serial="ffffffffffffffff"))
    assert world.sessions.read_sessions() == (fact,)
    world.close(fact.device_path)


def test_a_session_at_another_place_is_another(world: HostWorld) -> None:
    """It is neither used nor ended."""
    spec, fact = attached(world)
    with pytest.raises(IncoherentError, match=r"at 127\.0\.0\.1:3260, not 127\.0\.0\.2:3260"):
        world.sessions.ensure_session(replace(spec, address="127.0.0.2"))
    assert world.sessions.read_sessions() == (fact,)


def test_a_login_that_was_cut_off_is_finished(world: HostWorld) -> None:
    """After the node record, or after the login itself; settings of that record do not count."""
    spec = export(world)
    world.leave_record(spec)
    fact = world.sessions.ensure_session(spec)
    world.detach(fact)
    assert world.sessions.read_sessions()[0].device_path == ""
    assert world.sessions.ensure_session(spec).device_path == fact.device_path


def test_a_record_that_was_left_goes(world: HostWorld) -> None:
    """For it may hold secrets."""
    spec = export(world)
    world.leave_record(spec)
    assert world.sessions.ensure_session_gone(spec.target).changed
    assert not world.has_record(spec.target)


def test_a_session_whose_record_is_lost(world: HostWorld) -> None:
    """It goes without; and asked for again it gets a new one, which its daemon needs."""
    spec, fact = attached(world)
    world.lose_record(spec.target)
    assert world.sessions.ensure_session(spec) == fact
    assert world.has_record(spec.target)
    world.lose_record(spec.target)
    assert world.sessions.ensure_session_gone(spec.target).changed
    assert world.sessions.read_sessions() == ()


def test_two_disks_do_not_meet(world: HostWorld) -> None:
    """Each goes alone."""
    first = export(world)
    second = export(world, volume="vm2", unit_serial="fedcba9876543210")
    world.sessions.ensure_session(first)
    preserved = world.sessions.ensure_session(second)
    serials = [fact.unit_serial for fact in world.sessions.read_sessions()]
    assert serials == [first.unit_serial, second.unit_serial]
    world.sessions.ensure_session_gone(first.target)
    assert world.sessions.read_sessions() == (preserved,)
    assert world.can_read(preserved.device_path)


def test_a_target_that_comes_back_is_the_same_disk(world: HostWorld) -> None:
    """As after a restart of the NAS, which forgets its exports: same serial, same device, nothing done on the host."""
    spec, fact = attached(world)
    assert world.nas.targets.ensure_export_gone(spec.target).changed
    wait_for_state(world, is_logged_in=False)
    assert world.sessions.ensure_session(spec).device_path == fact.device_path
    assert export(world) == spec
    wait_for_state(world, is_logged_in=True)
    assert world.sessions.read_sessions() == (fact,)
    assert world.can_read(fact.device_path)


def test_an_export_goes_though_it_is_used(world: HostWorld) -> None:
    """A logged-in initiator is disconnected; the host then ends its session without the NAS."""
    spec, _ = attached(world)
    assert world.nas.targets.read_exports()[0].sessions == (world.sessions.read_initiator(),)
    assert world.nas.targets.ensure_export_gone(spec.target).changed
    assert world.nas.targets.read_exports() == ()
    assert world.sessions.ensure_session_gone(spec.target).changed
    assert world.sessions.read_sessions() == ()


def test_a_session_of_another_initiator_is_not_closed(world: HostWorld) -> None:
    """Two hosts on one image is for a person to look at."""
    spec, _ = attached(world)
    with pytest.raises(IncoherentError, match="is logged in to .*, which is for .*:other-host"):
        world.nas.targets.ensure_export(export_spec(world.nas, initiator=OTHER))
    assert len(world.nas.targets.read_exports()[0].sessions) == 1


def test_a_nas_that_is_away(world: HostWorld) -> None:
    """A new disk cannot be had; one that is there is kept, and can be removed in good time."""
    spec, fact = attached(world)
    world.cut()
    wait_for_state(world, is_logged_in=False)
    waiting = world.sessions.ensure_session(spec)
    assert waiting == fact._replace(state=waiting.state)
    begun = time.monotonic()
    assert world.sessions.ensure_session_gone(spec.target).changed
    assert time.monotonic() - begun < 60
    assert world.sessions.read_sessions() == () and not world.has_record(spec.target)
    with pytest.raises(HostError, match=f"the NAS does not answer for {spec.target} at 127.0.0.1:3260"):
        world.sessions.ensure_session(spec)
    assert world.sessions.read_sessions() == () and not world.has_record(spec.target)
    world.restore()
    assert world.sessions.ensure_session(spec).state == LOGGED_IN


def test_a_nas_that_went_away_unnoticed(world: HostWorld) -> None:
    """The disk goes in good time, too, when the session still seems to work."""
    spec, _ = attached(world)
    world.cut()
    begun = time.monotonic()
    assert world.sessions.ensure_session_gone(spec.target).changed
    assert time.monotonic() - begun < 90
    assert world.sessions.read_sessions() == ()


def test_invalid_specs(world: HostWorld) -> None:
    """Nothing is tried."""
    spec = export(world)
    for change in ({"address": "8.8.8.8"}, {"size_bytes": 1}, {"target": "vm1"}, {"unit_serial": ""}):
        refused(UserError, "", world.sessions.ensure_session, replace(spec, **change))
    assert not world.has_record(spec.target)
