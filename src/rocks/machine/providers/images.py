"""Copies of the library's images on hosts: disks of machines are made from them, and CDs are them.

The library's modules are imported where a machine has an image or a CD.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import HostError, RocksError, StateError
from rocks.core.units import size_text
from rocks.fleet.run_parallel import run_parallel
from rocks.fleet.settings import FleetSettings
from rocks.fleet.wire.requests import base_path
from rocks.inventory.address_records import host_addresses
from rocks.library.guest_images import (
    IMAGE_ATTRIBUTE,
    base_on,
    check_source_place,
    needs_source,
    source_disk,
    with_base,
)
from rocks.library.guest_media import check_space, medium_name, medium_on, with_checked_medium, with_medium
from rocks.machine.providers.provider import Provider
from rocks.machine.spec import container_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from rocks.database.connection import Database
    from rocks.fleet.settings import HostAddress
    from rocks.fleet.wire.facts import DiskFact, HostFacts
    from rocks.fleet.wire.requests import BaseImage
    from rocks.inventory.records import VirtualMachine
    from rocks.library.guest_images import Source
    from rocks.machine.lease_grants import Attempt
    from rocks.machine.providers.provider import Questions

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
                check_space(attempt.vm, copy.image, copy.base, fact)
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
