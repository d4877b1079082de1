"""`rocks report host vm console`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Print the last lines that a virtual machine has written to its serial console, also when it does not run any more.

    The host keeps at least the last 2 MB of each machine's console, under its UUID, until the machine is started there
    again. At most 1 MB is printed, without the control sequences of a terminal. A machine that has moved has its
    earlier lines on the earlier host.

    <shared names='one-machine'/>
    <param type='int' name='lines' default='100' range='1..10000' unit='lines'>
    The number of lines, at most 10000.
    </param>

    <example cmd='report host vm console vc1'>
    Why did vc1 not boot?
    </example>
    <example cmd='report host vm console vm-vc1-0 lines=1000'>
    More of it.
    </example>

    <related>open host console</related>
    <related>report host vm screen</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the lines."""
        from rocks.machine.consoles import (
            plain_line,
            read_console_log,  # hosts are reached by heavy libraries
        )

        name = self.getOneHostname(args)
        lines = read_console_log(self.db, name, self.fillNumber("lines"))
        for line in lines:
            self.addLine(plain_line(line))
        if not lines:
            self.notify(
                f"the host of {name} has nothing of its serial console: it never ran there, or its guest has written "
                "nothing (a kernel does with console=ttyS0), or it was started before this version; its screen: rocks "
                f"report host vm screen {name}"
            )
