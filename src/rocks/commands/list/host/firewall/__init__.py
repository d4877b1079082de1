"""`rocks list host firewall`"""

import rocks.commands
from rocks.commands._shared.firewall import RULE_COLUMNS, rule_cells


class Command(rocks.commands.Command):
    """
    List the firewall rules that count for hosts, in the order in which a packet meets them. Of rules of the same name
    the one of the nearest scope counts; CATEGORY is that scope. A rule of a network on which the host has no device is
    listed, and left out of its file.

    <shared names='any-hosts'/>

    <example cmd='list host firewall compute-0-0'>
    The rules of one host.
    </example>
    <example cmd='list host firewall compute'>
    All computes.
    </example>

    <related>list firewall</related>
    <related>report host firewall</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per host and rule."""
        from rocks.network.firewall.records import resolved_rules

        columns = (*RULE_COLUMNS[:3], "action", "chain", *RULE_COLUMNS[5:])
        rows = (
            (host, *map(rule_cells(rule).__getitem__, columns), rule.scope)
            for host, rules in resolved_rules(self.db, self.getHostnames(args))
            for rule in rules
        )
        self.addTable(("host", *columns, "category"), rows)
