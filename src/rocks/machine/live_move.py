"""Move a running virtual machine to another physical host, and end live migrations that were interrupted."""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from rocks.core import dry_run
from rocks.core.clock import Deadline, monotonic_seconds, utc_now
from rocks.core.errors import CLASSES, BusyError, Code, HostError, IncoherentError, RocksError, StateError
from rocks.core.values import duration, size_text
from rocks.fleet.connection import CannotAskError, FleetSettings, HostAddress
from rocks.fleet.local import PipeStream
from rocks.fleet.wire.codec import decode, encode
from rocks.fleet.wire.facts import GUEST_RUNS, is_active
from rocks.fleet.wire.live_moves import (
    DIRECT_PORTS,
    PROGRESS,
    REFUSED_STATUS,
    RESULT,
    TICK,
    Arrive,
    DirectWay,
    Frames,
    Leave,
    Progress,
    Result,
    frame,
    moving_path,
)
from rocks.fleet.wire.requests import EndArrival, EndDeparture, ResumeDomain, StopDomain
from rocks.inventory.address_records import host_addresses
from rocks.inventory.host_records import unlock_inventory
from rocks.inventory.host_requests import error_of, is_silent, open_fleet
from rocks.inventory.loaded_host_records import load_hosts
from rocks.inventory.slurm_drains import known_batch_jobs
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_epoch, ensure_locked
from rocks.leases.machine_requests import contact_hosts, perform_operations
from rocks.leases.plan import MOVING, disk_keys, domain_on, has_arrived
from rocks.library.limits import STALLED_SECONDS
from rocks.library.streams import END_SECONDS, end_of, start_agent
from rocks.machine import record as table
from rocks.machine.disks import check_no_doubt
from rocks.machine.documents import connections_of, describe_vms
from rocks.machine.domain import with_lease
from rocks.machine.images import remove_files
from rocks.machine.limits import LIVE_SILENT_SECONDS, LIVE_TICK_SECONDS
from rocks.machine.move import (
    as_moved,
    check_files,
    check_live,
    check_other_host,
    hosts_beside,
    load_target,
    plan_in_place,
    plan_of,
    record_move,
    remove_left,
)
from rocks.machine.placement_records import has_any
from rocks.machine.plans import is_too_old, plan_start
from rocks.machine.record import DiskCopy
from rocks.machine.seeds import create_seeds
from rocks.machine.spec import container_of, links_of, spec_of
from rocks.network.guest_connections import VirtualFunction
from rocks.storage.image.states import LOCAL, MAPPED, PULLING, REMOTE, SEEDING, SWITCHING
from rocks.storage.volumes.place_records import disk_locations
from rocks.storage.volumes.places import follows, plan_images, pool_of
from rocks.storage.wire.requests import PullZvol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.fleet import Fleet
    from rocks.fleet.wire.facts import HostFacts
    from rocks.fleet.wire.requests import Operation, OperationOutcome, StartDomain
    from rocks.inventory.records import Host, Lease, VirtualMachine
    from rocks.machine.documents import FiltersOf
    from rocks.machine.move import MovePlan, MoveReporter
    from rocks.machine.spec import MachineSpec
    from rocks.storage.client import StorageClient
    from rocks.storage.volumes.places import ImageSpec
    from rocks.storage.wire.replies import ImageRow


# The images on NASes of a machine that moves while it runs: they follow when it has arrived, paused until then.
#
# Each goes the way of any other image: written back and unmapped from the old host, then mapped to the new one, under
# a new epoch. So two hosts never write to it, and a command that was killed is completed by repeating it.


class Watching(NamedTuple):
    """Progress of the transfers; without `reporter` nobody watches."""

    reporter: MoveReporter | None

    @property
    def displays_progress(self) -> bool:
        return self.reporter is not None

    def progress(self, line: str) -> None:
        if self.reporter is not None:
            self.reporter.progress(line)

    def left(self, line: str) -> None:
        if self.reporter is not None:
            self.reporter.notify(line)


def image_devices(vm: VirtualMachine) -> tuple[str, ...]:
    """The devices of its images on NASes."""
    return tuple(disk.path for disk in vm.disks if disk.is_mapped)


def check_images(database: Database, vm: VirtualMachine, there: VirtualMachine) -> None:
    """StateError when an image cannot follow the machine, BusyError when it cannot yet; errors of NAS and new host.

    `vm` is the machine on its old host, `there` the same on the new one.
    """
    from rocks.storage.client import asking
    from rocks.storage.volumes.access import open_storage

    images = _images(database, there)
    if not images:
        return
    assert vm.container is not None and there.container is not None
    for image in images:
        if not vm.disks[image.number].is_block:
            raise cannot_move(
                vm, f"{vm.disks[image.number].specification} is on a NAS from its next start on"
            )
    if not follows(there.container, vm.host):
        raise cannot_move(
            vm,
            f"{there.container.name} gets no copies of images (img_sync), and only an image with a copy moves",
        )
    with open_storage(database) as storage:
        for image in images:
            row = _row(storage.ask(asking.images_of(image.nas)), image)
            _check_image(vm, image, row)
        storage.ask(asking.initiator_of(there.container.name))  # its daemon runs


def _check_image(vm: VirtualMachine, image: ImageSpec, row: ImageRow | None) -> None:
    assert vm.container is not None
    name, host = f"{image.nas}:{image.volume}", vm.container.name
    if row is None or row.remotehost != host:
        other = "" if row is None or row.remotehost is None else f", but to {row.remotehost}"
        raise cannot_move(vm, f"its image {name} is not mapped to {host}{other}")
    if not row.persistent or image.is_persistent is False:
        raise cannot_move(
            vm, f"the changes to its image {name} are discarded when it is unmapped (not persistent)"
        )
    if row.state == REMOTE:
        raise cannot_move(vm, f"its image {name} has no copy on {host} (img_sync no)")
    if row.state in (MAPPED, SEEDING, SWITCHING):
        raise BusyError(
            f"{vm.name} does not move while it runs until its image {name} is copied to {host}: rocks list host "
            f"storageop {image.nas} shows the progress"
        )
    if row.state not in (LOCAL, PULLING):
        raise cannot_move(vm, f"its image {name} is {row.state}: rocks list host storagemap {image.nas}")


def cannot_move(vm: VirtualMachine, why: str) -> StateError:
    """The error of a machine that cannot move while it runs."""
    return StateError(f"{vm.name} does not move while it runs: {why}; stop it, and move it without live=yes")


def pull_images(
    database: Database, vm: VirtualMachine, there: VirtualMachine, reporter: MoveReporter
) -> None:
    """Have the NASes take the changes so far, so that little is left for the moment when the machine is paused.

    Afterwards the images are checked as by `check_images`. BusyError when a NAS needs longer than a start would wait.
    """
    from rocks.storage.volumes.access import open_storage

    images = _images(database, vm)
    if not images:
        return
    with open_storage(database) as storage:
        why = f"{vm.name} is not moved, since its changes are not written back yet"
        pull_each(storage, images, why, Watching(reporter))
    reporter.progress("")
    check_images(database, vm, there)


def pull_each(
    storage: StorageClient,
    images: Sequence[ImageSpec],
    why: str,
    watching: Watching,
    seconds: float | None = None,
) -> None:
    """Have the NASes take the changes so far, within that time; None: that of a start.

    The error of a NAS, behind `why`; BusyError when it needs longer.
    """
    from rocks.storage.client import asking
    from rocks.storage.volumes.map_batches import START_WAIT_SECONDS

    asked = {image.volume: asking.new_query(image.nas, PullZvol(image.volume)) for image in images}
    for error in storage.wait_each(asked, seconds or START_WAIT_SECONDS, watching).values():
        if isinstance(error, RocksError):
            raise CLASSES[error.family](f"{why}: {error}", code=error.code)


def check_current(database: Database, vm: VirtualMachine) -> None:
    """StateError when an image cannot have what its guest has written, which is paused and is to go on with it."""
    from rocks.storage.client import asking
    from rocks.storage.volumes.access import open_storage

    with open_storage(database) as storage:
        for image in _images(database, vm):
            name, row = (
                f"{image.nas}:{image.volume}",
                _row(storage.ask(asking.images_of(image.nas)), image),
            )
            if row is None or row.state == "deleting":
                raise StateError(f"{name} does not exist any more, or was removed")
            if not row.persistent:
                raise StateError(
                    f"{name} was set to be not persistent, so what the guest has written last may have been discarded"
                )


def release_images(
    database: Database,
    vm: VirtualMachine,
    lease: Lease,
    reporter: MoveReporter | None,
    end_departure: Callable[[], None],
    seconds: float | None,
) -> None:
    """Unmap the images of the machine that its old host still has; `end_departure` is called before.

    Raises its error, or that of a NAS; the same call goes on then. BusyError when a NAS does not have all changes
    within that time; None: that of a start.
    """
    from rocks.storage.client import asking
    from rocks.storage.volumes.access import open_storage
    from rocks.storage.volumes.map_batches import START_WAIT_SECONDS, is_not_mapped

    with open_storage(database) as storage:
        asked = {}
        for image in _images(database, vm):
            row = _row(storage.ask(asking.images_of(image.nas)), image)
            # the daemon of the old host may have begun by itself
            if row is not None and row.remotehost == lease.host:
                asked[image.volume] = asking.unmap_image(image.nas, image.volume)
        if not asked:
            return
        end_departure()  # its guest's device would be in use
        answers = storage.wait_each(asked, seconds or START_WAIT_SECONDS, Watching(reporter))
    for error in answers.values():
        if isinstance(error, RocksError) and not is_not_mapped(error):
            raise error


def map_images_there(
    database: Database, there: VirtualMachine, lease: Lease, reporter: MoveReporter | None
) -> None:
    """Map the images to the new host of the machine, which is paused there. Raises the error of a NAS or host."""
    from rocks.storage.volumes.access import open_storage
    from rocks.storage.volumes.map_batches import map_arrived

    assert there.container is not None
    # with a copy, whatever the attributes are by now: without one the guest's device would be another
    pool = pool_of(there.container)
    images = [image._replace(sync=True, pool=image.pool or pool) for image in _images(database, there)]
    devices = {number: disk.path for number, disk in enumerate(there.disks)}
    with open_storage(database) as storage:
        map_arrived(storage, images, devices, lease.token, Watching(reporter))
    if reporter is not None:
        reporter.progress("")


def arrived_without(vm: VirtualMachine, target: str, error: RocksError, *, is_paused: bool) -> RocksError:
    """The error of a machine that has arrived, and whose images have not; its code is IMAGES_FOLLOW."""
    state = "paused until its images follow it" if is_paused else "off, and its images have not followed it"
    return CLASSES[error.family](
        f"{vm.name} is on {target}, {state}: {error}. When that is repaired: rocks move host vm {vm.name} {target} "
        f'live=yes; or, to end its guest: rocks stop host vm {vm.name} force=yes reason="…"',
        code=Code.IMAGES_FOLLOW,
    )


def no_resume(vm: VirtualMachine, target: str, error: RocksError) -> HostError:
    """The error of a machine that has arrived with its images, and was not resumed."""
    return HostError(
        f"{vm.name} is on {target} with its images, and may be paused: {error}. Then: rocks move host vm {vm.name} "
        f"{target} live=yes"
    )


def _images(database: Database, vm: VirtualMachine) -> list[ImageSpec]:
    """The images of the machine, on its recorded or new host."""
    return plan_images(vm, disk_locations(database, [vm.name]))


def _row(rows: tuple[ImageRow, ...], image: ImageSpec) -> ImageRow | None:
    return next((row for row in rows if row.zvol == image.volume), None)


# The end of a live migration, whether its command goes on, was killed, or another one finds it (decision 171).
#
# Both hosts are asked where the machine is; then one transaction records it, or it goes on where it was.


class RefusedError(StateError):
    """This machine cannot move to that host while it runs; it is where it was, and may be stopped for its move."""


def settle(
    database: Database,
    vm: VirtualMachine,
    lease: Lease,
    cause: RocksError | None = None,
    reporter: MoveReporter | None = None,
    image_seconds: float | None = None,
) -> list[str]:
    """End a live migration by what both hosts report; lines for the operator. Commits.

    The machine is on the new host: its images on NASes follow it, and that is recorded. Otherwise what is there is
    removed, and the machine goes on where it was; then the cause is raised, if one is given. HostError when a host is
    silent that is needed to know. BusyError when a NAS needs longer than `image_seconds`, or than a
    start waits, for what was changed last.
    """
    if lease.state != MOVING or lease.host is None or lease.target is None:
        raise StateError(
            f"{vm.name} is not moving any more: another command has changed its lease meanwhile, which is "
            f"{lease.state} now{f' on {lease.host}' if lease.host else ''}; see where it runs: rocks list host vm lease"
        )
    hosts = [lease.host, lease.target]
    starts_with_host = vm.host.attribute("kvm_autostart") == "true"
    failed = f"{vm.name} was not moved: {cause}; " if cause is not None else ""
    with open_fleet(database, hosts) as fleet:
        arrival = EndArrival(vm.name, lease.token, starts_with_host, image_devices(vm))
        ended = _perform(database, fleet, lease.target, arrival)
        left = _perform(database, fleet, lease.host, EndDeparture(vm.name, lease.token))
        facts = contact_hosts(database, fleet, hosts, asks_leases=True)
        # what a host reports while its agent still works on the migration may be another thing next
        here = error_of(left) or facts[lease.host]
        there = error_of(ended) or facts[lease.target]
        arrived = has_arrived(lease, here, there)
        if arrived is None:
            raise _unknown(lease, there, failed, is_off=is_silent(facts[lease.target]))
        if arrived:
            if image_devices(vm) and not dry_run.is_on():
                there = _bring_images(database, fleet, vm, lease, there, reporter, image_seconds)
            _record_arrival(database, vm, lease)
            _end_departure(database, fleet, vm, lease)
            contact_hosts(database, fleet, [lease.host])  # carries the fence
        else:
            where, notes = _stay(database, fleet, vm, lease, here, there, starts_with_host)
    if arrived:
        dry_run.would(lease.target, f"keep {vm.name}: its move that was interrupted has come to its end")
        return _arrival(database, vm, lease.target, there)
    dry_run.would(lease.host, f"keep {vm.name}: its move that was interrupted is undone")
    if cause is not None:
        raised = RefusedError if isinstance(cause, StateError) else CLASSES[cause.family]
        raise raised("; ".join([f"{failed}{where}", *notes]), code=cause.code)
    return [f"the move of {vm.name} that was interrupted is undone: {where}", *notes]


def _unknown(lease: Lease, there: HostFacts | RocksError, failed: str, *, is_off: bool) -> RocksError:
    """Nobody can say where the machine is; what to do, by why its new host does not say it (`is_off`: it may be)."""
    again = f"rocks move host vm {lease.name} {lease.target} live=yes"
    unknown = f"{failed}whether {lease.name} runs on {lease.target} is not known"
    if isinstance(there, BusyError):
        return BusyError(
            f"{unknown}: an agent there is still working on it ({there}). When it has ended: {again}"
        )
    if is_off:
        return HostError(
            f"{unknown}, because it does not answer ({there}). Bring it back, then: {again}; or, when it is certainly "
            f'off: rocks stop host vm {lease.name} force=yes reason="…"'
        )
    return HostError(f"{unknown}: it answers, but cannot say so ({there}). Repair it, then: {again}")


def _perform(
    database: Database, fleet: Fleet, host: str, operation: Operation
) -> OperationOutcome | RocksError:
    ((_, outcome),) = perform_operations(database, fleet, {host: [operation]})
    return outcome


def _record_arrival(database: Database, vm: VirtualMachine, lease: Lease) -> None:
    """The record, the lease and the copies, in one transaction; what the old host still has is fenced there.

    The machine was moved: no check of today's attributes may prevent that this is recorded.
    """
    assert lease.host is not None and lease.target is not None
    (target,) = load_hosts(database, [lease.target])
    plan = plan_in_place(vm)
    record_move(database, vm, target, plan)
    there = replace(vm, container=target, disks=plan.disks)
    leases.end_live_move(database, vm.name, target.name, disk_keys(there))
    leases.put_up_fences(database, [(lease.host, vm.name, lease.token + 1)])
    database.commit()
    unlock_inventory(database)


def _bring_images(
    database: Database,
    fleet: Fleet,
    vm: VirtualMachine,
    lease: Lease,
    there: HostFacts | RocksError,
    reporter: MoveReporter | None,
    image_seconds: float | None,
) -> HostFacts | RocksError:
    """Have the images follow the machine, which has arrived, and resume it; what its new host reports then.

    Until then the lease is that of the move: every other command on the machine is refused.
    """
    assert lease.target is not None
    if isinstance(there, RocksError):
        raise _unknown(lease, there, "", is_off=is_silent(there))
    found = domain_on(there, vm.name)
    is_active = found is not None and found.state in (*GUEST_RUNS, "paused")
    (target,) = load_hosts(database, [lease.target])

    def end_departure() -> None:
        error = _end_departure(database, fleet, vm, lease)
        if error is not None:
            raise error

    try:
        if is_active:
            check_current(database, vm)
        release_images(database, vm, lease, reporter, end_departure, image_seconds)
        if is_active:
            map_images_there(database, replace(vm, container=target), lease, reporter)
    except RocksError as error:
        raise arrived_without(vm, lease.target, error, is_paused=is_active) from error
    if found is not None and found.state == "paused":
        not_resumed = error_of(_perform(database, fleet, lease.target, ResumeDomain(vm.name, lease.token)))
        if not_resumed is not None:
            raise no_resume(vm, lease.target, not_resumed)
    return contact_hosts(database, fleet, [lease.target])[lease.target]


def _end_departure(database: Database, fleet: Fleet, vm: VirtualMachine, lease: Lease) -> RocksError | None:
    """End the lease on the old host, and its devices; a host that does not answer has its fence."""
    assert lease.host is not None
    links = links_of(container_of(vm), connections_of(vm)) if vm.container is not None else ()
    return error_of(_perform(database, fleet, lease.host, StopDomain(vm.name, lease.token, links=links)))


def _arrival(database: Database, vm: VirtualMachine, target: str, there: HostFacts | RocksError) -> list[str]:
    """What is on the new host now, which may have ended or paused the machine since it arrived."""
    found = domain_on(there, vm.name)
    if found is not None and found.state in (*GUEST_RUNS, "paused"):
        (moved,) = table.load_vms(database, [vm.name])
        paused = f"{vm.name} is on {target} now, where it is paused: rocks resume host vm {vm.name}"
        line = f"{vm.name} runs on {target} now" if found.state in GUEST_RUNS else paused
        return [line, *remove_left(database, moved)]
    if isinstance(there, RocksError):
        line = f"{vm.name} was moved to {target}, which does not answer now ({there})"
    else:
        line = f"{vm.name} was moved to {target}, and is off there by now: rocks start host vm {vm.name}"
    if not table.read_copies(database, vm.name):
        return [line]
    return [
        line,
        f"its old copy stays meanwhile; when {vm.name} runs, this removes it: rocks move host vm {vm.name} {target}",
    ]


def _stay(
    database: Database,
    fleet: Fleet,
    vm: VirtualMachine,
    lease: Lease,
    here: HostFacts | RocksError,
    there: HostFacts | RocksError,
    starts_with_host: bool,
) -> tuple[str, list[str]]:
    """Record that the machine is where it was, and have it go on there; where it is now, and lines for the operator.

    A new host that is silent, or has a domain under the lease all the same, gets a fence, which destroys it. The files
    there are removed only while the machine is active on its old host.
    """
    assert lease.host is not None and lease.target is not None
    found = domain_on(there, vm.name)
    is_clean = not isinstance(there, RocksError) and (found is None or found.token != lease.token)
    if not is_clean:
        leases.put_up_fences(database, [(lease.target, vm.name, lease.token + 1)])
    leases.end_live_move(database, vm.name, lease.host, disk_keys(vm))
    database.commit()
    if not is_clean:
        there = contact_hosts(database, fleet, [lease.target])[lease.target]
        is_clean = not isinstance(there, RocksError) and domain_on(there, vm.name) is None
    has_copy = any(copy.host == lease.target for copy in table.read_copies(database, vm.name))
    domain = domain_on(here, vm.name)
    if domain is None or domain.state not in (*GUEST_RUNS, "paused"):
        return _why_off(vm.name, lease.host, here), has_copy * [
            f"its incomplete copy on {lease.target} stays meanwhile; when {vm.name} runs, this removes it: rocks move "
            f"host vm {vm.name} {lease.host}"
        ]
    stays = EndDeparture(vm.name, lease.token, resumes=True, autostart=starts_with_host)
    error = error_of(_perform(database, fleet, lease.host, stays))
    if error is not None:
        raise HostError(
            f"{vm.name} may be paused on {lease.host}, where it was to go on: {error}; rocks resume host vm {vm.name}"
        )
    if is_clean:
        return f"it runs on {lease.host}", _remove_arrival(database, vm, lease)
    reason = there if isinstance(there, RocksError) else "it has a domain of this name"
    return f"it runs on {lease.host}", has_copy * [_incomplete_copy(vm, lease, reason)]


def _why_off(vm: str, host: str, here: HostFacts | RocksError) -> str:
    if isinstance(here, RocksError):
        return f"its lease is that of {host} again, which does not answer ({here})"
    return f"it is off on {host}, since its host has ended it meanwhile: rocks start host vm {vm}"


def _remove_arrival(database: Database, vm: VirtualMachine, lease: Lease) -> list[str]:
    """Remove the incomplete files of the new host; what it does not remove now stays recorded as a copy."""
    assert lease.target is not None
    copies = [copy for copy in table.read_copies(database, vm.name) if copy.host == lease.target]
    if not copies:
        return []
    paths = [path for copy in copies for path in (copy.path, moving_path(copy.path))]
    errors = remove_files(database, vm, lease.target, paths)
    if not errors:
        table.delete_copies(database, vm.name, copies)
        database.commit()
    return [_incomplete_copy(vm, lease, error) for error in errors]


def _incomplete_copy(vm: VirtualMachine, lease: Lease, reason: RocksError | str) -> str:
    return (
        f"the incomplete copy of {vm.name} on {lease.target} stays: {reason}; to remove it: "
        f"rocks move host vm {vm.name} {lease.host}"
    )


# A live migration between two hosts: this machine passes the frames of both agents on.
#
# Memory and disks pass it by where the old host reaches the new one (`direct_way`). What the agents say to this
# machine is how far they are, and how it ended.

LIVE_STILL_SECONDS = 600.0
"""A live migration that has sent nothing more for this long has failed, though both agents are there."""

Watch = Callable[[Progress], None]
_OTHER_SECONDS = 2.0
"""In which the thread of the other stream reports why that one has ended."""

_MAX_REPORT_BYTES = 4096
_MAX_BYTES_SENT = 2**63


def move_live(
    source: HostAddress,
    target: HostAddress,
    settings: FleetSettings,
    leave: Leave,
    arrive: Arrive,
    watch: Watch = lambda progress: None,
) -> Result:
    """Move the machine; how libvirt of the old host ended it. `watch` gets the progress.

    StateError when one of the hosts refuses the machine as it is, before anything is copied. HostError when an agent
    fails, is silent, or gets no further. Only both hosts know then where the machine is.
    """
    return _Migration(source, target, settings).run(leave, arrive, watch)


class _Migration:
    def __init__(self, source: HostAddress, target: HostAddress, settings: FleetSettings) -> None:
        self._source, self._target, self._settings = source, target, settings
        self._reported = threading.Condition()
        self._progress: Progress | None = None
        self._outcome: Result | RocksError | None = None
        self._has_ended = threading.Event()
        self._streams: dict[str, PipeStream] = {}
        self._threads: list[threading.Thread] = []
        self._locks = {source.name: threading.Lock(), target.name: threading.Lock()}

    def run(self, leave: Leave, arrive: Arrive, watch: Watch) -> Result:
        """As `move_live`."""
        # the old host first, at the end as well: it must never outlive the way to the new one
        try:
            self._start(self._target, ["live-arrive"], arrive)
            self._start(self._source, ["live-leave"], leave)
            self._start_thread(self._pass_on, self._source, self._target)
            self._start_thread(self._pass_on, self._target, self._source)
            self._start_thread(self._tick)
            return self._watched(watch)
        finally:
            self._end()

    def _start_thread(self, run: Callable[..., None], *arguments: HostAddress) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _end(self) -> None:
        """Kill both agents, and close their streams when no thread uses them any more.

        A thread that reads from a closed stream may read what the next migration gets under the same descriptor.
        """
        self._has_ended.set()
        streams = [
            self._streams[host.name] for host in (self._source, self._target) if host.name in self._streams
        ]
        for stream in streams:
            stream.kill()
        soon = Deadline(END_SECONDS)
        for thread in self._threads:
            thread.join(soon.remaining_seconds())
        for stream in streams:
            stream.end()

    def _watched(self, watch: Watch) -> Result:
        """Show the latest progress until the end. HostError when there is none for too long."""
        sent, still = -1, Deadline(LIVE_STILL_SECONDS)
        while True:
            report = self._next_report(still)
            if isinstance(report, RocksError):
                raise report
            if isinstance(report, Result):
                return report
            if report is not None:
                if report.sent_bytes != sent:
                    sent, still = report.sent_bytes, Deadline(LIVE_STILL_SECONDS)
                watch(report)
            if still.passed():
                raise HostError(f"{self._source.name} has sent nothing more for {LIVE_STILL_SECONDS:g} s")

    def _next_report(self, deadline: Deadline) -> Progress | Result | RocksError | None:
        """The end, else the latest progress that was not read; None at the deadline."""
        with self._reported:
            self._reported.wait_for(
                lambda: self._outcome is not None or self._progress is not None, deadline.remaining_seconds()
            )
            progress, self._progress = self._progress, None
            return progress if self._outcome is None else self._outcome

    def _report(self, report: Progress | Result | RocksError) -> None:
        """Store a report. The latest progress counts, and the first end: an agent may send any number."""
        with self._reported:
            if isinstance(report, Progress):
                self._progress = report
            elif self._outcome is None:
                self._outcome = report
            self._reported.notify_all()

    def _start(self, host: HostAddress, mode: list[str], request: Any) -> None:
        self._streams[host.name] = start_agent(host, self._settings, mode)
        try:
            self._send(host, json.dumps(encode(request)).encode() + b"\n")
        except OSError as error:  # its agent has ended, or takes nothing for too long
            raise HostError(f"{host.name} does not take the request of the migration: {error}") from None

    def _send(self, host: HostAddress, data: bytes) -> None:
        with self._locks[host.name]:
            self._streams[host.name].send(data, Deadline(STALLED_SECONDS))

    def _pass_on(self, source: HostAddress, target: HostAddress) -> None:
        """Everything from one host to the other, until the first error."""
        try:
            self._pass_frames(source, target)
        except RocksError as error:
            self._report(error)
        except TimeoutError:
            self._report(
                HostError(f"{source.name} or {target.name} was silent for {LIVE_SILENT_SECONDS:g} s")
            )
        except (OSError, ValueError) as error:
            # the other stream has ended; its own thread knows why
            self._has_ended.wait(_OTHER_SECONDS)
            self._report(HostError(f"the connection to {target.name} has ended: {error}"))
        except Exception as error:  # noqa: BLE001 - the command waits for a report of this thread
            self._report(
                HostError(f"{source.name} has sent what cannot be passed on: {type(error).__name__}")
            )

    def _pass_frames(self, source: HostAddress, target: HostAddress) -> None:
        frames, stream = Frames(), self._streams[source.name]
        while not self._has_ended.is_set():
            data = stream.receive(Deadline(LIVE_SILENT_SECONDS))
            if not data:
                raise self._failure(source)
            passed = bytearray()
            for kind, channel, content in frames.put(data):
                if kind in (PROGRESS, RESULT):
                    if source is not self._source:
                        raise HostError(
                            f"{source.name} reports the end of a migration that only the old host knows"
                        )
                    self._report(_decoded(source.name, kind, content))
                else:
                    passed += frame(kind, channel, content)
            if passed:
                self._send(target, bytes(passed))

    def _failure(self, host: HostAddress) -> RocksError:
        status, reason = end_of(self._streams[host.name], END_SECONDS, "its agent does not end")
        kind = StateError if status == REFUSED_STATUS else HostError
        return kind(f"{host.name}: {reason or 'its agent has ended'}")

    def _tick(self) -> None:
        """Both agents end themselves when they receive nothing."""
        while not self._has_ended.wait(LIVE_TICK_SECONDS):
            for host in (self._source, self._target):
                try:
                    self._send(host, frame(TICK))
                except (OSError, ValueError, TimeoutError):
                    return  # the thread that passes frames on reports it


def _decoded(host: str, kind: int, content: bytes) -> Progress | Result:
    """The report of the old host. IncoherentError for one that no agent of ours sends."""
    if len(content) > _MAX_REPORT_BYTES:
        raise IncoherentError(f"{host} sends a report of {len(content)} bytes on the migration")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise IncoherentError(f"{host} reports what is no JSON on the migration") from None
    if kind == RESULT:
        return decode(Result, value, "result")
    progress = decode(Progress, value, "progress")
    if not all(0 <= count < _MAX_BYTES_SENT for count in (progress.sent_bytes, progress.remaining_bytes)):
        raise IncoherentError(f"{host} reports an impossible number of bytes of the migration")
    return progress


# The certificate with which the hosts of a live migration reach each other past the frontend (decision 171).


def direct_way(new: HostAddress) -> DirectWay | None:
    """The way to the new host, with a certificate for this move alone; None when its address is not recorded.

    What has signed it is forgotten here. So nothing else has a valid one.
    """
    from rocks.trust.x509 import CertificateSpec, create_authority, sign  # it loads cryptography

    try:
        ipaddress.IPv4Address(new.address)
    except ValueError:
        return None
    now = utc_now()
    authority = create_authority("move", now, days=1)
    pair = sign(authority, CertificateSpec("move", [new.name], [], days=1), now)
    return DirectWay(
        new.name, new.address, (pair.key + pair.certificate).decode(), authority.certificate.decode()
    )


# Move a running virtual machine to another physical host, while its guest runs (decision 171).
#
# The lease stays with the old host, in the state `moving`, until the new one is known to run the machine; then one
# transaction records the new place and the lease there. Whatever fails or is killed in between, at most one host runs
# the guest, and repeating the command finds out which.

_AWAKE_SECONDS = 600.0


class _Way(NamedTuple):
    """The machine, its record on the new host, the plan of the move, and its spec there."""

    vm: VirtualMachine
    there: VirtualMachine
    target: Host
    plan: MovePlan
    spec: MachineSpec

    @property
    def source(self) -> str:
        return container_of(self.vm).name


def move_running_vm(
    database: Database, name: str, host: str, reporter: MoveReporter, filters_of: FiltersOf
) -> list[str]:
    """Move the machine, which runs, to the physical host; returns lines for the operator. Commits.

    UserError and RefusedError when it cannot move while it runs, BusyError while another command changes it, StateError
    while nothing may start: then nothing is changed. RefusedError too when a host refuses it later: it is where it was.
    After another error of a host it runs where it was, or at the new place, or the message says what to do.
    """
    ensure_epoch(database, reporter.notify)
    ensure_locked(database, [name], also_moving=True)
    (vm,) = table.load_vms(database, [name])
    check_no_doubt(vm)
    lease = leases.read_leases(database, [name]).get(name.lower())
    lines: list[str] = []
    if lease is not None and lease.state == MOVING:
        lines = settle(database, vm, lease, reporter=reporter)
        (vm,) = table.load_vms(database, [name])
        lease = leases.read_leases(database, [name]).get(name.lower())
    if vm.container is not None and vm.container.name.lower() == host.lower():
        if not lines and not table.read_copies(database, name):
            check_other_host(vm, vm.container)
        return lines or remove_left(database, vm)
    # in a dry run the hosts have still what the end of the interrupted move removes
    if lines and dry_run.would(host, f"receive {name}, while it runs"):
        return lines
    database.end_reading()
    if jobs := known_batch_jobs([host]).get(host):
        raise StateError(
            f"{name} is not moved: Slurm has {' and '.join(jobs)} on {host}; wait for the end (squeue)"
        )
    try:
        way = _check(database, vm, host, lease)
    except CannotAskError:
        raise  # of the machine this says nothing: a drain must not stop it
    except StateError as error:
        raise RefusedError(str(error), code=error.code) from error
    database.end_reading()
    if dry_run.would(way.target.name, f"receive {name} from {way.source}, while it runs"):
        return lines
    return [*lines, *_move(database, way, reporter, filters_of)]


def _check(database: Database, vm: VirtualMachine, host: str, lease: Lease | None) -> _Way:
    """Ask both hosts, and check all that can be checked before something is changed."""
    target = load_target(database, vm, host)
    plan = plan_of(database, vm, target)
    source = container_of(vm)
    check_live(vm, target, plan, lease)
    there = as_moved(database, vm, target, plan)
    check_images(database, vm, there)
    if has_any(database, vm.name):
        raise cannot_move(vm, "it has cores, memory of NUMA nodes or devices of its host for itself")
    connections = connections_of(there)
    if any(isinstance(one, VirtualFunction) for one in (*connections_of(vm), *connections)):
        raise cannot_move(vm, "it has a virtual function of its host")
    hosts = [source.name, target.name]
    paths = {file.new_path for file in plan.files} | {disk.path for disk in there.disks}
    asked = {source.name: {disk.path for disk in vm.disks}, target.name: paths | ({vm.cdrom_path} - {""})}
    with open_fleet(database, hosts) as fleet:
        facts = contact_hosts(database, fleet, hosts, files=asked)
    here = _answer(vm, facts[source.name])
    found = domain_on(here, vm.name)
    if found is None or found.state not in GUEST_RUNS:
        remedy = f"rocks stop host vm {vm.name} ends its lease, then it moves without live=yes"
        if found is not None and found.state == "paused":
            remedy = f"rocks resume host vm {vm.name}, then repeat the move"
        state = "off" if found is None else found.state
        raise StateError(f"{vm.name} does not run on {source.name}: it is {state}; {remedy}")
    answer = _with_images(_answer(vm, facts[target.name]), image_devices(vm))
    if is_too_old(answer.qemu, found.machine_type):
        raise cannot_move(
            vm,
            f"its machine type is {found.machine_type}, which the older QEMU {answer.qemu} of "
            f"{target.name} does not know",
        )
    copies = table.read_copies(database, vm.name)
    if is_active(answer, vm.name):
        raise StateError(
            f"{vm.name} is not moved: a domain of its name is active on {target.name}, too; look at both (rocks list "
            f"host vm {vm.name} status=yes), and end that one there: virsh destroy {vm.name}"
        )
    files = check_files(database, vm, target, plan, copies, answer, is_running=True)
    for file in files:
        if file.fact is None:
            raise HostError(
                f"{vm.name} is not moved: its disk {file.move.path} is not on {source.name}; rocks list host image "
                f"{source.name} shows what is"
            )
    spec = spec_of(there, connections, hosts_beside(database, vm), "is not moved")
    plan_start(spec.request, there.memory_mb, answer, {}, "is not moved")
    return _Way(vm, there, target, plan, spec)


def _with_images(answer: HostFacts, devices: Collection[str]) -> HostFacts:
    """What the new host has when the images are mapped to it."""
    disks = (
        replace(disk, exists=True, is_block=True) if disk.path in devices else disk for disk in answer.disks
    )
    return replace(answer, disks=tuple(disks))


def _answer(vm: VirtualMachine, answer: HostFacts | RocksError) -> HostFacts:
    if isinstance(answer, RocksError):
        raise HostError(f"{vm.name} is not moved: {answer}")
    return answer


def _move(database: Database, way: _Way, reporter: MoveReporter, filters_of: FiltersOf) -> list[str]:
    vm, target = way.vm, way.target
    operation = _operation(database, way, filters_of)
    for note in way.spec.notes:
        reporter.notify(note)
    pull_images(database, vm, way.there, reporter)
    copies = [DiskCopy(target.name, path) for path in _new_paths(way, operation)]
    table.put_copies(database, vm.name, copies)
    token = leases.begin_live_move(database, vm.name, target.name, disk_keys(way.there))
    database.commit()
    operation = replace(
        operation, token=token, xml=with_lease(operation.xml.splitlines(), token, way.spec.network, vm.uuid)
    )
    error = _migrate(database, way, operation, reporter)
    (now,) = leases.read_leases(database, [vm.name]).values()
    return settle(database, vm, now, error, reporter)


def _operation(database: Database, way: _Way, filters_of: FiltersOf) -> StartDomain:
    """The start of the machine on the new host, under no lease yet, with its document and its seed."""
    seed = create_seeds(database, [way.there]).get(way.vm.name)
    if isinstance(seed, RocksError):
        raise seed
    lines = describe_vms(database, [way.there], filters_of)[way.vm.name]
    return replace(way.spec.request, xml="\n".join(lines), seed=seed)


def _new_paths(way: _Way, operation: StartDomain) -> list[str]:
    seed = [] if operation.seed is None else [operation.seed.path]
    return [*(file.new_path for file in way.plan.files), *seed]


def _migrate(
    database: Database, way: _Way, operation: StartDomain, reporter: MoveReporter
) -> RocksError | None:
    """Have the agents move it; why it did not, as far as they know."""
    vm = way.vm
    old, new = host_addresses(database, [way.source]) + host_addresses(database, [way.target.name])
    move = vm.uuid.replace("-", "")
    began = awake = monotonic_seconds()
    database.end_reading()
    direct, detour = direct_way(new), ""
    if direct is None:
        reporter.notify(_detour_line(vm.name, way.source, new, "its address is not recorded"))

    def watch(progress: Progress) -> None:
        nonlocal awake, detour
        if progress.detour and not detour:
            detour = progress.detour
            reporter.notify(_detour_line(vm.name, way.source, new, detour))
        reporter.progress(_progress_line(vm.name, progress, monotonic_seconds() - began))
        if monotonic_seconds() >= awake + _AWAKE_SECONDS:
            awake = monotonic_seconds()
            leases.read_leases(database, [vm.name])
            database.end_reading()

    paths = tuple(file.path for file in way.plan.files)
    leave = Leave(vm.name, operation.token, move, paths, image_devices(vm), direct)
    arrive = Arrive(operation, vm.uuid, move, direct)
    try:
        result = move_live(old, new, FleetSettings(), leave, arrive, watch)
    except RocksError as error:
        return error
    finally:
        reporter.progress("")
    return None if result.error is None else HostError(f"{way.source}: {result.error}")


def _detour_line(vm: str, old: str, new: HostAddress, reason: str) -> str:
    """Why memory and disks go through the frontend, and what to do."""
    ports = f"{DIRECT_PORTS[0]}-{DIRECT_PORTS[-1]}"
    return (
        f"memory and disks of {vm} go through the frontend: {old} does not reach {new.name} directly ({reason}); "
        f"open TCP ports {ports} of {new.address} there to {old}"
    )


def _progress_line(name: str, progress: Progress, seconds: float) -> str:
    total = progress.sent_bytes + progress.remaining_bytes
    share = 100 * progress.sent_bytes // total if total else 0
    return f"{name}: {share} %, {size_text(progress.sent_bytes)} of {size_text(total)}, {duration(seconds)}"
