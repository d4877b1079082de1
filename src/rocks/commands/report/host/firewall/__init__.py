"""`rocks report host firewall`"""

import rocks.commands
from rocks.network.firewall.nft import FIREWALL_FILE, FIREWALL_PERMISSIONS


class Command(rocks.commands.Command):
    """
    Report the firewall rules of hosts as the file for nft that rocks sync host firewall brings to them, whether their
    attribute firewall is true or not.

    <arg optional='1' type='string' name='host' repeat='1' default='all managed hosts'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='report host firewall compute-0-0'>
    The rules of one host. As a script: rocks report host firewall compute-0-0 | rocks report script
    </example>
    <example cmd='report host firewall compute'>
    All computes.
    </example>

    <related>list host firewall</related>
    <related>sync host firewall</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one file per host."""
        from rocks.network.firewall.changes import host_firewalls

        self.beginOutput()
        for one in host_firewalls(self.db, self.getHostnames(args, managed_only=True)):
            text = one.text.rstrip("\n").replace("]]>", "]]]]><![CDATA[>")
            file = (
                f'<file name="{FIREWALL_FILE}" perms="{FIREWALL_PERMISSIONS}"><![CDATA[\n{text}\n]]></file>'
            )
            for line in file.splitlines():
                self.addOutput(one.host, line)
        self.endOutput(padChar="")
