"""A site's virtual functions as a listing shows them: what the pool has, what is given, what the hosts say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.cluster.vm_network import kernel_device

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.cluster.vf_plan import AdapterRow, AssignedVf
    from rocks.wire.facts import AdapterFact, VfFact

NO_ANSWER = "no answer"
ABSENT = "absent"


class VfRow(NamedTuple):
    """A line of the listing; `vm` and `mac` are None for a function that nobody has."""

    host: str
    device: str
    number: int
    vm: str | None
    mac: str | None


def vf_rows(adapters: Iterable[AdapterRow], given: Iterable[AssignedVf]) -> list[VfRow]:
    """Every function of the adapters, and those that are given although the database knows no such adapter now."""
    left = {(row.host.lower(), row.device.lower(), row.number): row for row in given}
    rows = []
    for adapter in adapters:
        for number in range(adapter.functions):
            owner = left.pop((adapter.host.lower(), adapter.device.lower(), number), None)
            rows.append(
                VfRow(adapter.host, adapter.device, number, owner and owner.name, owner and owner.mac)
            )
    return rows + [VfRow(row.host, row.device, row.number, row.name, row.mac) for row in left.values()]


def now_cells(
    row: VfRow, adapters: Sequence[AdapterRow], answers: Mapping[str, Sequence[AdapterFact] | None]
) -> tuple[str | None, str | None, str]:
    """(PCI address, VLAN, in whose hands) of a function as its host says; `answers` has None for a silent host."""
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
