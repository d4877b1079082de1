"""Compare the InfiniBand adapters that a host reports with the database. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rocks.core.check_lines import OK, WRONG, SiteCheck
from rocks.fleet.wire.infiniband import InfinibandFacts, PortFact, VfFact
from rocks.network.infiniband.partition_rules import Port
from rocks.network.infiniband.pkeys import DEFAULT_PKEY, FULL_BIT, guid_text, pkey_text

UNKNOWN = "unknown"
"""Result of a line about what the host does not report."""


def ports_of_facts(host: str, facts: InfinibandFacts) -> list[Port]:
    """The ports that the host reports."""
    return [Port(host, port.device, port.number, int(port.guid, 16)) for port in facts.ports]


def check_host(
    facts: InfinibandFacts,
    recorded: Sequence[Port],
    keys: Collection[int],
    all_keys: Collection[int],
    machines: Mapping[str, int],
) -> list[SiteCheck]:
    """A line for each port and virtual function, and for each deviation from the kernel's documentation.

    `keys`: keys of the clusters that are placed on the host, with the bit of full members; `all_keys`: low bits of the
    keys of all clusters; `machines`: machine → its key. Keys of no cluster are the operator's own and are ignored.
    """
    known = {(port.device, port.number): port.guid for port in recorded}
    found = [_port(port, known.pop((port.device, port.number), None), keys, all_keys) for port in facts.ports]
    for (device, number), guid in known.items():
        found.append(
            SiteCheck(f"{device} port {number}", WRONG, f"recorded as {guid_text(guid)}, but not present")
        )
    found += [_vf(vf, machines) for vf in facts.vfs]
    found += [SiteCheck("kernel's files", WRONG, line) for line in facts.departures]
    if not facts.ports:
        found.append(SiteCheck("adapters", WRONG, "the host has no InfiniBand port"))
    elif not facts.departures:
        found.append(SiteCheck("kernel's files", OK, "as documented"))
    return found


def _port(
    port: PortFact, recorded: int | None, keys: Collection[int], all_keys: Collection[int]
) -> SiteCheck:
    subject = f"{port.device} port {port.number}"
    guid = int(port.guid, 16)
    if recorded is None:
        return SiteCheck(subject, WRONG, f"{guid_text(guid)} is not recorded: rocks sync host ibport")
    if recorded != guid:
        return SiteCheck(subject, WRONG, f"is {guid_text(guid)}, recorded as {guid_text(recorded)}")
    if "ACTIVE" not in port.state:
        return SiteCheck(subject, WRONG, f"is {port.state}: no cable, or no subnet manager")
    missing = sorted(set(keys) - set(port.keys))
    foreign = sorted(key for key in port.keys if key not in keys and key & ~FULL_BIT in all_keys)
    if missing or foreign:
        faults = [f"lacks {pkey_text(key)}" for key in missing] + [f"has {pkey_text(key)}" for key in foreign]
        return SiteCheck(subject, WRONG, f"{', '.join(faults)}: rocks sync ib partitions")
    return SiteCheck(subject, OK, " ".join(pkey_text(key) for key in port.keys))


def _vf(vf: VfFact, machines: Mapping[str, int]) -> SiteCheck:
    subject = f"{vf.device} function {vf.address}"
    owner = f"of {vf.machine}" if vf.machine else "of no machine"
    if vf.keys is None:
        return SiteCheck(subject, UNKNOWN, f"{owner}; the host does not report the keys that its guest sees")
    keys = " ".join(pkey_text(key) for key in vf.keys) or "no key"
    own = machines.get(vf.machine)
    others = [key for key in vf.keys if key & ~FULL_BIT not in (own, DEFAULT_PKEY)]
    has_full_default = DEFAULT_PKEY | FULL_BIT in vf.keys
    if vf.machine and (others or has_full_default or own not in {key & ~FULL_BIT for key in vf.keys}):
        return SiteCheck(subject, WRONG, f"{owner} sees {keys}; start the machine again")
    return SiteCheck(subject, OK, f"{owner}: {keys}")
