"""What a starting machine gets from other rooms: functions, partitions, seeds, cores and memory, copies of images."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import HostError, RocksError, StateError
from rocks.core.values import size_text
from rocks.fleet.connection import FleetSettings
from rocks.fleet.run_parallel import run_parallel
from rocks.fleet.wire.facts import ShapeQuestion
from rocks.fleet.wire.requests import VfSpec, base_path
from rocks.inventory.address_records import host_addresses
from rocks.inventory.mac_pool import full_mac
from rocks.library.guest_images import (
    IMAGE_ATTRIBUTE,
    base_on,
    check_medium_space,
    check_source_place,
    medium_name,
    medium_on,
    needs_source,
    seed_path,
    source_disk,
    with_base,
    with_checked_medium,
    with_medium,
)
from rocks.machine.documents import connections_of
from rocks.machine.placement import ShapeLeases, read_request
from rocks.machine.spec import container_of
from rocks.network.guest_connections import VirtualFunction
from rocks.network.infiniband.machine_partitions import join_partitions, partitions_of_machines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from rocks.database.connection import Database
    from rocks.fleet.connection import HostAddress
    from rocks.fleet.wire.facts import DiskFact, HostFacts
    from rocks.fleet.wire.requests import BaseImage
    from rocks.inventory.records import VirtualMachine
    from rocks.library.guest_images import Source
    from rocks.machine.placement import Placement, ShapeRequest
    from rocks.machine.start import Attempt
    from rocks.network.sriov.function_choice import AssignedVf, Claimant


# The protocol by which a start gets what it needs from other rooms.
#
# There is no verb for giving back: what is claimed ends with the machine's lease. The table of a new claim is added to
# `leases.lease.PARTS`. Volumes of NASes are mapped by a plugin of `start host vm`, since a site may have its
# own storage.


@dataclass(frozen=True)
class Questions:
    """What the facts of hosts must include: host → paths of files, and host → its cores and memory."""

    files: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    shapes: dict[str, ShapeQuestion] = field(default_factory=dict)


class Provider:
    """One for each start command; it may remember between its verbs, which are called in this order.

    A verb that a provider does not need does nothing. The error of a machine is that of its attempt; each verb gets the
    attempts without one. `notify` prints a line for the operator.
    """

    def __init__(self, database: Database, notify: Callable[[str], None]) -> None:
        self.database, self.notify = database, notify

    def ask(self, attempts: Sequence[Attempt], questions: Questions) -> None:
        """Add what has to be known of the hosts; the machine of an attempt may be changed, before its spec is made.

        Hosts are asked for leases and fences, too. One without any question is not asked before the start.
        """

    def claim(self, attempts: Sequence[Attempt], facts: Mapping[str, HostFacts | RocksError]) -> None:
        """Claim for the machines, none of which is saved, in the database and in their requests.

        `facts` are those of the hosts that were asked. The caller commits before a host is asked to change anything.
        """

    def complete(self, attempts: Sequence[Attempt]) -> None:
        """Bring to the hosts, and into the requests, what needs no claim. May take long: nothing is locked."""


# Virtual functions (SR-IOV) of adapters: which ones a starting machine gets.


class Functions(Provider):
    """Functions are chosen from the records; no statement is sent when no machine requests one."""

    def claim(self, attempts: Sequence[Attempt], facts: Mapping[str, HostFacts | RocksError]) -> None:
        """An attempt whose host has no free function fails alone."""
        if not any(_functions(attempt) for attempt in attempts):
            return
        from rocks.network.sriov import adapters as table
        from rocks.network.sriov.function_choice import plan_vfs

        claimants = {attempt.vm.name: _claimant(attempt) for attempt in attempts}
        hosts = sorted({claimant.host for claimant in claimants.values() if claimant.requested})
        adapters = table.adapters_of(self.database, hosts, lock=True)
        given = table.assigned_on(self.database, hosts)
        claimed: list[AssignedVf] = []
        for attempt in attempts:
            claimant = claimants[attempt.vm.name]
            pool = {row.device.lower(): row.vfs for row in adapters if _same(row.host, claimant.host)}
            with attempt.failing_alone():
                rows = plan_vfs(
                    claimant, pool, [r for r in (*given, *claimed) if _same(r.host, claimant.host)]
                )
                claimed.extend(row for row in rows if row not in given)
                vfs = [_vf_spec(vf, row, pool) for vf, row in zip(claimant.requested, rows, strict=True)]
                attempt.request = replace(attempt.request, vfs=tuple(vfs))
        table.record_assigned_vfs(self.database, claimed)


def _functions(attempt: Attempt) -> list[VirtualFunction]:
    return [one for one in connections_of(attempt.vm) if isinstance(one, VirtualFunction)]


def _claimant(attempt: Attempt) -> Claimant:
    from rocks.network.sriov.function_choice import Claimant

    return Claimant(attempt.vm.name, container_of(attempt.vm).name, attempt.token, _functions(attempt))


def _vf_spec(vf: VirtualFunction, row: AssignedVf, pool: Mapping[str, int]) -> VfSpec:
    return VfSpec(
        device=vf.parent,
        count=pool[vf.device.lower()],
        number=row.number,
        mac=full_mac(vf.mac),
        vlan=vf.vlan,
        checks_source=vf.checks_source,
        is_trusted=vf.is_trusted,
    )


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()


# The InfiniBand partition of a machine's cluster.


class Partitions(Provider):
    """The hosts of the machines become members of the partitions, and the requests get the keys."""

    def complete(self, attempts: Sequence[Attempt]) -> None:
        """Of saved machines, too; not of those that run already, under the key that is recorded. Commits."""
        names = [attempt.vm.name for attempt in attempts]
        try:
            warnings = join_partitions(self.database, names)
            partitions = partitions_of_machines(self.database, names)
        except RocksError as error:
            for attempt in attempts:
                attempt.error = error
            return
        for warning in warnings:
            self.notify(warning)
        for attempt in attempts:
            attempt.request = replace(attempt.request, partition=partitions.get(attempt.vm.name))


# The small second disk of a machine from an image of the library, which cloud-init reads.


class Seeds(Provider):
    """A saved machine goes on with the one that it has."""

    def complete(self, attempts: Sequence[Attempt]) -> None:
        """Create the seeds. Commits."""
        seeded = [one for one in attempts if not one.is_saved and seed_path(one.vm) is not None]
        if not seeded:
            return
        from rocks.machine.seeds import create_seeds  # late: few machines have one

        seeds = create_seeds(self.database, [attempt.vm for attempt in seeded], self.notify)
        for attempt in seeded:
            seed = seeds.get(attempt.vm.name)
            if isinstance(seed, RocksError):
                attempt.error = seed
            else:
                attempt.request = replace(attempt.request, seed=seed)


# Cores, memory of NUMA nodes and PCI devices: what a starting machine gets of its host.


class Placements(Provider):
    """No host is asked, and no statement sent, when no machine asks for anything. A saved machine still has its own."""

    def ask(self, attempts: Sequence[Attempt], questions: Questions) -> None:
        """Only hosts of machines that ask for something; these machines fail alone when a host cannot be asked."""
        addresses: dict[str, set[str]] = {}
        for request in _requests(attempts).values():
            pools = {name.lower(): found for name, found in request.pools.items()}
            asked = addresses.setdefault(request.host, set())
            asked.update(address for pool in request.devices for address in pools.get(pool.lower(), ()))
        questions.shapes.update(
            {host: ShapeQuestion(tuple(sorted(found))) for host, found in addresses.items()}
        )

    def claim(self, attempts: Sequence[Attempt], facts: Mapping[str, HostFacts | RocksError]) -> None:
        """Lease cores, pages and devices; the commit of the caller ends the lock of the hosts.

        An attempt whose host is short of something fails alone, and keeps what an interrupted start of it has: its
        agent may still be working.
        """
        requests = _requests(attempts)
        if not requests:
            return
        from rocks.machine import placement_records as table

        hosts = sorted({request.host for request in requests.values()})
        table.lock_hosts(self.database, hosts)
        given = table.leases_on(self.database, hosts)
        claimed = ShapeLeases()
        done: list[tuple[str, int]] = []
        for attempt in attempts:
            request = requests.get(attempt.vm.name)
            if request is None:
                continue
            with attempt.failing_alone():
                leased = given.plus(claimed).on(request.host)
                attempt.placement, leases = _plan(request, facts[request.host], leased)
                claimed = claimed.plus(leases)
                done.append((request.name, request.token))
        table.replace_leases(self.database, done, claimed)


def _plan(
    request: ShapeRequest, answer: HostFacts | RocksError, leased: ShapeLeases
) -> tuple[Placement, ShapeLeases]:
    from rocks.machine.placement import plan_shape

    if isinstance(answer, RocksError):
        raise HostError(f"{request.name} is not started: {answer}")
    if answer.shape is None:
        raise HostError(
            f"{request.name} is not started: {request.host} does not report its cores and memory; upgrade its agent"
        )
    return plan_shape(request, answer.shape, leased)


def _requests(attempts: Sequence[Attempt]) -> dict[str, ShapeRequest]:
    """Name → what the machine asks for; those that ask for nothing are left out."""
    requests = {}
    for attempt in attempts:
        with attempt.failing_alone():
            request = read_request(attempt.vm, attempt.token)
            if not request.is_empty:
                requests[attempt.vm.name] = request
    return requests


# Copies of the library's images on hosts: disks of machines are made from them, and CDs are them.
#
# The library's modules are imported where a machine has an image or a CD.

_SLOWEST_BYTES_PER_SECOND = 1_000_000


class _Copy(NamedTuple):
    """A copy of an image on a host, and the image; or why there can be none."""

    base: BaseImage | None
    image: str
    error: RocksError | None = None


class Images(Provider):
    """Copies that hosts lack are sent to all hosts at once."""

    def __init__(self, database: Database, notify: Callable[[str], None]) -> None:
        super().__init__(database, notify)
        self._disks: dict[str, _Copy] = {}
        self._media: dict[str, _Copy] = {}
        self._missing: dict[tuple[str, str], _Copy] = {}
        """Host and file → the copy."""

    def ask(self, attempts: Sequence[Attempt], questions: Questions) -> None:
        """Insert the ISOs into the drives of the machines, and ask for the files that disks and drives need."""
        for attempt in attempts:
            with attempt.failing_alone():
                self._insert_medium(attempt)
        machines = [attempt.vm for attempt in attempts if attempt.is_open]
        self._disks = _find_copies(self.database, machines)
        for vm in machines:
            host = container_of(vm).name
            if vm.name in self._disks:
                questions.files[host].update(disk.path for disk in vm.disks)
            for copies in (self._disks, self._media):
                if vm.name in copies and (base := copies[vm.name].base) is not None:
                    questions.files[host].add(base_path(base))

    def claim(self, attempts: Sequence[Attempt], facts: Mapping[str, HostFacts | RocksError]) -> None:
        """Have hosts create missing disks from their copies, and check those of ISOs."""
        for copies, use in ((self._disks, self._use_disk), (self._media, self._use_medium)):
            for attempt in attempts:
                copy, answer = copies.get(attempt.vm.name), facts.get(container_of(attempt.vm).name)
                if copy is not None and answer is not None and not isinstance(answer, RocksError):
                    with attempt.failing_alone():
                        use(attempt, copy, answer.disks)

    def complete(self, attempts: Sequence[Attempt]) -> None:
        """Send the images to the hosts that lack them; machines whose image does not arrive fail."""
        if not self._missing:
            return
        failed = self._send_missing()
        for attempt in attempts:
            host = container_of(attempt.vm).name
            bases = [disk.base for disk in attempt.request.disks if disk.base is not None]
            error = next((failed[key] for base in bases if (key := (host, base_path(base))) in failed), None)
            if error is not None:
                attempt.error = HostError(f"{attempt.vm.name} is not started: {error}")

    def _insert_medium(self, attempt: Attempt) -> None:
        vm, name = attempt.vm, medium_name(attempt.vm)
        if name:
            from rocks.machine.cd import medium_source

            base = medium_on(vm, container_of(vm), medium_source(self.database, vm))
            self._media[vm.name] = _Copy(base, name)
            attempt.vm = with_medium(vm, base)

    def _use_disk(self, attempt: Attempt, copy: _Copy, files: Sequence[DiskFact]) -> None:
        vm = attempt.vm
        if not needs_source(vm, files):
            return
        if copy.base is None:
            raise StateError(f"{vm.name} is not started: its disk has to be made: {copy.error}")
        path = base_path(copy.base)
        has_base = any(fact.path == path and fact.exists for fact in files)
        disks = with_base(vm, attempt.request.disks, files, copy.base, has_base)
        attempt.request = replace(attempt.request, disks=disks)
        if not has_base:
            self._missing[container_of(vm).name, path] = copy

    def _use_medium(self, attempt: Attempt, copy: _Copy, files: Sequence[DiskFact]) -> None:
        assert copy.base is not None
        path = base_path(copy.base)
        disks = with_checked_medium(attempt.request.disks, copy.base)
        attempt.request = replace(attempt.request, disks=disks)
        for fact in files:
            if fact.path == path and not fact.exists:
                check_medium_space(attempt.vm, copy.image, copy.base, fact)
                self._missing[container_of(attempt.vm).name, path] = copy

    def _send_missing(self) -> dict[tuple[str, str], RocksError]:
        """The errors, by host and file."""
        from rocks.library.library_folder import library_folder
        from rocks.library.limits import STALLED_SECONDS, STORE_SECONDS
        from rocks.library.records import image_file

        library = library_folder(self.database)
        self._remove_left(library)
        names = sorted({host for host, _ in self._missing})
        hosts = {host.name: host for host in host_addresses(self.database, names)}
        self.database.end_reading()
        settings = FleetSettings()
        jobs, seconds = {}, {}
        for key, copy in self._missing.items():
            assert copy.base is not None
            self.notify(f"the image {copy.image}, {size_text(copy.base.used_bytes)}, is copied to {key[0]}")
            job = "\n".join(key)
            jobs[job] = partial(_send, hosts[key[0]], settings, copy.base, image_file(library, copy.image))
            seconds[job] = STALLED_SECONDS + STORE_SECONDS + copy.base.used_bytes / _SLOWEST_BYTES_PER_SECOND
        failed: dict[tuple[str, str], RocksError] = {}
        for job, result in run_parallel(jobs, threads=settings.threads, deadline_seconds=seconds):
            if isinstance(result, RocksError):
                host, _, path = job.partition("\n")
                failed[host, path] = result
        return failed

    def _remove_left(self, library: Path) -> None:
        """Have the hosts that get a copy remove those that nobody needs any more."""
        from rocks.library.records import read_images
        from rocks.machine.images import remove_left_copies

        directories: dict[str, set[str]] = {}
        for (host, _), copy in self._missing.items():
            assert copy.base is not None
            directories.setdefault(host, set()).add(copy.base.directory)
        with suppress(RocksError):  # a damaged record: what the library has is not known
            for line in remove_left_copies(
                self.database, directories, lambda: {image.digest for image in read_images(library)}
            ):
                self.notify(line)


def _find_copies(database: Database, machines: Iterable[VirtualMachine]) -> dict[str, _Copy]:
    """The copies for the machines with an image. An image that is missing fails only the machines that need it."""
    sources: dict[str, Source | RocksError] = {}
    found: dict[str, _Copy] = {}
    for vm in machines:
        if source_disk(vm) is None:
            continue
        name = vm.host.attribute(IMAGE_ATTRIBUTE)
        if name not in sources:
            sources[name] = _find_source(database, name)
        source = sources[name]
        try:
            check_source_place(vm)
            if isinstance(source, RocksError):
                raise source
            found[vm.name] = _Copy(base_on(vm, container_of(vm), source), name)
        except RocksError as error:
            found[vm.name] = _Copy(None, name, error)
    return found


def _find_source(database: Database, name: str) -> Source | RocksError:
    from rocks.library.library_folder import find_library_image
    from rocks.library.records import source_of

    try:
        return source_of(find_library_image(database, name))
    except RocksError as error:
        return error


def _send(host: HostAddress, settings: FleetSettings, base: BaseImage, path: Path) -> None:
    from rocks.library.streams import send_image

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"the image {path} cannot be read: {error.strerror}; see rocks check image") from None
    try:
        send_image(host, settings, base, descriptor)
    except OSError as error:
        raise HostError(f"the image {path} cannot be sent: {error.strerror}") from None
    finally:
        os.close(descriptor)


# The providers of a start, in the order in which they are called.

PROVIDERS: tuple[type[Provider], ...] = (Images, Functions, Placements, Partitions, Seeds)
