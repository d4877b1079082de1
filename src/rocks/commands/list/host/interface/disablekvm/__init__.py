"""`rocks list host interface disablekvm`"""

import rocks.commands
from rocks.network.interfaces import list_disabled

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    List the interfaces of hosts, and whether they are disabled for virtual machines.

    <shared names='any-hosts'/>

    <example cmd='list host interface disablekvm vm-container-0-0'>
    One host.
    </example>
    <example cmd='list host interface disablekvm'>
    All hosts.
    </example>

    <related>set host interface disablekvm</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per interface with a device."""
        found = list_disabled(self.db, self.getHostnames(args))
        rows = ((host, device, bool(disabled)) for host, device, disabled in found)
        self.addTable(("host", "interface", "disablekvm"), rows)
