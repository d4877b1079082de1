"""Firewall rules: add and remove them in the database, render them for hosts, bring them there."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import RocksError, StateError, UserError
from rocks.core.names import printable
from rocks.fleet.connection import FleetSettings
from rocks.fleet.run_parallel import run_parallel
from rocks.inventory.address_records import host_addresses
from rocks.inventory.addresses import ssh_port
from rocks.inventory.host_records import find_local_host
from rocks.inventory.loaded_host_records import load_hosts, load_interfaces, physical_hosts, which_are_vms
from rocks.network.firewall import records as firewalls
from rocks.network.firewall.deployment import APPLY_SECONDS, CONFIRM_SECONDS, load_rules, remove_rules
from rocks.network.firewall.nft import (
    UNIT_TEXT,
    FirewallHost,
    check_renders,
    devices_by_network,
    firewall_file,
    no_firewall,
    references,
)
from rocks.network.firewall.rules import check_networks, check_rule_name, checked_rule, closed_networks
from rocks.network.networks import network_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.connection import HostAddress
    from rocks.inventory.records import Host, Interface
    from rocks.network.firewall.deployment import Loaded
    from rocks.network.firewall.rules import FirewallRule

_MARGIN_SECONDS = 5.0


class HostFirewall(NamedTuple):
    """The rules of a host as a file for nft, and whether they are to be in force.

    `closed` is that of `closed_networks`.
    """

    host: str
    is_on: bool
    text: str
    closed: Mapping[str, str]


def port_of_service(name: str, protocol: str) -> int | None:
    """The port of a service in this machine's /etc/services; None for an unknown one."""
    try:
        return socket.getservbyname(name, protocol)
    except (OSError, ValueError):
        return None


def add_rule(database: Database, rule: FirewallRule, members: Sequence[str]) -> None:
    """Add the rule to all members of its scope; UserError, and no change, when it is not valid or one has its name."""
    rule = checked_rule(rule, port_of_service)
    check_networks(rule, network_names(database))
    _check_flags(database, rule, members)
    having = firewalls.members_with_rule(database, rule.name, rule.scope, members)
    if having or firewalls.insert_rule(database, rule, members) < len(members):
        where = "" if rule.scope == "global" else f" for {rule.scope} {(having or members)[0]}"
        raise UserError(
            f'firewall rule "{printable(rule.name)}" exists{where}; to change it, rocks remove firewall, then add it'
        )


def _check_flags(database: Database, rule: FirewallRule, members: Sequence[str]) -> None:
    """UserError for a rule that has no form in nft on one of its hosts, whose attributes its flags may name."""
    if not references(rule.flags):
        check_renders(rule, port_of_service)
        return
    chosen = {member.lower() for member in members}
    for host in load_hosts(database, physical_hosts(database)):
        of_host = {"host": host.name, "appliance": host.appliance, "os": host.attributes.get("os", "")}
        if rule.scope == "global" or of_host[rule.scope].lower() in chosen:
            check_renders(rule, port_of_service, host.name, host.attributes)


def remove_rule(database: Database, name: str, scope: str, members: Sequence[str]) -> None:
    """Remove the rule from all the members; UserError, and no change, when one of them does not have it."""
    check_rule_name(name)
    having = {member.lower() for member in firewalls.members_with_rule(database, name, scope, members)}
    for member in members:
        if member.lower() not in having:
            where = "the scope global" if scope == "global" else f"{scope} {member}"
            raise UserError(
                f'there is no firewall rule "{printable(name)}" of {where}; rocks list firewall '
                "lists all rules with their scopes"
            )
    firewalls.delete_rules(database, name, scope, members)


def host_firewalls(database: Database, names: Sequence[str]) -> Iterator[HostFirewall]:
    """The rules of each named host, in their order; a fixed number of statements.

    StateError for a stored rule or device that is not valid.
    """
    for _, one in _each_firewall(database, names):
        if isinstance(one, StateError):
            raise one
        yield one


def firewall_texts(database: Database, names: Sequence[str]) -> dict[str, str | StateError]:
    """Host → its rules as a file for nft, or why there is none; a fixed number of statements, none without hosts.

    Unknown names are omitted.
    """
    if not names:
        return {}
    found = _each_firewall(database, names)
    return {name: one if isinstance(one, StateError) else one.text for name, one in found}


def _each_firewall(
    database: Database, names: Sequence[str]
) -> Iterator[tuple[str, HostFirewall | StateError]]:
    local = find_local_host(database)
    hosts = load_hosts(database, names)
    interfaces = load_interfaces(
        database, list({*(host.name for host in hosts), *([local] if local else [])})
    )
    rules = dict(firewalls.resolved_rules(database, [host.name for host in hosts]))
    addresses = tuple(one.ip for one in interfaces[local] if one.ip and not one.is_bmc) if local else ()
    database.end_reading()
    for host in hosts:
        frontend = () if local and host.name.lower() == local.lower() else addresses
        try:
            yield host.name, _firewall_of(host, interfaces[host.name], rules[host.name], frontend)
        except StateError as error:
            yield host.name, error


def _firewall_of(
    host: Host, interfaces: Sequence[Interface], rules: Sequence[FirewallRule], frontend: Sequence[str]
) -> HostFirewall:
    devices = devices_by_network(host.name, interfaces)
    bridges = [name for names in devices.values() for name in names] if host.is_true("kvm") else []
    port = ssh_port(host.name, host.attributes)
    place = FirewallHost(host.name, devices, bridges, frontend, port, host.attributes)
    text = firewall_file(place, rules, port_of_service)
    return HostFirewall(host.name, host.is_true("firewall"), text, closed_networks(devices, rules))


def sync_firewalls(
    database: Database, names: Sequence[str]
) -> Iterator[tuple[HostFirewall, Loaded | RocksError]]:
    """Bring the rules to the named hosts, all at once, as they answer; hosts whose attribute `firewall` is not true
    have none of this system afterwards. Of two commands at once a host gets the rules of one after those of the other.

    UserError for a virtual machine. StateError, and no change on any host, for a stored rule that is not valid.
    BusyError, and no change either, when the change of another command does not end.
    """
    machines = which_are_vms(database, names)
    if machines:
        raise UserError(
            f"host {machines[0]} is a virtual machine, whose firewall belongs to its owner: name physical hosts"
        )
    chosen = FleetSettings()
    seconds = APPLY_SECONDS + CONFIRM_SECONDS + _MARGIN_SECONDS
    database.end_reading()  # the rules are those that are committed when the locks are taken
    database.lock_all([_lock_name(name) for name in names], seconds)
    try:
        firewalls_of = {one.host: one for one in host_firewalls(database, names)}
        addresses = host_addresses(database, list(firewalls_of))
        database.commit()
        jobs = {host.name: partial(_bring, host, chosen, firewalls_of[host.name]) for host in addresses}
        deadlines = dict.fromkeys(jobs, seconds)
        for name, result in run_parallel(jobs, threads=chosen.threads, deadline_seconds=deadlines):
            database.unlock(_lock_name(name))
            yield firewalls_of[name], result
    finally:
        database.unlock_all([_lock_name(name) for name in names])


def _lock_name(host: str) -> str:
    return f"firewall {host}"


def _bring(host: HostAddress, settings: FleetSettings, firewall: HostFirewall) -> Loaded:
    if not firewall.is_on:
        return remove_rules(host, settings, no_firewall())
    return load_rules(host, settings, firewall.text, UNIT_TEXT)
