"""`rocks remove host alias`"""

import rocks.commands
from rocks.network.dns.changes import check_no_alias, remove_aliases


class Command(rocks.commands.Command):
    """
    Remove aliases of a host.

    <arg optional='1' type='string' name='host' default='all hosts; required unless alias is given'>
    The host, by name or any other selector.
    </arg>
    <arg optional='1' type='string' name='alias' default='all aliases of the host' of='alias'>
    Alias to remove. A single argument is a host. Alternative form: alias=ALIAS.
    </arg>
    <shared names='dry-run'/>

    <example cmd='remove host alias compute-0-0 c00'>
    Remove one alias.
    </example>
    <example cmd='remove host alias alias=c00'>
    Remove the same alias, whichever host has it.
    </example>

    <related>add host alias</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the aliases."""
        alias = params.get("alias") or None
        hosts = args
        if alias is None and len(args) > 1:
            *hosts, alias = args
        if not hosts and alias is None:
            self.abort("must supply a host or an alias")
        if alias is None and len(hosts) == 1:
            check_no_alias(self.db, hosts[0])
        remove_aliases(self.db, self.getHostnames(hosts), alias)
