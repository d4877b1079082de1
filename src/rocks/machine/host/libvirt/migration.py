"""The live migration of a domain: its flags and parameters for libvirt."""

from __future__ import annotations

import contextlib
from typing import Any, Dict

import libvirt  # noqa: TID251 - of this folder

from rocks.machine.host.libvirt.driver import LiveWay
from rocks.machine.host.libvirt.errors import libvirt_errors

LIVE_DOWNTIME_MILLISECONDS = 100
"""How long a machine may stand still at the end of a live migration.

It is paused while QEMU sends the rest of its memory, by QEMU's default for at most 300 ms. In addition, the last
messages of both libvirts pass through the frontend several times.
"""


def migrate(domain: Any, name: str, way: LiveWay) -> None:
    """As `DomainDriver.move_live`; `domain` is that of the name."""
    target = None
    try:
        with libvirt_errors(f"reach libvirt of the new host of {name}"):
            target = libvirt.open(f"qemu+unix:///system?socket={way.libvirt_socket}")
        flags = (
            libvirt.VIR_MIGRATE_PERSIST_DEST
            | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
            | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
        )
        if not way.pauses_first:
            flags |= libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_AUTO_CONVERGE
        if way.stays_paused:
            flags |= libvirt.VIR_MIGRATE_PAUSED
        parameters: Dict[str, Any] = {
            libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{way.memory_socket}",
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: way.xml,
            libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: way.xml,
        }
        if way.disks:
            flags |= libvirt.VIR_MIGRATE_NON_SHARED_DISK
            parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = list(way.disks)
            parameters[libvirt.VIR_MIGRATE_PARAM_DISKS_URI] = f"unix://{way.disks_socket}"
        with libvirt_errors(f"move {name}"):
            domain.migrateSetMaxDowntime(LIVE_DOWNTIME_MILLISECONDS)
            domain.migrate3(target, parameters, flags)
    finally:
        if target is not None:
            with contextlib.suppress(libvirt.libvirtError):
                target.close()
