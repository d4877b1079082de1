"""`rocks sync dns`"""

import rocks.commands
from rocks.commands._shared.synced_files import show_hosts, show_synced
from rocks.network.dns.service import sync_names, sync_names_of_hosts


class Command(rocks.commands.Command):
    """
    Write the names of all hosts from the database: our part of /etc/hosts on this machine, and, where rocks start
    service dns was started once, the zones of the name service. Only what has changed is written, and named reads it
    without a new start. Commands that add, rename and remove hosts and aliases do so themselves; run it after changes
    of interfaces and networks. With hosts, the command writes the same lines into their /etc/hosts, over SSH; they need
    them only where no name server answers.

    <arg optional='1' type='string' name='host' repeat='1' default='none'>
    Hosts whose /etc/hosts gets the names as well, by name or any other selector.
    </arg>
    <shared names='dry-run'/>

    <example cmd='sync dns'>
    After a host got another address.
    </example>

    <example cmd='sync dns compute'>
    Compute nodes of a site without a name service get the names, too.
    </example>

    <related>sync config</related>
    <related>report host</related>
    <related>report zones</related>
    <related>start service dns</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Write the names, and print what has changed."""
        hosts = self.getHostnames(args) if args else []
        synced = sync_names(self.db)
        show_synced(self, synced)
        if not synced.serves:
            self.notify("this machine has no name service; to begin one: systemctl enable --now rocks-dns")
        if hosts:
            show_hosts(self, sync_names_of_hosts(self.db, hosts), "names written")
