"""`rocks remove host alias`"""

import rocks.commands
from rocks.actions.hosts import remove_aliases


class Command(rocks.commands.Command):
    """
    Take other names away from a host.

    <arg optional='1' type='string' name='host'>
    The host, by name or any other selector.
    </arg>
    <arg optional='1' type='string' name='alias'>
    The name to take away; all of the host's when none is given. A single word is a host. May be given as alias=…
    </arg>

    <example cmd='remove host alias compute-0-0 c00'>
    One name.
    </example>
    <example cmd='remove host alias alias=c00'>
    The same, whoever has it.
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
        remove_aliases(self.db, self.getHostnames(hosts), alias)
