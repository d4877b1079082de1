"""`rocks list host firewall`"""

import rocks.commands
from rocks.commands._shared.firewall import rule_cells


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

        self.beginOutput()
        for host, rules in resolved_rules(self.db, self.getHostnames(args)):
            for rule in rules:
                cells = {**rule_cells(rule, 0), "category": rule.scope}
                self.addOutput(host, [cells[name] for name in _HEADER[1:]])
        self.endOutput(header=_HEADER)


_HEADER = (
    "host",
    "rulename",
    "service",
    "protocol",
    "action",
    "chain",
    "network",
    "output-network",
    "flags",
    "comment",
    "category",
)
