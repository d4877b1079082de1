"""May a virtual machine start on this host, and what must be there: from records and facts alone."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from rocks.core.errors import BusyError, RocksError, StateError
from rocks.core.values import BYTES_PER_GB
from rocks.fleet.wire.facts import ACTIVE_STATES, DiskFact, DomainFact, is_active
from rocks.fleet.wire.requests import (
    DiskSpec,
    EndArrival,
    EndDeparture,
    FreezeGuest,
    GrowDisk,
    MakeSnapshot,
    Operation,
    PauseDomain,
    RestoreSnapshot,
    ResumeDomain,
    SaveDomain,
    StopDomain,
    ThawGuest,
)
from rocks.inventory.records import VirtualMachine
from rocks.machine.host.operations import plan_operation
from rocks.machine.plans import (
    LEAST_FREE_BYTES,
    Observed,
    SaveFacts,
    StartPlan,
    Way,
    is_too_old,
    plan_start,
    starting_mb,
)
from rocks.machine.spec import MachineSpec, container_of, memory_reserve_mb, spec_of
from rocks.network.filter_plan import FilterPlan
from tests.unit.machine.starts import IMAGE, disk, domain, facts, plan, started
from tests.unit.machines import container, machine

DISK = DiskSpec(IMAGE, "raw", 36, False, directory="/images", target="vda,virtio")


def test_a_machine_of_which_nothing_is_there_yet() -> None:
    spec = started(facts())
    assert spec == MachineSpec(spec.request, network=FilterPlan(is_on=True))
    assert (spec.request.disks, spec.request.links, spec.request.autostart) == ((DISK,), (), False)
    assert plan(facts()) == StartPlan(Way.START, (f"make the disk {IMAGE} (raw, 36 GB)", "start web"))
    assert plan(facts(disks=(disk(exists=True),))).steps == ("start web",)


def test_what_is_promised_counts_beyond_what_libvirt_counts() -> None:
    """Of starts, and of a machine that gets more memory; in either case of a name."""
    found = facts(domain("grows", "running", memory_mb=64), domain("off", "shutoff", memory_mb=64))
    promised = {"web": 9, "GROWS": 100, "starts": 7, "off": 5}
    assert starting_mb("web", promised, found) == 36 + 7 + 5
    assert starting_mb("web", {"grows": 60}, found) == 0


@pytest.mark.parametrize(
    ("found", "way"),
    [
        # a crashed guest of this lease does not stand in its own way, by its memory neither
        ([domain(state="crashed", token=7, memory_mb=6000)], Way.START),
        ([domain(state="shutoff", token=3)], Way.START),
        ([domain("db", "running"), domain("web2", "running")], Way.START),
        ([domain(state="running", token=7)], Way.RUNS),
        ([domain(state="blocked", token=7)], Way.RUNS),
    ],
)
def test_what_is_there_decides_on_the_way(found: list[DomainFact], way: Way) -> None:
    planned = plan(facts(*found), machine(memory_mb=5000))
    assert planned.way is way and (planned.steps == ()) is (way is Way.RUNS)


def test_which_states_hold_memory_and_disks() -> None:
    reported = facts(*(domain(state, state) for state in (*ACTIVE_STATES, "shutoff")))
    held = [one.name for one in reported.domains if is_active(reported, one.name)]
    assert held == ["running", "blocked", "paused", "shutdown", "crashed"]
    assert not is_active(reported, "absent")


@pytest.mark.parametrize(
    ("value", "autostart"), [("true", True), ("True", False), ("yes", False), ("", False)]
)
def test_autostart_is_exactly_true(value: str, autostart: bool) -> None:
    vm = machine(attributes={"kvm_autostart": value})
    assert started(facts(), vm).request.autostart is autostart


@pytest.mark.parametrize("state", ["running", "crashed"])
@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "a domain web not started by this system is {} on vmc-0-0; run `virsh destroy web` there"),
        (6, "web is {} on vmc-0-0 under lease 6, not 7; run `rocks stop host vm web`"),
        (8, "web is {} on vmc-0-0 under lease 8, not 7"),
    ],
)
def test_a_domain_under_another_lease_raises(token: int | None, message: str, state: str) -> None:
    with pytest.raises(StateError, match="^" + message.format(state)):
        plan(facts(domain(state=state, token=token)))


@pytest.mark.parametrize(
    ("found", "error", "message"),
    [
        (
            domain(state="paused"),
            StateError,
            "web is paused on vmc-0-0 under lease 3, .*rocks stop host vm web",
        ),
        (domain(state="paused", token=7), StateError, "web is paused, not off; .*rocks resume host vm web"),
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


def test_memory_is_what_the_host_has_less_a_reserve_less_what_runs() -> None:
    others = (domain("db", "running", memory_mb=3000), domain("off", memory_mb=9999))
    fits = machine(memory_mb=8192 - 256 - 3000)
    assert started(facts(*others), fits).request.disks
    message = r"it needs 4937 MB of memory, and vmc-0-0 has 4936 MB left of 7936 MB .*\(3000 MB are taken\)"
    with pytest.raises(StateError, match=message):
        plan(facts(*others), machine(memory_mb=4937))


def test_starts_in_progress_count_as_well_until_their_domains_are_active() -> None:
    taken = r"has 936 MB left of 7936 MB .*\(7000 MB are taken, {} MB of them by starts in progress\)"
    with pytest.raises(StateError, match=taken.format(7000)):
        plan(facts(), machine(memory_mb=1000), promised={"db": 7000, "web": 500})
    active = facts(domain("db", "paused", memory_mb=6000))
    with pytest.raises(StateError, match=taken.format(1000)):
        plan(active, machine(memory_mb=1000), promised={"db": 6000, "mail": 1000})


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
    assert started(facts(), machine(cpus=4)).request.disks
    with pytest.raises(StateError, match="it has 5 CPUs, vmc-0-0 has 4; rocks set host vm web cpus=4, or"):
        plan(facts(), machine(cpus=5))


@pytest.mark.parametrize(
    ("text", "fact", "expected"),
    [
        (
            f"file:{IMAGE},vda,virtio",
            disk(exists=True),
            replace(DISK, target="vda,virtio"),
        ),
        (f"tap:aio:{IMAGE},vda,w", disk(), replace(DISK, target="vda,w")),
        (f"qcow2:{IMAGE},vda,virtio", disk(), replace(DISK, format="qcow2")),
        (
            f"qed:{IMAGE},vda,virtio",
            disk(exists=True),
            replace(DISK, format="qed"),
        ),
        (
            "phy:/dev/vg/a,vda,virtio",
            disk("/dev/vg/a", exists=True, is_block=True, filesystem_bytes=0, free_bytes=0),
            DiskSpec("/dev/vg/a", "raw", 36, True, target="vda,virtio"),
        ),
    ],
)
def test_disks_that_are_there_or_can_be_made(text: str, fact: DiskFact, expected: DiskSpec) -> None:
    assert started(facts(disks=(fact,)), machine(disks=[text])).request.disks == (expected,)


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
            disk(filesystem_bytes=35 * BYTES_PER_GB, folder="/"),
            r"of 35.0 GB \(its host has no folder /images, which would be made in /\); rocks set host vm web disksize",
        ),
        (
            f"file:{IMAGE},vda,virtio",
            disk(filesystem_bytes=35 * BYTES_PER_GB, folder="/images"),
            "of 35.0 GB; rocks set host vm web disksize=35, or choose another folder",
        ),
        (
            f"file:{IMAGE},vda,virtio",
            disk(free_bytes=LEAST_FREE_BYTES - 1, folder="/"),
            r"free \(its host has no folder /images, which would be made in /\); the minimum",
        ),
        (
            f"file:{IMAGE},vda,virtio",
            disk(free_bytes=LEAST_FREE_BYTES - 1),
            "has 1024.0 MiB free; the minimum is 1.0 GiB",
        ),
        (f"file:{IMAGE},vda,virtio", disk(exists=True, free_bytes=0), "has 0 bytes free"),
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


def test_the_remedy_for_another_disk_than_the_first_is_of_that_disk() -> None:
    first = disk(exists=True)
    small = disk("/images/b", filesystem_bytes=BYTES_PER_GB)
    two = machine(disks=[f"file:{IMAGE},vda,virtio", "file:/images/b,vdb,virtio"])
    again = (
        "; rocks remove host vm disk web vdb, then rocks add host vm disk web disk=file:/images/b,vdb,virtio"
    )
    with pytest.raises(StateError, match=again + " disksize=1, or"):
        plan(facts(disks=(first, small)), two)
    as_device = "vdb, then rocks add host vm disk web disk=phy:/images/b,vdb,virtio$"
    with pytest.raises(StateError, match=f"define it as one: rocks remove host vm disk web {as_device}"):
        plan(facts(disks=(first, replace(small, is_block=True))), two)
    with pytest.raises(StateError, match="create it, or remove it .*: rocks remove host vm disk web vdb$"):
        plan(
            facts(disks=(first, disk("/dev/vg/a"))),
            machine(disks=[f"file:{IMAGE},vda,virtio", "phy:/dev/vg/a,vdb,virtio"]),
        )


@pytest.mark.parametrize(
    ("vm", "values"),
    [
        (machine(disks=("file:/etc/web.vda,vda,virtio",)), {}),
        (machine(cdrom_path="/etc/web.iso"), {}),
        (machine(place=container(kvm="no")), {}),
        (machine(memory_mb=9000), {}),
        (machine(cpus=5), {}),
        (machine(), {"disks": (disk(filesystem_bytes=0),)}),
    ],
    ids=["place", "CD", "container", "memory", "CPUs", "disk"],
)
def test_a_rule_of_starts_says_what_another_operation_does_not(
    vm: VirtualMachine, values: dict[str, Any]
) -> None:
    with pytest.raises(StateError, match="^web is not moved: "):
        spec = spec_of(vm, (), {}, "is not moved")
        plan_start(spec.request, vm.memory_mb, facts(**values), {}, "is not moved")


def test_an_image_that_is_there_may_be_larger_than_its_file_system() -> None:
    assert started(facts(disks=(disk(exists=True, filesystem_bytes=BYTES_PER_GB),))).request.disks


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
    found = plan(ours, continues=True)
    assert found == StartPlan(Way.COMPLETE, ("complete the interrupted start of web",))
    for reported, continues in ((ours, False), (facts(domain(state="paused", token=6)), True)):
        with pytest.raises(StateError, match="web is paused"):
            plan(reported, continues=continues)


def saved(*domains: DomainFact) -> StartPlan:
    """The plan for a machine that is saved under lease 7."""
    return plan(facts(*domains, qemu="7.2.22"), continues=True, restores=True)


def test_a_saved_machine_continues_also_after_an_interrupted_restore() -> None:
    for machine_type in ("", "pc-i440fx-7.2", "pc-q35-6.2", "pc-q35-rhel9.2.0", "microvm"):
        found = saved(
            domain(token=7, has_managed_save=True, disks=(IMAGE, "/seed"), machine_type=machine_type)
        )
        assert found == StartPlan(Way.RESTORE, ("continue web from its saved memory",))
    assert saved(domain(state="paused", token=7)).way is Way.COMPLETE
    assert saved(domain(state="running", token=7)).way is Way.RUNS


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        ((), "vmc-0-0 does not have its memory any more; .*saved=remove"),
        ((domain(token=7),), "does not have its memory any more"),
        ((domain(token=6, has_managed_save=True),), "does not have its memory any more"),
        (
            (domain(token=7, has_managed_save=True, disks=("/other",)),),
            f"with other disks .*: with /other, and without {IMAGE}; undo",
        ),
        (
            (domain(token=7, has_managed_save=True, disks=(IMAGE,), machine_type="pc-q35-10.0"),),
            "a newer QEMU than vmc-0-0 has now: its machine type is pc-q35-10.0, which QEMU 7.2.22 does not know",
        ),
    ],
)
def test_a_saved_machine_does_not_continue_without_its_memory_and_disks(
    domains: tuple[DomainFact, ...], message: str
) -> None:
    with pytest.raises(StateError, match=message):
        saved(*domains)


def test_a_saved_machine_continues_without_a_disk_that_it_had_not() -> None:
    """What its record has besides does not matter to the guest, and neither does the place of that."""
    two = machine(disks=[f"file:{IMAGE},vda,virtio", "phy:/dev/vg/absent,vdb,virtio"])
    absent = disk("/dev/vg/absent")
    found = domain(token=7, has_managed_save=True, disks=(IMAGE, f"{IMAGE}.seed"))
    observed = facts(found, disks=(disk(exists=True), absent))
    assert plan(observed, two, continues=True, restores=True).way is Way.RESTORE


def test_a_saved_machine_needs_memory_again() -> None:
    with pytest.raises(StateError, match="needs 2048 MB of memory"):
        saved(domain(token=7, has_managed_save=True), domain("other", "running", memory_mb=7500))


def test_the_case_of_a_name_says_nothing() -> None:
    """A domain has the spelling of the machine's first start."""
    with pytest.raises(StateError, match="already running"):
        plan(facts(domain("WEB", "running")))
    assert plan(facts(domain("WEB"))).way is Way.START, "libvirt compares names with case"


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
    found = started(facts(disks=(disk(), disk("/images/x.iso", exists=True))), vm)
    assert [note for note in found.notes if "so nothing boots" in note] == (
        [
            "web has no disk, no CD in its drive and no boot from the network, so nothing boots. To give it a disk: "
            "rocks stop host vm web, then rocks set host vm web disk=TYPE:PATH,DEVICE,BUS"
        ]
        if has_note
        else []
    )


@pytest.mark.parametrize(
    ("qemu", "machine_type", "is_older"),
    [
        ("7.2.22", "pc-q35-10.0", True),
        ("10.0.13", "pc-i440fx-7.2", False),
        ("9.2.2", "pc-q35-10.0", True),
        ("9.2.94", "pc-q35-10.0", False),  # a candidate of 10.0
        ("9.12.94", "pc-q35-9.13", False),
        ("7.2.22", "pc-q35-rhel9.2.0", False),
        ("", "pc-q35-10.0", False),
    ],
)
def test_whether_a_qemu_knows_a_type_of_machine(qemu: str, machine_type: str, is_older: bool) -> None:
    """What cannot be compared is left to libvirt."""
    assert is_too_old(qemu, machine_type) is is_older


# The plan of operations on a domain: steps, as a dry run prints them, or a refusal.

RUNS, PAUSED, OFF = (domain("a", state, token=5) for state in ("running", "paused", "shutoff"))
INCOMING = replace(PAUSED, persistent=False)


@pytest.mark.parametrize(
    ("operation", "found", "steps"),
    [
        (
            StopDomain("a", action="shutdown", deadline_seconds=9),
            RUNS,
            ["request a to shut down, and power it off after 9 s"],
        ),
        (StopDomain("a"), None, []),
        (StopDomain("a"), OFF, ["remove the definition of a"]),
        (ResumeDomain("a"), PAUSED, ["resume a"]),
        (ResumeDomain("a"), RUNS, []),
        (PauseDomain("a"), PAUSED, []),
        (PauseDomain("a"), RUNS, ["pause a"]),
        (FreezeGuest("a", 5), RUNS, ["freeze the file systems of a, if its guest agent answers"]),
        (ThawGuest("a", 5), RUNS, ["thaw them, if they are frozen"]),
        (EndArrival("a", 5), RUNS, []),
        (EndArrival("a", 5), PAUSED, []),
        (EndArrival("a", 5), INCOMING, ["end the migration of a to this host, and destroy it here"]),
        (EndArrival("a", 5), None, ["end the migration of a to this host"]),
        (EndArrival("a", 6), OFF, ["end the migration of a to this host"]),
        (EndDeparture("a", 5), None, []),
        (EndDeparture("a", 5, resumes=True), RUNS, []),
        (EndDeparture("a", 5, resumes=True), PAUSED, ["resume a"]),
    ],
)
def test_what_the_host_would_do(operation: Operation, found: object, steps: list[str]) -> None:
    assert list(plan_operation(operation, Observed(found)).steps) == steps  # type: ignore[arg-type]


FREE = SaveFacts((), (), "/saves", 10**12, is_recorded=True)
SAVED = replace(OFF, has_managed_save=True)
OTHER_DISK = DiskSpec("/images/a", "raw", 1, False)


@pytest.mark.parametrize(
    ("operation", "observed", "message"),
    [
        *(
            (operation, Observed(None), "a is not running on this host: it is absent; rocks start host vm a")
            for operation in (
                PauseDomain("a"),
                ResumeDomain("a"),
                StopDomain("a", action="reset"),
                FreezeGuest("a", 5),
                ThawGuest("a", 5),
                EndDeparture("a", 5, resumes=True),
            )
        ),
        (StopDomain("a", action="reboot"), Observed(PAUSED), "it is paused; rocks resume host vm a"),
        (StopDomain("a", action="shutdown"), Observed(PAUSED), "a is paused, so its guest cannot shut down"),
        (StopDomain("a", 4), Observed(RUNS), "a is on this host under lease 5, newer than 4"),
        (PauseDomain("a", 4), Observed(PAUSED), "under lease 5, newer than 4"),
        (StopDomain("a"), Observed(SAVED), "a is saved on this host: rocks restore host vm a continues it"),
        (ThawGuest("a", 6), Observed(RUNS), "a runs on this host under lease 5, not 6"),
        (
            GrowDisk("a", OTHER_DISK),
            Observed(None, {"/images/a": disk(filesystem_bytes=1)}),
            "a does not grow: 1.0 GB is more",
        ),
        (
            GrowDisk("a", OTHER_DISK),
            Observed(None, {"/images/a": disk(free_bytes=0)}),
            "a does not grow: the file system",
        ),
        (SaveDomain("a", 5, 64), Observed(OFF), "a is not running on this host, so there is nothing to save"),
        (SaveDomain("a", 6, 64), Observed(RUNS), "a is on this host under lease 5, not 6"),
        (
            SaveDomain("a", 5, 64),
            Observed(RUNS, save=FREE._replace(host_devices=("0000:03:00.1",))),
            "0000:03:00.1",
        ),
        (
            SaveDomain("a", 5, 64),
            Observed(RUNS, save=FREE._replace(devices=("/dev/x",))),
            "/dev/x is a device",
        ),
        (SaveDomain("a", 5, 64), Observed(RUNS, save=FREE._replace(free_bytes=0)), "0 bytes free"),
        (
            GrowDisk("a", OTHER_DISK, 5),
            Observed(SAVED, {"/images/a": disk(exists=True)}),
            "with /images/a as it is",
        ),
        (
            GrowDisk("a", OTHER_DISK),
            Observed(RUNS, {"/images/a": disk(exists=True)}),
            "its lease is not recorded as running",
        ),
        (RestoreSnapshot("a", (OTHER_DISK,), ("/images/a.1",)), Observed(SAVED), "a runs, or is saved"),
        (
            MakeSnapshot("a", (OTHER_DISK,), ("/images/a.1",)),
            Observed(OFF, {"/images/a.1": disk(), "/images/a": disk(exists=True)}, snapshot="monday"),
            "a has a snapshot monday already, which is complete, also if the command that made it was interrupted; ",
        ),
        (
            MakeSnapshot("a", (OTHER_DISK,), ("/images/a.1",), 5),
            Observed(RUNS, {"/images/a.1": disk(), "/images/a": disk(exists=True)}),
            "a runs without its disk /images/a",
        ),
        (
            MakeSnapshot("a", (OTHER_DISK,), ("/images/a.1",)),
            Observed(OFF, {"/images/a.1": disk(), "/images/a": disk()}),
            "/images/a does not exist yet: its machine was never started",
        ),
    ],
)
def test_what_the_host_refuses(operation: Operation, observed: Observed, message: str) -> None:
    with pytest.raises(StateError, match=re.escape(message)):
        plan_operation(operation, observed)


@pytest.mark.parametrize(
    ("operation", "observed", "plan"),
    [
        (SaveDomain("a", 5, 64), Observed(SAVED, save=FREE), ()),
        (
            SaveDomain("a", 5, 64),
            Observed(SAVED, save=FREE._replace(is_recorded=False)),
            ("complete the interrupted save of a",),
        ),
        (
            GrowDisk("a", OTHER_DISK),
            Observed(None, {"/images/a": disk(exists=True)}),
            ("grow /images/a of a to 1 GB",),
        ),
        (GrowDisk("a", OTHER_DISK), Observed(None, {"/images/a": disk()}), ()),
        (GrowDisk("a", OTHER_DISK, 5), Observed(RUNS, {"/images/a": disk(exists=True)}), ()),
        (StopDomain("a", action="shutdown"), Observed(domain("a", "crashed", token=5)), ("power off a",)),
        (
            StopDomain("a", discards_save=True),
            Observed(SAVED),
            ("discard the saved memory of a, and remove its definition",),
        ),
    ],
)
def test_what_depends_on_more_than_the_state(
    operation: Operation, observed: Observed, plan: tuple[str, ...]
) -> None:
    assert plan_operation(operation, observed).steps == plan
