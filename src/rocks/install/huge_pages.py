"""Huge pages that a host reserves, as its profile needs them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.machine.placement.values import PAGE_SIZES_KB, read_page_reserve

if TYPE_CHECKING:
    from rocks.install.profile_values import Value
    from rocks.inventory.records import Host


def huge_page_values(host: Host) -> dict[str, Value]:
    """`huge_pages`: lines for systemd-tmpfiles that write the numbers; StateError without vm_hugepages."""
    text = host.attribute("vm_hugepages")
    try:
        reserved = read_page_reserve(text)
    except UserError as error:
        problem = f'the attribute vm_hugepages of host {host.name} cannot have the value "{printable(text)}": {error}'
        return {"huge_pages": StateError(problem)}
    if not reserved:
        return {"huge_pages": StateError(f"host {host.name} reserves no huge pages: it has no vm_hugepages")}
    lines = []
    for one in reserved:
        place = "/sys/kernel/mm" if one.node is None else f"/sys/devices/system/node/node{one.node}"
        file = f"{place}/hugepages/hugepages-{PAGE_SIZES_KB[one.size]}kB/nr_hugepages"
        lines.append(f"w {file} - - - - {one.pages}")
    return {"huge_pages": "\n".join(lines)}
