"""The listing of virtual functions: the pool and assignments in the database, and the facts of the hosts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.network.guest_connections import kernel_device

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.fleet.wire.facts import AdapterFact, VfFact
    from rocks.network.sriov.function_choice import AdapterRow, AssignedVf

NO_ANSWER = "no answer"
ABSENT = "absent"


class VfRow(NamedTuple):
    """A line of the listing; `vm` and `mac` are None for an unassigned function."""

    host: str
    device: str
    number: int
    vm: str | None
    mac: str | None


def vf_rows(adapters: Iterable[AdapterRow], given: Iterable[AssignedVf]) -> list[VfRow]:
    """All functions of the adapters, and assigned functions of adapters that the database no longer has."""
    left = {(row.host.lower(), row.device.lower(), row.number): row for row in given}
    rows = []
    for adapter in adapters:
        for number in range(adapter.vfs):
            owner = left.pop((adapter.host.lower(), adapter.device.lower(), number), None)
            rows.append(
                VfRow(adapter.host, adapter.device, number, owner and owner.name, owner and owner.mac)
            )
    return rows + [VfRow(row.host, row.device, row.number, row.name, row.mac) for row in left.values()]


def now_cells(
    row: VfRow, adapters: Sequence[AdapterRow], answers: Mapping[str, Sequence[AdapterFact] | None]
) -> tuple[str | None, str | None, str]:
    """(PCI address, VLAN, user) of a function, as its host reports; `answers` has None for a host without a reply."""
    answer = answers.get(row.host)
    if answer is None:
        return (None, None, NO_ANSWER)
    options = next((a.options for a in adapters if (a.host, a.device) == (row.host, row.device)), "")
    fact = _find(answer, kernel_device(row.device, options), row.number)
    if fact is None:
        return (None, None, ABSENT)
    return (fact.address, str(fact.vlan or "") or None, fact.user or fact.use)


def _find(answer: Sequence[AdapterFact], device: str, number: int) -> VfFact | None:
    for adapter in answer:
        for vf in adapter.vfs:
            if (adapter.device, vf.number) == (device, number):
                return vf
    return None
