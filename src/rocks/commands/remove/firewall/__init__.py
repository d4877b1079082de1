"""`rocks remove firewall`"""

from rocks.commands._shared.firewall import FirewallCommand
from rocks.core.errors import UserError


class Command(FirewallCommand):
    """
    Remove a firewall rule of one scope; rules of the same name in other scopes remain. The command fails if there is
    no such rule. Hosts have it in force until rocks sync host firewall, or their profile.

    <shared command='add firewall' names='scope,global,os,appliance,host'/>
    <param optional='0' type='string' name='rulename' of='rule'>
    Name of the rule.
    </param>

    <example cmd='remove firewall rulename=A30-ALL-PRIVATE'>
    Hosts no longer accept everything from the network private.
    </example>
    <example cmd='remove firewall appliance=login rulename=A50-WEB'>
    A rule of one appliance.
    </example>

    <related>list firewall</related>
    <related>add firewall</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the rule from all members of the scope at once."""
        from rocks.network.firewall.changes import remove_rule

        name = self.fillText("rulename")
        if not name:
            raise UserError("must supply rulename")
        scope, members = self.named_members(args)
        remove_rule(self.db, name, scope, members)
