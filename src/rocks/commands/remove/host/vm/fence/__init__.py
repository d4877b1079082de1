"""`rocks remove host vm fence`"""

import rocks.commands
from rocks.leases.fences import remove_fences

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Remove the fences of hosts that were removed from the database and will not return.

    A fence makes a silent host destroy its old domain of a machine as soon as it answers (rocks list host vm
    lease). It ends when the host has done so. The fences of a removed host stay, so that they work when the host
    is added again; this command ends them. For a host that is in the database it is an error.

    <arg type='string' name='host' repeat='1' of='fence'>
    Names of removed hosts, as rocks list host vm lease prints them.
    </arg>
    <param type='string' name='vm' default='the fences of all machines' of='machine'>
    Name of a virtual machine.
    </param>

    <example cmd='remove host vm fence vm-container-0-1'>
    vm-container-0-1 was scrapped.
    </example>
    <example cmd='remove host vm fence vm-container-0-1 vm=vm-vc1-0'>
    The fence of one machine only.
    </example>
    <related>list host vm lease</related>
    <related>remove host</related>
    <related>sync vm lease</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove them, and print their number."""
        if not args:
            self.abort("must supply at least one host")
        for host, names in remove_fences(self.db, args, self.fillText("vm") or None).items():
            self.addLine(f"{len(names)} fence{'s' if len(names) > 1 else ''} of {host} removed")
