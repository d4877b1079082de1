"""Families of firewall commands: which members of which scope, given as SCOPE=MEMBER; listed rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._framework.arguments import FIRST_PARAMETER
from rocks.commands._framework.base import Command
from rocks.commands._shared.nouns.scopes import ScopeCommand, members_of
from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.network.firewall.rules import ALL, SCOPES, FirewallRule, read_rule

if TYPE_CHECKING:
    from collections.abc import Sequence


class FirewallCommand(Command):
    """Base of the commands on firewall rules."""

    AdviceForTooMany = "a scope and its member are one word: host=compute-0-0"

    def given_scope(self, args: Sequence[str]) -> tuple[str | None, str]:
        """(scope, member or '') from `global`, `SCOPE` or `SCOPE=MEMBER`; (None, '') when none is given."""
        named = [scope for scope in SCOPES if scope in self._parameters]
        scopes = [text.lower() for text in args]
        if len(named) + len(scopes) > 1:
            raise UserError("a rule has one scope: global, os=, appliance= or host=")
        if scopes:
            if scopes[0] not in SCOPES:
                raise UserError(
                    f'"{printable(args[0])}" is not a scope: it must be global, os=OS, appliance=NAME or host=NAME'
                )
            return scopes[0], ""
        if not named:
            return None, ""
        if self._parameters.get(FIRST_PARAMETER, "").partition("=")[0] != named[0]:
            raise UserError(f"{named[0]}= must be the first parameter: the scope comes before the rule")
        return named[0], self._parameters[named[0]]

    def scope_members(self, scope: str, name: str) -> list[str]:
        """The members of the scope that match; those of `global` are `global` alone."""
        if scope == "global":
            if name.lower() != "global":
                raise UserError("the scope global has no other member than global")
            return ["global"]
        return members_of(self, scope, [name])

    def named_members(self, args: Sequence[str]) -> tuple[str, list[str]]:
        """(scope, its members) for a change: global without a scope; UserError for a scope without a member."""
        scope, member = self.given_scope(args)
        if scope is None or (scope == "global" and not member):
            return "global", ["global"]
        if not member:
            raise UserError(f"the scope {scope} needs a member: {scope}=NAME, the first parameter")
        return scope, self.scope_members(scope, member)


class LegacyFirewallAddition(ScopeCommand, FirewallCommand):
    """`add host firewall` and its like: the members are the arguments."""

    required = ("os", "appliance", "host")
    texts = {
        "parameter": SCOPES,
        "members": ("", "operating systems", "appliances", "hosts"),
        "second": (
            "",
            "linux rulename=A52-PING service=all protocol=icmp chain=INPUT action=ACCEPT network=all",
            "compute login rulename=A52-WEB service=443 protocol=tcp chain=INPUT action=REJECT network=public",
            "compute rulename=A52-SSH service=22 protocol=tcp chain=INPUT action=DROP network=public "
            'comment="no SSH from outside"',
        ),
        "seconds": (
            "",
            "Answer pings from everywhere.",
            "Reject HTTPS from the network public on two appliances.",
            "All computes drop SSH from the network public.",
        ),
    }
    help = """
    Add a firewall rule for {members}: the form of older rolls for rocks add firewall {parameter}=NAME.
    The command fails, and adds nothing, if one of them has a rule of this name.

    {arguments}
    <shared command='add firewall' names='rulename,service,protocol,chain,action,network'/>
    <shared command='add firewall' names='output-network,flags,comment,rulesrc'/>

    <example cmd='add {scope}firewall{member} rulename=A51-NTP service=123 protocol=udp chain=INPUT action=ACCEPT network=private'>
    Accept time requests from the network private.
    </example>
    <example cmd='add {scope}firewall {second}'>{seconds}</example>

    <related>add firewall</related>
    <related>list firewall</related>
    """  # noqa: E501 - an example

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the rule to all members at once."""
        from rocks.network.firewall.changes import add_rule

        members = self.members(args)
        add_rule(self.db, read_rule(self._parameters, self.scope), members)


RULE_COLUMNS = (
    "rulename",
    "service",
    "protocol",
    "chain",
    "action",
    "network",
    "output-network",
    "flags",
    "comment",
)
"""The columns of a listing of rules: the first fields of a rule, in their order."""


def rule_cells(rule: FirewallRule, width: int = 0) -> dict[str, str]:
    """Column → cell of a listing; a cell that is longer than the width is cut, except that of the name. 0: no limit."""
    name, *texts = rule._replace(network=rule.network or ALL)[: len(RULE_COLUMNS)]
    if width:
        texts = [text if len(text) <= width else text[: width - 1] + "…" for text in texts]
    return dict(zip(RULE_COLUMNS, (name, *texts), strict=True))
