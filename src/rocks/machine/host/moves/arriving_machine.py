"""What a running machine that arrives finds on its new host: checked, then made."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import List

from rocks.core.errors import HostError, IncoherentError, StateError
from rocks.core.files import explain
from rocks.fleet.wire.disk_moves import moving_path
from rocks.fleet.wire.live_moves import Arrive, Departure
from rocks.machine.host.consoles import name_log
from rocks.machine.host.disks import ensure_disk, give_file
from rocks.machine.host.facts import memory_reserved
from rocks.machine.host.files.paths import check_path, open_file, opened_image_folder
from rocks.machine.host.files.seeds import write_seed
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.accelerator import host_emulator, probe_accelerator
from rocks.machine.host.libvirt.domain_xml import DiskIdentity, DomainDocument, parse_domain, with_emulator
from rocks.machine.host.libvirt.moving_xml import (
    arriving,
    cannot,
    check_as_recorded,
    check_can_move,
    cpu_of,
    needs_same_host_cpu,
)
from rocks.machine.host.moves.arriving_volumes import create_placeholders
from rocks.network.host.rules import is_of_site


def check_may_arrive(host: Host, request: Arrive, document: DomainDocument, departure: Departure) -> None:
    """StateError where the machine cannot run here; IncoherentError when it is another one than was asked for."""
    start, domains = request.start, host.domains()
    if (document.name, document.uuid, document.token) != (start.name, request.uuid, start.token):
        raise IncoherentError(
            f"the old host sends {document.name} ({document.uuid}) under lease {document.token}, not {start.name} "
            f"({request.uuid}) under lease {start.token}"
        )
    if domains.find(start.name) is not None:
        raise StateError(f"there is a domain {start.name} on this host already")
    check_can_move(
        document, [disk.path for disk in departure.disks], [image.path for image in departure.images]
    )
    check_as_recorded(document, parse_domain(start.xml))
    if document.requires_kvm:
        probe = probe_accelerator(host.state_folder)
        if probe.accelerator != "kvm":
            raise cannot(start.name, f"it runs under KVM, which does not work here ({probe.reason})")
    if needs_same_host_cpu(document) and departure.host_cpu != domains.host_cpu():
        raise cannot(
            start.name,
            "it has the CPU of its host as it is, and this host has another one; with the attribute cpu_mode of a "
            "named model, both hosts show the same CPU",
        )
    cpu = cpu_of(document)
    emulator = _emulator(parse_domain(start.xml))
    if cpu is not None and not domains.cpu_fits(with_emulator(document, emulator), cpu):
        raise cannot(start.name, "this host cannot give it the CPU model that it has")


def _emulator(start: DomainDocument) -> str:
    """The QEMU of a start on this host; that of the old host is not asked for."""
    emulator = start.emulator
    return emulator if emulator and Path(emulator).exists() else host_emulator()


def prepare_arrival(
    host: Host, request: Arrive, document: DomainDocument, departure: Departure, stack: contextlib.ExitStack
) -> str:
    """Make disks and links; the XML of the machine here. `stack` keeps its memory for it."""
    start = request.start
    if start.memory_reserve_mb is not None:
        needed_mb, reserve_mb = document.memory_mb, start.memory_reserve_mb
        stack.enter_context(memory_reserved(host, start.name, needed_mb, reserve_mb, "is not moved"))
    host.stored_links.remember(start.name, tuple(link for link in start.links if not is_of_site(link)))
    for link in start.links:
        host.links().ensure(link)
    if document.console.log_path is not None:
        name_log(start.name, document.console.log_path)
    sizes = {disk.path: disk.size_bytes for disk in departure.disks}
    on_nas = {image.path for image in departure.images}
    create_placeholders(host, departure.images)
    identities: List[DiskIdentity] = []
    for spec in start.disks:
        if spec.is_mapped != (spec.path in on_nas):
            raise IncoherentError(f"{start.name} has the image {spec.path} on one of the hosts only")
        if spec.path in sizes:
            _create_empty(host, spec.path, sizes[spec.path], request)
        elif not (spec.is_cdrom or spec.is_mapped):
            raise IncoherentError(
                f"{start.name} would have the disk {spec.path} here, and does not have it there"
            )
        identities.append(ensure_disk(spec, host.image_owners)[1])
    if start.seed is not None:
        seed = start.seed
        identities.append(DiskIdentity(seed.path, *write_seed(seed, host.image_owners), seed.machine))
    there = parse_domain(start.xml)
    return arriving(document, there, identities, _emulator(there))


def _create_empty(host: Host, path: str, size_bytes: int, request: Arrive) -> None:
    """A new file of the machine for the copy; that of an earlier attempt is removed. StateError for another one."""
    spec = next(disk for disk in request.start.disks if disk.path == path)
    name = Path(check_path(path)).name
    ensure_disk(spec, host.image_owners)  # the folders, or the owner of what is there
    try:
        with opened_image_folder(spec.path, spec.directory) as folder:
            os.unlink(name, dir_fd=folder)
            _remove_part(host, folder, moving_path(path), request.uuid)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o600, dir_fd=folder)
            try:
                give_file(descriptor, path, request.uuid, host.image_owners)
                os.ftruncate(descriptor, size_bytes)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise HostError(f"cannot make the image {path}: {explain(error, Path(path))}") from None


def _remove_part(host: Host, folder: int, path: str, machine: str) -> None:
    """Remove what a move of the stopped machine has left incomplete, which nothing records once this one has ended."""
    descriptor = open_file(folder, Path(path).name, path)
    if descriptor is None:
        return
    try:
        if host.image_owners.of_file(descriptor, path) == machine:
            os.unlink(Path(path).name, dir_fd=folder)
            host.image_owners.forget("file", path)
    finally:
        os.close(descriptor)
