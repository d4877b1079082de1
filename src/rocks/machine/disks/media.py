"""ISOs of the image library in the drives of machines that start: inserted, and their copies on the hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.fleet.wire.requests import base_path
from rocks.library.guest_media import (
    check_space,
    medium_name,
    medium_on,
    with_checked_medium,
    with_medium,
)
from rocks.machine.disks.cdrom import medium_source
from rocks.machine.disks.guest_images import HostCopy
from rocks.machine.spec import container_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import HostFacts
    from rocks.machine.disks.guest_images import Copies
    from rocks.machine.leases.leases import Attempt


def insert_media(database: Database, attempts: Iterable[Attempt]) -> Copies:
    """Insert the ISOs into the machines of the attempts; returns machine → the copy on its host."""
    found: Copies = {}
    for attempt in attempts:
        name = medium_name(attempt.vm)
        if not name:
            continue
        with attempt.failing_alone():
            base = medium_on(attempt.vm, container_of(attempt.vm), medium_source(database, attempt.vm))
            found[attempt.vm.name] = HostCopy(base, name)
            attempt.vm = with_medium(attempt.vm, base)
    return found


def use_media(
    attempts: Iterable[Attempt], media: Copies, facts: Mapping[str, HostFacts | RocksError]
) -> dict[tuple[str, str], HostCopy]:
    """Have hosts check the copies of ISOs; returns those that hosts lack, by host and file."""
    missing: dict[tuple[str, str], HostCopy] = {}
    for attempt in attempts:
        copy, spec = media.get(attempt.vm.name), attempt.spec
        host = container_of(attempt.vm).name
        answer = facts.get(host)
        if (
            copy is None
            or copy.base is None
            or spec is None
            or answer is None
            or isinstance(answer, RocksError)
        ):
            continue
        path = base_path(copy.base)
        fact = next((fact for fact in answer.disks if fact.path == path), None)
        attempt.spec = replace(spec, disks=with_checked_medium(spec.disks, copy.base))
        if fact is not None and not fact.exists:
            with attempt.failing_alone():
                check_space(attempt.vm, copy.image, copy.base, fact)
                missing[host, path] = copy
    return missing
