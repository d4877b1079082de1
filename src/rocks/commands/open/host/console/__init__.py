"""`rocks open host console`"""

import shlex

import rocks.commands
from rocks.core.names import printable
from rocks.machine.consoles import open_serial_console, open_vnc_console, stream_console

KINDS = ("serial", "vnc")


class Command(rocks.commands.Command):
    """
    Open the console of a running virtual machine: its serial line in this terminal, or its screen. Only root reaches
    consoles, and owners of virtual clusters those of their machines by their key: an ordinary user gets the command for
    sudo.

    Press Ctrl-] to leave the serial line. A VNC viewer displays the screen through a unix socket that only root
    reaches, which leads to the host over SSH; without a viewer or a display, the command prints its path and waits.

    <shared names='one-machine'/>
    <param type='string' name='type' default='serial' values='serial,vnc'>
    serial or vnc.
    </param>
    <param type='string' name='vncflags' default='none'>
    Additional arguments for the VNC viewer.
    </param>
    <param type='string' name='key' default="none: the site's own way" of='file'>
    File of the private key of the owner of a virtual cluster, for a request from inside the cluster: the site's
    frontend, which is the attribute airboss of localhost, connects this terminal or viewer to the machine.
    </param>

    <param type='bool' name='stream' default='no'>
    yes: for a program. Standard input and output are the bytes of the console, and nothing else: RFB for the screen.
    The command ends when one of them closes, or the machine stops.
    </param>

    <example cmd='open host console vm-vc1-0'>
    The serial console.
    </example>
    <example cmd='open host console vm-vc1-0 type=vnc'>
    The screen.
    </example>
    <example cmd='open host console compute-0-0 key=/root/airboss.key'>
    In a virtual cluster: the serial console of one of its machines.
    </example>

    <related>start host vm</related>
    """

    NoDryRun = "it is interactive, and changes nothing itself"
    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Open the console."""
        kind, flags = self.fillText("type", "serial"), self.fillText("vncflags", "")
        if kind not in KINDS:
            self.abort(f'type must be one of {", ".join(KINDS)}, not "{printable(kind)}"')
        key = self.fillText("key")
        if key:
            self._ask_the_site(args, kind, key)
            return
        name = self.getOneHostname(args)
        if self.fillFlag("stream"):
            stream_console(self.db, name, kind == "serial")
            return
        if kind == "serial":
            self.exit_status = open_serial_console(self.db, name, self.notify)
            return
        try:
            arguments = shlex.split(flags)
        except ValueError as error:
            self.abort(f'vncflags "{printable(flags)}" cannot be split into arguments: {error}')
        self.exit_status = open_vnc_console(self.db, name, arguments, self.notify)

    def _ask_the_site(self, hosts: list[str], kind: str, key: str) -> None:
        from rocks.site.airboss.owner_commands import open_owner_console

        if len(hosts) != 1:
            self.abort("must supply exactly one host")
        open_owner_console(self.db, hosts[0], key, kind == "serial", self.notify)
