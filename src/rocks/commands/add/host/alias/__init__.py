"""`rocks add host alias`"""

import rocks.commands
from rocks.network.dns.changes import add_alias


class Command(rocks.commands.Command):
    """
    Add an alias to a host.

    <shared names='one-host'/>
    <arg type='string' name='name'>
    The alias. No host may have this name or alias. Alternative form: name=NAME.
    </arg>
    <shared names='dry-run'/>

    <example cmd='add host alias compute-0-0 c00'>
    Let c00 refer to compute-0-0.
    </example>
    <example cmd='add host alias vm-container-0-0 hypervisor'>
    Another name of a VM container.
    </example>

    <related>list host alias</related>
    <related>remove host alias</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the alias."""
        hosts, (alias,) = self.requireArguments("name")
        add_alias(self.db, self.getOneHostname(hosts), alias)
