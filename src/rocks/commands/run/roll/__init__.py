"""`rocks run roll`"""

import rocks.commands
from rocks.install.rolls.rolls import roll_script, run_here


class Command(rocks.commands.Command):
    """
    Print the script that installs the packages of enabled rolls on a running host and runs their sections: those nodes
    of the host that are of these rolls. The script changes only what differs.

    <arg type='string' name='roll' repeat='1'>
    Rolls that are enabled; % is a wildcard.
    </arg>
    <param type='bool' name='dryrun' default='yes'>
    Whether the script is only printed. With no it is run, which is for this machine only.
    </param>
    <param type='string' name='host' default='localhost'>
    The host; localhost is this machine.
    </param>

    <example cmd='run roll hello'>
    Print the script for this machine.
    </example>
    <example cmd='run roll hello host=compute-0-0'>
    Print it for another host. To run it there: rocks run roll hello host=compute-0-0 | ssh root@compute-0-0 bash
    </example>

    <related>enable roll</related>
    <related>report host profile</related>
    """

    NoDryRun = "without dryrun=no it only prints its script"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print or run the script."""
        if not args:
            self.abort("must supply at least one roll; rocks list roll lists them")
        host = self.getOneHostname([self.fillText("host", "localhost")])
        if self.fillFlag("dryrun", True):
            self.addText(roll_script(self.db, args, host))
        else:
            run_here(self.db, args, host)
