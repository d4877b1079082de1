"""The NAS's operations on the record: a volume is known by its guid, and a restore survives a failure anywhere."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rocks.core.errors import CLASSES, IncoherentError, RocksError, StateError
from rocks.storage.image import effects
from rocks.storage.image.effects import AskHost
from rocks.storage.image.events import Abandon, Delete, EffectDone, EffectFailed, Restore, Retry, RetryDue
from rocks.storage.image.image import Decision, Facts, Image, Outcome, Rejection
from rocks.storage.image.state_machine import is_ready
from rocks.storage.iscsi.target import Portal
from rocks.storage.nas.sequences import MACHINE
from rocks.storage.nas.service import NasHandlers
from tests.fakes.iscsi import FakeTargets
from tests.fakes.zfs import FakePools
from tests.unit.storage.records import MAP, NOW, decided
from tests.waiting import step_until

VOLUME = "tank/vm-vol"
SIZE = 64 * 1024 * 1024
VERBS = (
    "ensure_snapshot",
    "ensure_clones",
    "ensure_promoted",
    "ensure_renamed",
    "ensure_hold",
    "ensure_properties",
)


class Flaky:
    """Pools of which one call fails, before it is done or after."""

    def __init__(
        self, pools: FakePools, fails_at: int = -1, is_done: bool = False, family: str = "tool"
    ) -> None:
        self.pools, self.fails_at, self.is_done, self.family = pools, fails_at, is_done, family
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        real: Callable[..., Any] = getattr(self.pools, name)
        return self._flaky(real) if name in VERBS else real

    def _flaky(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any) -> Any:
            self.calls += 1
            fails = self.calls - 1 == self.fails_at
            found = None if fails and not self.is_done else real(*values)
            if fails:
                raise CLASSES[self.family]("it failed")
            return found

        return call


class Site:
    """One image whose volume has two snapshots, `old` and `middle`, and newer content."""

    def __init__(self) -> None:
        self.pools = FakePools({"tank": 1024**3})
        self.pools.ensure_volume(VOLUME, SIZE, 16384)
        self.guid = self.fact(VOLUME).guid
        for name in ("old", "middle"):
            self.pools.write(VOLUME, name.encode())
            self.pools.ensure_snapshot(VOLUME, self.guid, name, {})
        self.pools.write(VOLUME, b"newest")
        self.image = Image("1", "nas-0-0", "tank", "vm-vol", volume_guid=self.guid, size_bytes=SIZE)
        self.outcomes: list[Outcome] = []
        self.now = NOW

    def fact(self, name: str) -> Any:
        found = self.pools.read_volume(name)
        assert found is not None, name
        return found

    def snapshot(self, name: str) -> Any:
        found = self.pools.read_history(VOLUME).snapshot(name)
        assert found is not None, name
        return found

    def operations(self, pools: Any = None) -> NasHandlers:
        return NasHandlers(
            pools or self.pools,
            FakeTargets("iqn.2001-04.com."),
            Portal("127.0.0.1", 3260),
            lambda target: None,
        )

    def take(self, event: Any) -> None:
        decision = MACHINE.decide(self.image, event, self.now)
        assert isinstance(decision, Decision), decision
        self.outcomes += decision.outcomes
        assert decision.image is not None
        self.image = decision.image

    def work(self, pools: Any = None) -> None:
        """Do what is open, as the daemon does, until it ends, waits or asks a host."""
        operations = self.operations(pools)

        def has_ended() -> bool:
            work = self.image.work
            if work is None or not is_ready(self.image):
                return True
            effect = work.effects[work.position]
            if isinstance(effect, AskHost):
                return True
            try:
                self.take(EffectDone(work.work_id, work.position, operations.do(effect)))
            except RocksError as error:
                self.take(EffectFailed(work.work_id, work.position, error.family, str(error)))
            return False

        step_until(has_ended, lambda: f"its work has no end: {self.image}")

    def perform(self, event: Any) -> None:
        self.take(event)
        self.work()

    def restore(self, name: str, pools: Any = None) -> None:
        self.take(Restore(f"restore-{name}", name, self.snapshot(name).guid))
        self.work(pools)

    def end(self) -> None:
        """Pauses pass and an operator retries a blocked image, until no step is open."""
        for _ in range(20):
            if self.image.state == "unmapped":
                return
            self.now += 1000
            self.take(Retry("retry") if self.image.state == "blocked" else RetryDue())
            self.work()
        raise AssertionError(f"no end: {self.image}")

    def content(self, name: str = VOLUME) -> bytes:
        return self.pools.read(name, 6).rstrip(b"\0")


# --- the volume is known by its guid -------------------------------------------------------------------------------


def test_a_new_image_gets_a_volume() -> None:
    """The first time only: what was made is known from then on."""
    site = Site()
    site.image = Image("2", "nas-0-0", "tank", "new-vol")
    site.perform(replace(MAP, sync=False, size_bytes=SIZE))
    assert site.image.work is not None and isinstance(site.image.work.facts.volume_guid, str)
    assert site.fact("tank/new-vol").size_bytes == SIZE


@pytest.mark.parametrize("sync", [True, False])
def test_a_used_image_without_its_volume_is_not_made_anew(sync: bool) -> None:
    """The map fails, saying what to do, and leaves nothing open; with its name again, the volume is the image."""
    site = Site()
    site.pools.ensure_renamed(VOLUME, site.guid, "tank/elsewhere")
    site.image = replace(site.image, base_name="old", base_guid="1")
    site.perform(replace(MAP, sync=sync))
    assert site.image.state == "unmapped" and site.pools.read_volume(VOLUME) is None
    outcome = site.outcomes[-1]
    assert (outcome.op_id, outcome.family) == (MAP.op_id, "state")
    assert (
        VOLUME in outcome.text and "zfs rename" in outcome.text and "remove host storageimg" in outcome.text
    )
    site.pools.ensure_renamed("tank/elsewhere", site.guid, VOLUME)
    site.perform(replace(MAP, sync=sync))
    assert site.image.work is not None and site.image.work.asked is not None


def test_another_volume_is_not_taken_for_the_images() -> None:
    """It gets no lease, no hold and no snapshot; it is not destroyed with the image, and not restored over."""
    site = Site()
    site.pools.ensure_renamed(VOLUME, site.guid, "tank/elsewhere")
    site.pools.ensure_volume(VOLUME, SIZE, 16384)
    stranger = site.fact(VOLUME)
    site.perform(MAP)
    assert site.image.state == "unmapped" and site.outcomes[-1].family == "incoherent"
    site.perform(Delete("delete-1"))
    assert site.image.state == "unmapped" and "another volume has the name" in site.outcomes[-1].text
    site.perform(Restore("restore-1", "old", "5"))
    assert site.image.state == "unmapped" and site.outcomes[-1].family == "incoherent"
    assert site.image.volume_guid == site.guid
    assert site.fact(VOLUME) == stranger and site.pools.read_history(VOLUME).snapshots == ()


def test_a_known_guid_is_never_replaced_by_another() -> None:
    """A volume with another guid is an error, whatever an effect reports."""
    image = replace(Site().image, volume_guid="5")
    mapping = decided(image, MAP).image
    assert mapping.work.effects[0] == effects.EnsureVolume(VOLUME, SIZE, "5")
    for position, facts in (
        (0, Facts(volume_guid="6", size_bytes=SIZE, free_bytes=1, pool_bytes=2)),
        (1, Facts()),
    ):
        mapping = decided(mapping, EffectDone(f"1-{mapping.sequence}", position, facts)).image
        assert mapping is not None
    failed = decided(mapping, EffectFailed(f"1-{mapping.sequence}", 2, "tool", "it failed")).image
    assert failed is not None and failed.volume_guid == "5"


def test_a_first_map_without_free_space_ends() -> None:
    """There is no volume whose lease could be given back."""
    site = Site()
    site.image = Image("2", "nas-0-0", "tank", "new-vol")
    site.perform(replace(MAP, size_bytes=0))
    assert site.image.state == "unmapped" and site.outcomes[-1].family == "state"


def test_no_volume_is_made_that_no_host_could_get() -> None:
    """It would stay, of a size that its pool has no space for; a smaller one can be made afterwards."""
    site = Site()
    site.image = Image("2", "nas-0-0", "tank", "new-vol")
    site.perform(replace(MAP, size_bytes=1024**4))
    assert site.image.state == "unmapped" and site.pools.read_volume("tank/new-vol") is None
    assert "tank/new-vol is not made: the NAS's pool has" in site.outcomes[-1].text
    site.operations().do(effects.EnsureVolume("tank/new-vol", SIZE, None))
    assert site.fact("tank/new-vol").size_bytes == SIZE


# --- a restore -----------------------------------------------------------------------------------------------------


def restored_site(site: Site, name: str, epoch: int = 1) -> None:
    """What must be so after a restore."""
    assert site.image.state == "unmapped" and site.content() == name.encode()
    assert site.image.volume_guid == site.fact(VOLUME).guid != site.guid
    quarantined = f"{VOLUME}-before-{epoch}"
    assert site.fact(quarantined).guid == site.guid and site.content(quarantined) == b"newest"
    assert [one.name for one in site.pools.read_history(quarantined).snapshots][-1].startswith(
        f"img-{epoch}-"
    )
    assert site.image.base_guid == site.pools.read_history(VOLUME).newest.guid  # type: ignore[union-attr] # it has one
    assert not [one.name for one in site.pools.list_volumes("tank") if "restoring" in one.name]
    assert len(site.pools.read_history(VOLUME).snapshots) == (1 if name == "old" else 2)


def test_a_restore_reports_the_new_guid() -> None:
    """The next map takes the restored volume for the image's."""
    site = Site()
    site.restore("old")
    restored_site(site, "old")
    site.perform(MAP)
    assert site.image.work is not None and site.image.work.asked is not None


def _count() -> int:
    site = Site()
    flaky = Flaky(site.pools)
    site.restore("middle", flaky)
    return flaky.calls


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("family", ["tool", "state", "busy", "incoherent"])
@pytest.mark.parametrize("fails_at", range(_count()))
def test_a_restore_survives_a_failure_anywhere(fails_at: int, family: str, is_done: bool) -> None:
    """Nothing was changed, and it can be asked for again; or it is retried or held, and comes to its end."""
    site = Site()
    site.restore("middle", Flaky(site.pools, fails_at, is_done, family))
    epoch = 1
    if site.image.state == "unmapped" and site.outcomes[-1].family is not None:
        assert site.fact(VOLUME).guid == site.guid == site.image.volume_guid and site.content() == b"newest"
        assert site.snapshot("middle")
        site.restore("middle")
        epoch = 2
    site.end()
    assert site.content() == b"middle" and site.image.volume_guid == site.fact(VOLUME).guid
    if epoch == 1:
        restored_site(site, "middle")


@pytest.mark.parametrize("calls", range(_count()))
def test_a_restore_begun_again_from_its_first_effect_ends(calls: int) -> None:
    """As after an operator's Retry, at any effect; the safety snapshot is taken once."""
    site = Site()
    site.restore("old", Flaky(site.pools, calls, True, "incoherent"))
    if site.image.state == "unmapped":
        return
    assert (
        site.image.state == "blocked" and site.image.work is not None and site.image.work.step == "exchange"
    )
    site.end()
    restored_site(site, "old")


def test_a_later_restore_does_not_adopt_what_an_earlier_left() -> None:
    """The clone of one that was given up lies there, made of another snapshot."""
    site = Site()
    clones = dict.fromkeys((f"{VOLUME}-restoring", f"{VOLUME}-restoring-1"), f"{VOLUME}@old")
    site.pools.ensure_clones(clones, {f"{VOLUME}@old": site.snapshot("old").guid}, {})
    site.restore("middle")
    assert site.image.state == "unmapped" and site.outcomes[-1].family == "incoherent"
    assert site.fact(VOLUME).guid == site.guid
    site.restore("middle")
    assert site.content() == b"middle" and site.content(f"{VOLUME}-restoring-1") == b"old"


def test_a_restore_stops_at_a_foreign_volume_with_the_former_ones_name() -> None:
    """What has the name of the volume before is not ours."""
    site = Site()
    site.pools.ensure_volume(f"{VOLUME}-before-1", SIZE, 16384)
    site.restore("old")
    assert (
        site.image.state == "blocked" and site.fact(VOLUME).guid == site.guid and site.content() == b"newest"
    )
    foreign = site.fact(f"{VOLUME}-before-1")
    site.pools.ensure_renamed(foreign.name, foreign.guid, "tank/foreign")
    site.end()
    restored_site(site, "old")


def test_an_exchange_is_not_given_up_in_the_middle() -> None:
    """The volume may have no name just then."""
    site = Site()
    site.restore("old", Flaky(site.pools, 4, True, "incoherent"))
    assert site.image.state == "blocked" and site.pools.read_volume(VOLUME) is None
    rejection = MACHINE.decide(site.image, Abandon("abandon-1", "it burns"), site.now)
    assert isinstance(rejection, Rejection) and "rocks clean host storagemap" in rejection.text


def test_handlers_raise_errors_of_the_right_family() -> None:
    """By who can help."""
    site = Site()
    with pytest.raises(StateError, match="tank/gone"):
        site.operations().do(effects.EnsureVolume("tank/gone", SIZE, "7"))
    with pytest.raises(IncoherentError, match="has the guid"):
        site.operations().do(effects.EnsureVolume(VOLUME, SIZE, "7"))
    with pytest.raises(StateError):
        site.operations().do(effects.EnsureGrant(VOLUME + "x", 1, 0, "vmh1", "mapping"))
