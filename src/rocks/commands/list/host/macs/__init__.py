"""`rocks list host macs`"""

import rocks.commands


class Command(rocks.commands.Command):
    """
    In a virtual cluster: list the MAC addresses of its machines, as the site's frontend knows them. The site's
    frontend is the attribute airboss of localhost.

    <arg type='string' name='host'>
    Name of the cluster's frontend at the site.
    </arg>
    <param type='string' name='key' default='the line key in /etc/rocks/airboss.conf' of='file'>
    File of the owner's private key.
    </param>
    <param type='bool' name='status' default='no'>
    yes: include the states of the machines.
    </param>

    <example cmd='list host macs frontend-0-0-0 key=/root/airboss.key status=yes'>
    All machines of the cluster with their states.
    </example>
    <example cmd='list host macs frontend-0-0-0'>
    With the key that /etc/rocks/airboss.conf names.
    </example>

    <related>create keys</related>
    <related>set host power</related>
    <related>open host console</related>
    """

    MustBeRoot = 0
    AdviceForTooMany = "must supply only one host name"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row for each machine."""
        from rocks.site.airboss.owner_commands import list_macs

        if not args:
            self.abort("must supply one host name")
        with_status = self.fillFlag("status")
        self.beginOutput()
        for mac, state, names in list_macs(self.db, args[0], self.fillText("key"), with_status):
            self.addOutput("", (mac, *([state] if with_status else []), names))
        self.endOutput(
            header=("", "macs in cluster", *(["state"] if with_status else []), "host names"), trimOwner=True
        )
