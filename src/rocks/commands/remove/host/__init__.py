"""`rocks remove host`"""

from collections.abc import Sequence

import rocks.commands
from rocks.actions.hosts import remove_hosts, remove_part
from rocks.commands._shared.host_hooks import host_hooks


class Command(rocks.commands.Command):
    """
    Remove hosts from the database, with everything that it holds of them. Other rolls take part by plugins.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='remove host compute-0-1'>
    One host.
    </example>
    <example cmd='remove host rack3'>
    All hosts of a rack.
    </example>

    <related>add host</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Call the hooks, of which the last removes the hosts themselves."""
        remove_hosts(self.db, self.getSomeHostnames(args), host_hooks(self))


class HostPart(rocks.commands.Plugin):
    """Base of the hooks that remove one thing which hosts have. Machines are gone before (`vm`)."""

    part = ""

    def requires(self) -> list[str]:
        """After the hook that stops virtual machines."""
        return ["vm"]

    def run(self, host: str) -> None:
        """Remove the part of one host."""
        self.run_all([host])

    def run_all(self, hosts: Sequence[str]) -> None:
        """Remove the part of all these hosts at once."""
        remove_part(self.db, hosts, self.part)
