"""`rocks sync config`"""

import rocks.commands
from rocks.commands._shared.synced_files import show_synced
from rocks.install.boot.service import how_to_begin, sync_config
from rocks.inventory.attributes.records import global_attributes
from rocks.inventory.host_records import find_local_host
from rocks.network.dns.service import sync_names


class Command(rocks.commands.Command):
    """
    Write the files of the frontend's services anew from the database: the names of all hosts, as rocks sync dns does,
    and those of the boot service, with the installer of the distribution; one that the distribution no longer has is
    removed. Plugins of other rolls write theirs. Only what has changed is written, and only its service reads it again.
    Run it after changes of interfaces, networks, and the attributes packaging, install_kernel_arguments and
    Kickstart_…, and after rocks create distro; rocks set host boot does what it needs itself.

    <shared names='dry-run'/>

    <example cmd='sync config'>
    After a host got another MAC address.
    </example>
    <example cmd='sync config dry-run=yes'>
    Print what would be written, and write nothing.
    </example>

    <related>sync dns</related>
    <related>start service boot</related>
    <related>report host dhcpd</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Run the plugins, then write the names and the boot service's files."""
        self.runPlugins()
        show_synced(self, sync_names(self.db))
        synced = sync_config(self.db, self.notify)
        if synced is None and global_attributes(self.db).get("site_demo") == "yes":
            self.notify("a demo has no boot service, and needs none")
        elif synced is None:
            begin = how_to_begin(find_local_host(self.db) or "FRONTEND")
            self.notify(f"this machine has no boot service; to begin one: {begin}")
        elif synced.needs_restart:
            self.notify("the settings of the network have changed: systemctl restart rocks-boot")
