"""Ends machines on their host, each under its lock: the domain, its lease, its devices; or restarts their guests."""

from __future__ import annotations

import contextlib
from typing import Tuple

from rocks.core.errors import RocksError, StateError
from rocks.fleet.host.change import CHANGED, Change
from rocks.fleet.wire.requests import StopDomain
from rocks.machine.host.guest_functions import release_vfs
from rocks.machine.host.guest_links import release_links
from rocks.machine.host.guest_partitions import release_partition
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.stop import ensure_stopped
from rocks.machine.host.moves.arriving_volumes import remove_placeholders
from rocks.machine.host.saves import forget_save


def end_domain(host: Host, operation: StopDomain) -> Change:
    """End the domain and its lease: no start under it, or under an older one, is admitted afterwards.

    Without a domain there is nothing to end, whichever later lease or epoch the host has seen: no start is in progress,
    since the caller holds the lock of the machine.
    """
    name = operation.name
    disks: Tuple[str, ...] = ()
    with contextlib.suppress(StateError):  # there is no domain, or it ends by itself just now
        disks = host.domains().document(name).disks
    change = ensure_stopped(host.domains(), operation, lambda token: host.leases.end(name, token))
    forget_save(host, name)
    with contextlib.suppress(RocksError):  # image storage uses or replaces one that stays
        remove_placeholders(host, disks)
    links = release_links(host, name, operation.links)
    notes = release_partition(host, name) + release_vfs(host, name)
    return Change(change.changed or links.changed, change.notes + links.notes + notes)


def restart_guest(host: Host, operation: StopDomain) -> Change:
    """Reboot or reset the guest; its domain and its lease stay."""
    (host.domains().reset if operation.action == "reset" else host.domains().reboot)(operation.name)
    return CHANGED
