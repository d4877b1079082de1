"""Virtual functions (SR-IOV) of adapters: which ones a starting machine gets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.fleet.wire.requests import VfSpec
from rocks.inventory.mac_pool import full_mac
from rocks.machine.documents import connections_of
from rocks.machine.providers.provider import Provider
from rocks.machine.spec import container_of
from rocks.network.guest_connections import VirtualFunction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.core.errors import RocksError
    from rocks.fleet.wire.facts import HostFacts
    from rocks.machine.lease_grants import Attempt
    from rocks.network.sriov.function_choice import AssignedVf, Claimant


class Functions(Provider):
    """Functions are chosen from the records; no statement is sent when no machine requests one."""

    def claim(self, attempts: Sequence[Attempt], facts: Mapping[str, HostFacts | RocksError]) -> None:
        """An attempt whose host has no free function fails alone."""
        if not any(_functions(attempt) for attempt in attempts):
            return
        from rocks.network.sriov import records as table
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
        table.assign_vfs(self.database, claimed)


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
