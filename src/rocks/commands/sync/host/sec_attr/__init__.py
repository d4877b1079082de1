"""`rocks sync host sec_attr`"""

import rocks.commands
from rocks.commands._shared.synced_files import other_hosts, show_hosts
from rocks.trust.secrets import sync_secrets


class Command(rocks.commands.Command):
    """
    Have the secret attributes of hosts in their folder /etc/rocks/sec_attr, a file for each, which only root can read;
    files of attributes that were removed are removed. A host gets its own and the global ones, of which its own
    count. Attributes that only the frontend uses, such as vm_fence_command, are not sent. The way is SSH. Virtual
    machines are left out, since their root is their owner.

    <shared names='any-physical-hosts,dry-run'/>

    <example cmd='sync host sec_attr compute-0-0'>
    One host.
    </example>
    <example cmd='sync host sec_attr compute'>
    All computes.
    </example>

    <related>set host sec_attr</related>
    <related>list host sec_attr</related>
    <related>run host sec_attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Write the files, and print each host that changed."""
        hosts = other_hosts(self, args)
        show_hosts(self, sync_secrets(self.db, hosts), "secret attributes written")
