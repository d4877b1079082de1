"""`rocks set host name`"""

import rocks.commands
from rocks.inventory.hosts import rename_host


class Command(rocks.commands.Command):
    """
    Rename a host. Its interfaces that have its name are renamed too; attributes and other data remain, and so do
    the disk files of a virtual machine, which the command lists.

    <shared names='one-host'/>
    <arg type='string' name='name'>
    New name, without a domain. Alternative form: name=NAME.
    </arg>
    <shared names='dry-run'/>

    <example cmd='set host name compute-0-0 node1'>
    Rename compute-0-0 to node1.
    </example>
    <example cmd='set host name vm-container-0-0 hypervisor1'>
    A VM container.
    </example>

    <related>list host</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Rename the host and report what keeps its name."""
        hosts, (name,) = self.requireArguments("name")
        for disk in rename_host(self.db, self.getOneHostname(hosts), name):
            self.notify(f"the disk file {disk} keeps its name; the virtual machine uses it as before")
