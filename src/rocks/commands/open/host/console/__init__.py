"""`rocks open host console`"""

import shlex

import rocks.commands
from rocks.actions.consoles import open_serial_console, open_vnc_console

KINDS = ("serial", "vnc")


class Command(rocks.commands.Command):
    """
    Open the console of a running virtual machine: its serial line on this terminal, or its screen.

    The serial line is left with Ctrl-]. The screen is shown by a VNC viewer, through an SSH tunnel where the machine
    runs elsewhere; without a viewer or a display its address is printed.

    <arg type='string' name='host'>
    One virtual machine.
    </arg>
    <param type='string' name='type'>
    serial (the default) or vnc.
    </param>
    <param type='string' name='vncflags'>
    More arguments for the VNC viewer.
    </param>
    <param type='string' name='key'>
    For owners of a virtual cluster, who reach it through the remote control service.
    </param>

    <example cmd='open host console vm-vc1-0'>
    The serial console.
    </example>
    <example cmd='open host console vm-vc1-0 type=vnc'>
    The screen.
    </example>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Open the console."""
        kind, flags, key = self.fillParams([("type", "serial"), ("vncflags", ""), ("key", None)])
        if kind not in KINDS:
            self.abort(f'type must be one of {", ".join(KINDS)}, not "{kind}"')
        if key:
            self.abort(
                "key= is for the remote control service of virtual clusters, which this machine does not have; "
                "on the site's frontend leave it out"
            )
        name = self.getOneHostname(args)
        if kind == "serial":
            self.notify(f"the serial console of {name}; leave it with Ctrl-]")
            self.exit_status = open_serial_console(self.db, name)
            return
        try:
            words = shlex.split(flags)
        except ValueError as error:
            self.abort(f'vncflags "{flags}" cannot be parted into words: {error}')
        self.exit_status = open_vnc_console(self.db, name, words, self.notify)
