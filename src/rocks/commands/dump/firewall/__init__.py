"""`rocks dump firewall`"""

import rocks.commands.dump
from rocks.commands._shared.firewall import rule_cells
from rocks.network.firewall.records import default_rules, read_rules
from rocks.network.firewall.rules import FirewallRule


class Command(rocks.commands.dump.command):
    """
    Print the commands that recreate the firewall rules. Default rules come with the network private: of them only
    changes are printed.

    <example cmd='dump firewall'>
    Print one shell command per line.
    </example>

    <related>add firewall</related>
    <related>list firewall</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a command for each rule that is not a default one, and for each default one that is not there."""
        rules = {_key(rule): rule for rule in read_rules(self.db)}
        defaults = {_key(rule): rule for rule in default_rules(self.db)}
        for key, rule in defaults.items():
            if rules.get(key) != rule:
                self.dump("remove", "firewall", f"{rule.scope}={rule.member}", f"rulename={rule.name}")
        for key, rule in rules.items():
            if defaults.get(key) != rule:
                self.dump("add", "firewall", *parameters_of(rule))


def _key(rule: FirewallRule) -> tuple[str, str, str]:
    return rule.scope, rule.member.lower(), rule.name.lower()


def parameters_of(rule: FirewallRule) -> list[str]:
    """The parameters of `add firewall` that make the rule."""
    given = {
        rule.scope: rule.member,
        **rule_cells(rule),
        "rulesrc": "" if rule.source == "custom" else rule.source,
    }
    return [f"{name}={value}" for name, value in given.items() if value]
