"""`rocks list firewall`"""

from rocks.commands._shared.firewall import RULE_COLUMNS, FirewallCommand, rule_cells


class Command(FirewallCommand):
    """
    List the firewall rules as they are stored, of all scopes or of one. rocks list host firewall shows which of them
    count for a host.

    <arg optional='1' type='string' name='scope' default='all' values='global,os,appliance,host'>
    One scope: global, os, appliance or host.
    </arg>
    <param type='string' name='global' default='all scopes' values='global'>
    Rules of all hosts: global=global. Like os, appliance and host it must be the first parameter.
    </param>
    <param type='string' name='os' default='all scopes'>
    Rules of an operating system: os=linux.
    </param>
    <param type='string' name='appliance' default='all scopes'>
    Rules of an appliance: appliance=compute.
    </param>
    <param type='string' name='host' default='all scopes'>
    Rules of hosts, by name or any other selector: host=compute-0-0.
    </param>
    <param type='int' name='maxwidth' default='24' range='0..1000' unit='characters'>
    Characters after which a cell is cut, except the rule's name. 0: no limit. JSON is never cut.
    </param>

    <example cmd='list firewall'>
    All rules.
    </example>
    <example cmd='list firewall appliance=frontend maxwidth=0'>
    The rules of one appliance with all their flags and comments.
    </example>

    <related>list host firewall</related>
    <related>add firewall</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per rule."""
        from rocks.network.firewall.records import read_rules

        width = 0 if self.fillFlag("json") else self.fillNumber("maxwidth")
        scope, member = self.given_scope(args)
        members = self.scope_members(scope, member) if scope and member else None
        rules = read_rules(self.db, scope, members)
        rows = (("", *rule_cells(rule, width).values(), f"{rule.scope}:{rule.member}") for rule in rules)
        self.addTable(("owner", *RULE_COLUMNS, "category"), rows)
