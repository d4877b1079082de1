"""May a virtual machine start on this host, and what must be there: from records and facts alone."""

from dataclasses import replace
from typing import Any

import pytest

from rocks.core.errors import BusyError, RocksError, StateError
from rocks.core.units import BYTES_PER_GB
from rocks.fleet.wire.facts import DiskFact, DomainFact
from rocks.fleet.wire.requests import DiskSpec
from rocks.machine.start_plan import (
    LEAST_FREE_BYTES,
    AlreadyStarted,
    StartPlan,
    active_memory_mb,
    container_of,
    is_active,
    memory_reserve_mb,
    plan_start,
)
from rocks.network.filter_plan import FilterPlan
from tests.unit.machine.starts import IMAGE, disk, domain, facts, plan, started
from tests.unit.machines import container, machine


def test_a_machine_of_which_nothing_is_there_yet() -> None:
    assert plan(facts()) == StartPlan(
        disks=(DiskSpec(IMAGE, "raw", 36, False, directory="/images"),),
        links=(),
        autostart=False,
        assumed_state="absent",
        network=FilterPlan(is_on=True),
    )


@pytest.mark.parametrize("state", ["shutoff", "crashed"])
def test_the_operation_includes_the_reported_state(state: str) -> None:
    assert started(facts(domain(state=state))).assumed_state == state


@pytest.mark.parametrize(
    ("value", "autostart"), [("true", True), ("True", False), ("yes", False), ("", False)]
)
def test_autostart_is_exactly_true(value: str, autostart: bool) -> None:
    vm = machine(attributes={"kvm_autostart": value})
    assert started(facts(), vm).autostart is autostart


@pytest.mark.parametrize("state", ["running", "blocked"])
def test_what_runs_under_this_lease_is_only_recorded(state: str) -> None:
    found = plan(facts(domain(state=state, token=7), disks=()))
    assert isinstance(found, AlreadyStarted)
    assert found.notes == ("web was already started by a command that was interrupted",)


@pytest.mark.parametrize("token", [None, 6, 8])
def test_a_domain_under_another_lease_raises(token: int | None) -> None:
    with pytest.raises(StateError, match=r"^The host web is already running\.$"):
        plan(facts(domain(state="running", token=token)))


@pytest.mark.parametrize(
    ("found", "error", "message"),
    [
        (domain(state="paused"), StateError, "web is paused, not off; .*rocks resume host vm web"),
        (domain(state="paused", token=7), StateError, "web is paused"),
        (domain(state="shutdown", token=7), BusyError, "web is shutting down at this moment"),
        (
            domain(has_managed_save=True),
            StateError,
            "managed save on vmc-0-0 that does not belong to its lease; .*saved=remove",
        ),
    ],
)
def test_errors_of_other_states_name_the_remedy(
    found: DomainFact, error: type[RocksError], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan(facts(found))


def test_other_domains_do_not_matter_but_for_their_memory() -> None:
    assert started(facts(domain("db", "running"), domain("web2", "running"))).assumed_state == "absent"


@pytest.mark.parametrize(
    ("state", "active"),
    [
        ("running", True),
        ("blocked", True),
        ("paused", True),
        ("shutdown", True),
        ("crashed", True),
        ("shutoff", False),
    ],
)
def test_which_states_hold_memory_and_disks(state: str, active: bool) -> None:
    reported = facts(domain("db", state), domain("off"))
    assert is_active(reported, "db") is active
    assert not is_active(reported, "absent")
    assert active_memory_mb(reported) == (1024 if active else 0)
    assert active_memory_mb(reported, but="db") == 0


def test_memory_is_what_the_host_has_less_a_reserve_less_what_runs() -> None:
    others = (domain("db", "running", memory_mb=3000), domain("off", memory_mb=9999))
    fits = machine(memory_mb=8192 - 256 - 3000)
    assert started(facts(*others), fits).disks
    message = r"it needs 4937 MB of memory, and vmc-0-0 has 4936 MB left of 7936 MB .*\(3000 MB are taken\)"
    with pytest.raises(StateError, match=message):
        plan(facts(*others), machine(memory_mb=4937))


def test_machines_earlier_in_the_command_count_as_well() -> None:
    with pytest.raises(StateError, match=r"has 936 MB left of 7936 MB .*\(7000 MB are taken\)"):
        plan(facts(), machine(memory_mb=1000), promised_mb=7000)


def test_a_crashed_guest_does_not_stand_in_its_own_way() -> None:
    vm = machine(memory_mb=6000)
    assert started(facts(domain(state="crashed", memory_mb=6000)), vm).assumed_state == "crashed"


def test_never_less_than_nothing_is_left() -> None:
    with pytest.raises(StateError, match="has 0 MB left of 0 MB"):
        plan(facts(memory_mb=100))


@pytest.mark.parametrize(("text", "reserve_mb"), [("0", 0), ("512", 512)])
def test_the_reserve_is_an_attribute(text: str, reserve_mb: int) -> None:
    assert memory_reserve_mb(container(vm_memory_reserve=text)) == reserve_mb
    assert memory_reserve_mb(container()) == 256


@pytest.mark.parametrize("text", ["", "-1", "many", "1.5", "٣", "9" * 5000, "1\n2"])
def test_a_non_numeric_reserve_raises(text: str) -> None:
    with pytest.raises(
        StateError, match="vm_memory_reserve of vmc-0-0 .* must be a number of MB"
    ) as reported:
        memory_reserve_mb(container(vm_memory_reserve=text))
    assert str(reported.value).isprintable()


def test_more_cpus_than_the_host_has_are_refused_with_both_figures() -> None:
    assert started(facts(), machine(cpus=4)).disks
    with pytest.raises(StateError, match="it has 5 CPUs, vmc-0-0 has 4"):
        plan(facts(), machine(cpus=5))


@pytest.mark.parametrize(
    ("text", "fact", "expected"),
    [
        (
            f"file:{IMAGE},vda,virtio",
            disk(exists=True),
            DiskSpec(IMAGE, "raw", 36, False, directory="/images"),
        ),
        (f"tap:aio:{IMAGE},vda,w", disk(), DiskSpec(IMAGE, "raw", 36, False, directory="/images")),
        (f"qcow2:{IMAGE},vda,virtio", disk(), DiskSpec(IMAGE, "qcow2", 36, False, directory="/images")),
        (
            f"qed:{IMAGE},vda,virtio",
            disk(exists=True),
            DiskSpec(IMAGE, "qed", 36, False, directory="/images"),
        ),
        (
            "phy:/dev/vg/a,vda,virtio",
            disk("/dev/vg/a", exists=True, is_block=True, filesystem_bytes=0, free_bytes=0),
            DiskSpec("/dev/vg/a", "raw", 36, True),
        ),
    ],
)
def test_disks_that_are_there_or_can_be_made(text: str, fact: DiskFact, expected: DiskSpec) -> None:
    assert started(facts(disks=(fact,)), machine(disks=[text])).disks == (expected,)


@pytest.mark.parametrize(
    ("text", "fact", "message"),
    [
        (
            f"file:{IMAGE},vda,virtio",
            disk(filesystem_bytes=35 * BYTES_PER_GB),
            "of 36.0 GB is larger than its file system of 35.0 GB",
        ),
        (
            f"file:{IMAGE},vda,virtio",
            disk(free_bytes=LEAST_FREE_BYTES - 1),
            "has 1.1 GB free; the minimum is 1.1 GB",
        ),
        (f"file:{IMAGE},vda,virtio", disk(exists=True, free_bytes=0), "has 0.0 GB free"),
        (
            f"file:{IMAGE},vda,virtio",
            disk(exists=True, is_block=True),
            f"is a block device; .*disk=phy:{IMAGE},vda,virtio",
        ),
        (f"qed:{IMAGE},vda,virtio", disk(), "an empty image of type qed cannot be created"),
        ("phy:/dev/vg/a,vda,virtio", disk("/dev/vg/a"), "the device /dev/vg/a, is not on its host"),
        ("phy:/dev/vg/a,vda,virtio", disk("/dev/vg/a", exists=True), "/dev/vg/a, is not a block device"),
    ],
)
def test_disks_that_keep_a_machine_from_starting(text: str, fact: DiskFact, message: str) -> None:
    with pytest.raises(StateError, match=message) as refused:
        plan(facts(disks=(fact,)), machine(disks=[text]))
    assert str(refused.value).startswith("web is not started: ")


def test_an_image_that_is_there_may_be_larger_than_its_file_system() -> None:
    assert started(facts(disks=(disk(exists=True, filesystem_bytes=BYTES_PER_GB),))).disks


def test_only_a_vm_container_runs_machines() -> None:
    assert container_of(machine()).name == "vmc-0-0"
    with pytest.raises(StateError, match="host web does not have a physical host"):
        container_of(replace(machine(), container=None))
    for value in ("false", "", "enabled"):
        with pytest.raises(StateError, match="its physical host vmc-0-0 is not a VM container"):
            container_of(machine(place=replace(container(), attributes={"kvm": value})))
    with pytest.raises(StateError, match="is not a VM container"):
        plan(facts(), machine(place=replace(container(), attributes={})))


def test_a_start_interrupted_before_its_guest_is_finished() -> None:
    ours = facts(domain(state="paused", token=7))
    found = plan_start(machine(), (), ours, 7, 0, {}, was_cut_off=True)
    assert isinstance(found, StartPlan) and found.assumed_state == "paused"
    for reported, was_cut_off in ((ours, False), (facts(domain(state="paused", token=6)), True)):
        with pytest.raises(StateError, match="web is paused, not off"):
            plan_start(machine(), (), reported, 7, 0, {}, was_cut_off)


def saved(*domains: DomainFact, **values: Any) -> StartPlan | AlreadyStarted:
    """The plan for a machine that is saved under lease 7."""
    return plan_start(machine(), (), facts(*domains, **values), 7, 0, {}, was_cut_off=True, is_saved=True)


@pytest.mark.parametrize("state", ["shutoff", "paused"])
def test_a_saved_machine_continues_also_after_an_interrupted_restore(state: Any) -> None:
    found = saved(domain(state=state, token=7, has_managed_save=state == "shutoff", disks=(IMAGE, "/seed")))
    assert isinstance(found, StartPlan)
    assert isinstance(saved(domain(state="running", token=7)), AlreadyStarted)


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        ((), "vmc-0-0 does not have its memory any more; .*saved=remove"),
        ((domain(token=7),), "does not have its memory any more"),
        ((domain(token=6, has_managed_save=True),), "does not have its memory any more"),
        ((domain(token=7, has_managed_save=True, disks=("/other",)),), "with other disks .*: /other; undo"),
    ],
)
def test_a_saved_machine_does_not_continue_without_its_memory_and_disks(
    domains: tuple[DomainFact, ...], message: str
) -> None:
    with pytest.raises(StateError, match=message):
        saved(*domains)


def test_a_saved_machine_needs_memory_again() -> None:
    with pytest.raises(StateError, match="needs 2048 MB of memory"):
        saved(domain(token=7, has_managed_save=True), domain("other", "running", memory_mb=7500))


def test_the_case_of_a_name_says_nothing() -> None:
    """A domain has the spelling of the machine's first start."""
    with pytest.raises(StateError, match="already running"):
        plan(facts(domain("WEB", "running")))
    assert active_memory_mb(facts(domain("WEB", "running")), but="web") == 0
    assert started(facts(domain("WEB"))).assumed_state == "absent", "the host looks for the exact name"


@pytest.mark.parametrize(
    ("changes", "has_note"),
    [
        ({"disks": ()}, True),
        ({}, False),
        ({"disks": (), "cdrom_path": "/images/x.iso"}, False),
        ({"disks": (), "attributes": {}}, False),
    ],
)
def test_a_machine_that_has_nothing_to_boot_starts_with_a_note(
    changes: dict[str, Any], has_note: bool
) -> None:
    """It starts all the same: its firmware can be looked at."""
    vm = machine(attributes=changes.get("attributes", {"kvm_netboot": "no"}))
    vm = replace(vm, **{name: value for name, value in changes.items() if name != "attributes"})
    found = plan_start(vm, (), facts(disks=(disk(), disk("/images/x.iso", exists=True))), 7, 0, {})
    assert isinstance(found, StartPlan)
    assert [note for note in found.notes if "so nothing boots" in note] == (
        [
            "web has no disk, no CD in its drive and no boot from the network, so nothing boots. To give it a disk: "
            "rocks stop host vm web, then rocks set host vm web disk=TYPE:PATH,DEVICE,BUS"
        ]
        if has_note
        else []
    )
