"""Rows of `firewalls`: the rules of the four scopes, and which hosts they concern; always in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rocks.inventory.attributes.records import ensure_members
from rocks.network.firewall.rules import (
    FirewallRule,
    Selection,
    order_key,
    resolve_rules,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.database.connection import Database


_COLUMNS = (
    "f.Rulename, COALESCE(f.Service, ''), COALESCE(f.Protocol, ''), COALESCE(f.Chain, ''), COALESCE(f.Action, ''),"
    " COALESCE(i.name, ''), COALESCE(o.name, ''), COALESCE(f.Flags, ''), COALESCE(f.Comment, ''), f.Rulesrc,"
    " c.Name, m.Name"
)
_TABLES = (
    " FROM firewalls f JOIN catindex m ON m.ID = f.Catindex JOIN categories c ON c.ID = f.Category"
    " LEFT JOIN subnets i ON i.ID = f.InSubnet LEFT JOIN subnets o ON o.ID = f.OutSubnet"
)
_DEFAULTS = (
    " FROM defaultfirewalls d JOIN subnets i ON i.name = d.Network JOIN categories c ON c.Name = d.Category"
    " JOIN catindex m ON m.Category = c.ID AND m.Name = d.Member"
)
"""The default rules of a site with the network `private`; those of all networks come with it."""


def read_rules(
    database: Database, scope: str | None = None, members: Sequence[str] | None = None
) -> list[FirewallRule]:
    """The rules as stored: by scope in the order of precedence, by member, by name. None: all scopes, all members."""
    condition, values = "", list[object]()
    if scope is not None:
        condition, values = " WHERE c.Name = %s", [scope]
    if members is not None:
        condition += " AND m.Name IN %s"
        values.append(members)
    rows = database.rows(f"SELECT {_COLUMNS}{_TABLES}{condition} ORDER BY c.ID, m.Name, m.ID", values)
    found = [_rule(row) for row in rows]
    places = {(rule.scope, rule.member): number for number, rule in enumerate(reversed(found))}
    return sorted(found, key=lambda rule: (-places[rule.scope, rule.member], *order_key(rule)))


def resolved_rules(database: Database, hosts: Sequence[str]) -> Iterator[tuple[str, list[FirewallRule]]]:
    """(host, its rules in their order) for the named hosts; two statements for any number of them."""
    if not hosts:
        return
    rows = database.rows(
        "SELECT h.Host, c.Name, m.Name, r.Precedence FROM hostselections h JOIN categories c ON c.ID = h.Category"
        " JOIN catindex m ON m.ID = h.Catindex JOIN resolvechain r ON r.Category = h.Category AND r.Name = 'default'"
        " WHERE h.Host IN %s",
        [hosts],
    )
    selections: dict[str, list[Selection]] = {}
    for host, scope, member, precedence in rows:
        selections.setdefault(str(host).lower(), []).append(
            Selection(str(scope), str(member), int(precedence))
        )
    rules: dict[tuple[str, str], list[FirewallRule]] = {}
    for rule in read_rules(database):
        rules.setdefault((rule.scope, rule.member.lower()), []).append(rule)
    for host in hosts:
        yield host, resolve_rules(rules, selections.get(host.lower(), ()))


def members_with_rule(database: Database, name: str, scope: str, members: Sequence[str]) -> list[str]:
    """The members that have a rule of this name, in any case."""
    rows = database.rows(
        "SELECT m.Name FROM firewalls f JOIN catindex m ON m.ID = f.Catindex JOIN categories c ON c.ID = f.Category"
        " WHERE c.Name = %s AND m.Name IN %s AND f.Rulename = %s",
        [scope, members, name],
    )
    return [str(row[0]) for row in rows]


def insert_rule(database: Database, rule: FirewallRule, members: Sequence[str]) -> int:
    """Add the rule to the members of its scope that have none of its name; returns how many got it."""
    ensure_members(database, rule.scope, members)
    return database.execute(
        "INSERT IGNORE INTO firewalls (Rulename, Rulesrc, InSubnet, OutSubnet, Service, Protocol, Action, Chain, Flags,"
        " Comment, Category, Catindex) SELECT %s, %s, (SELECT s.ID FROM subnets s WHERE s.name = %s),"
        " (SELECT s.ID FROM subnets s WHERE s.name = %s), %s, %s, %s, %s, %s, %s, m.Category, m.ID"
        " FROM catindex m JOIN categories c ON c.ID = m.Category"
        " WHERE c.Name = %s AND m.Name IN %s",
        [
            *(rule.name, rule.source, rule.network or None, rule.output_network or None, rule.service),
            *(rule.protocol, rule.action, rule.chain, rule.flags, rule.comment, rule.scope, members),
        ],
    )


def delete_rules(database: Database, name: str, scope: str, members: Sequence[str]) -> int:
    """Remove the rules of this name from the members; returns how many."""
    return database.execute(
        "DELETE f FROM firewalls f JOIN catindex m ON m.ID = f.Catindex JOIN categories c ON c.ID = f.Category"
        " WHERE c.Name = %s AND m.Name IN %s AND f.Rulename = %s",
        [scope, members, name],
    )


def insert_default_rules(database: Database) -> None:
    """Add the default rules that a site with the network `private` has, unless it has rules of their names."""
    database.execute(
        "INSERT IGNORE INTO firewalls (Rulename, Rulesrc, InSubnet, Service, Protocol, Action, Chain, Flags, Comment,"
        " Category, Catindex) SELECT d.Rulename, 'system', IF(d.EachNetwork, NULL, i.ID), d.Service, d.Protocol,"
        f" d.Action, d.Chain, d.Flags, d.Comment, c.ID, m.ID{_DEFAULTS}"
    )


def default_rules(database: Database) -> list[FirewallRule]:
    """The default rules of this site; none without the network `private`."""
    rows = database.rows(
        "SELECT d.Rulename, d.Service, d.Protocol, d.Chain, d.Action, IF(d.EachNetwork, '', i.name), '', d.Flags,"
        f" d.Comment, 'system', c.Name, m.Name{_DEFAULTS}"
    )
    return [_rule(row) for row in rows]


def _rule(row: tuple[Any, ...]) -> FirewallRule:
    return FirewallRule(*map(str, row))
