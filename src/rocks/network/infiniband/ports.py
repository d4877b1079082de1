"""InfiniBand ports of physical hosts: rows of `ib_ports`; always in sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from rocks.core.check_lines import OK, WRONG, SiteCheck
from rocks.core.errors import RocksError, StateError, UserError
from rocks.core.names import check_plain_name, printable
from rocks.core.values import read_number
from rocks.database.sets import among
from rocks.fleet.wire.received import LONGEST_ADAPTER, MAX_PORTS
from rocks.fleet.wire.requests import InfinibandFacts, InfinibandRequest, InfinibandVfFact, PortFact
from rocks.inventory.host_requests import ask_each
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.network.infiniband import partitions
from rocks.network.infiniband.pkeys import DEFAULT_PKEY, FULL_BIT, Port, guid_text, pkey_text, read_guid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rocks.database.connection import Database


def read_ports(database: Database, hosts: Sequence[str] | None = None) -> list[Port]:
    """The ports of the named hosts, or of all."""
    where, values = among("n.Name", hosts)
    rows = database.rows(
        "SELECT n.Name, i.Device, i.Port, i.GUID FROM ib_ports i JOIN nodes n ON n.ID = i.Node"
        f"{where} ORDER BY n.ID, i.Device, i.Port",
        values,
    )
    return [Port(str(host), str(device), int(number), int(guid)) for host, device, number, guid in rows]


def owners_of_guids(database: Database, guids: Sequence[int]) -> dict[int, str]:
    """GUID → host or virtual machine that has it."""
    rows = database.rows(
        "SELECT w.GUID, n.Name FROM (SELECT GUID, Node FROM ib_ports UNION ALL SELECT Port_GUID, Node FROM ib_guids"
        " UNION ALL SELECT Node_GUID, Node FROM ib_guids) w JOIN nodes n ON n.ID = w.Node"
        " WHERE w.GUID IN %s",
        [guids],
    )
    return {int(guid): str(name) for guid, name in rows}


def insert_ports(database: Database, ports: Sequence[Port]) -> None:
    """Add ports; the database has none of them yet."""
    for port in ports:
        database.execute(
            "INSERT INTO ib_ports (Node, Device, Port, GUID) SELECT ID, %s, %s, %s FROM nodes WHERE Name = %s",
            (port.device, port.number, port.guid, port.host),
        )


def delete_ports(database: Database, hosts: Sequence[str], device: str | None = None) -> None:
    """Remove the ports of a device of these hosts, or all their ports."""
    database.execute(
        "DELETE i FROM ib_ports i JOIN nodes n ON n.ID = i.Node"
        " WHERE n.Name IN %s" + (" AND i.Device = %s" if device else ""),
        [hosts, *([device] if device else [])],
    )


# The InfiniBand ports of hosts: recorded by an operator, read from the hosts, compared with the database.


def add_port(database: Database, host: str, device: str, guid: str, number: str) -> None:
    """Record a port of a physical host. UserError or StateError, and no change, when it is invalid or in use."""
    check_plain_name("device", device, LONGEST_ADAPTER)
    port = Port(host, device, read_number("port", number, 1, MAX_PORTS), read_guid(guid))
    if which_are_vms(database, [host]):
        raise StateError(
            f"{host} is a virtual machine, whose GUIDs are assigned automatically; ports belong to physical hosts"
        )
    for known in read_ports(database, [host]):
        if (known.device, known.number) == (port.device, port.number):
            raise StateError(
                f"{host} has port {known.number} of {known.device} with {guid_text(known.guid)}; "
                f"rocks remove host ibport {host} device={known.device}"
            )
    for owner in owners_of_guids(database, [port.guid]).values():
        raise StateError(
            f"the GUID {guid_text(port.guid)} is in use by {owner}; rocks list host ibport {owner}"
        )
    insert_ports(database, [port])


def remove_ports(database: Database, hosts: Sequence[str], device: str | None) -> None:
    """Remove the ports of the hosts: those of one device, or all. StateError when a host has none."""
    known = read_ports(database, hosts)
    for host in hosts:
        if not any(port.host == host and device in (None, port.device) for port in known):
            which = f"port of {printable(device)}" if device else "InfiniBand port"
            raise StateError(f"{host} has no {which}; rocks list host ibport {host}")
    delete_ports(database, hosts, device)


def record_ports(database: Database, hosts: Sequence[str]) -> Iterator[tuple[str, list[Port] | RocksError]]:
    """Replace the recorded ports of the hosts by those that they report; yields (host, ports or error).

    The ports of each host are committed as it answers. StateError for a host with a GUID of another host.
    """
    for host, answer in ask_each(database, dict.fromkeys(hosts, InfinibandRequest())):
        if isinstance(answer, RocksError):
            yield host, answer
            continue
        ports = ports_of_facts(host, answer)
        guids = Counter(port.guid for port in ports)
        twice = next((guid for guid, count in guids.items() if count > 1), None)
        if twice is not None:
            yield host, StateError(f"{host} reports the GUID {guid_text(twice)} for {guids[twice]} ports")
            continue
        owners = owners_of_guids(database, list(guids))
        others = sorted({owner for owner in owners.values() if owner != host})
        if others:
            yield (
                host,
                StateError(
                    f"{host} has a port with a GUID of {others[0]}; rocks list host ibport {others[0]}"
                ),
            )
            continue
        delete_ports(database, [host])
        insert_ports(database, ports)
        database.commit()  # the next host may take its time
        yield host, ports


def check_infiniband(
    database: Database, hosts: Sequence[str], tried_vf: str
) -> Iterator[tuple[str, list[SiteCheck] | RocksError]]:
    """(host, its lines or error). With `tried_vf`, a free function of the one host is configured and restored."""
    if tried_vf and len(hosts) != 1:
        raise UserError("function= needs exactly one host")
    members = {partition.pkey: partition for partition in partitions.read_partitions(database)}
    running = partitions.running_under(database, list(members))
    machines = {name: key for key, name, _ in running}
    for host, answer in ask_each(database, dict.fromkeys(hosts, InfinibandRequest(tried_vf))):
        if isinstance(answer, RocksError):
            yield host, answer
            continue
        keys = {
            key | FULL_BIT if members[key].membership == "full" else key
            for key, _, place in running
            if place.lower() == host.lower()
        }
        yield host, check_host(answer, read_ports(database, [host]), keys, members, machines)


# Compare the InfiniBand adapters that a host reports with the database. Pure.


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


def _vf(vf: InfinibandVfFact, machines: Mapping[str, int]) -> SiteCheck:
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
