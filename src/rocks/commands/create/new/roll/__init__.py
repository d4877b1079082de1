"""`rocks create new roll`"""

import shutil
from pathlib import Path

import rocks.commands
from rocks.commands._framework.shell_quoting import launcher
from rocks.install.rolls.builds import new_roll


class Command(rocks.commands.Command):
    """
    Create the sources of a new roll in a folder of its name: a description, a Makefile, a node and an edge that leads
    to it, a command, a hook of remove host, and a test. They build as they are, with make roll or rocks create roll.

    <arg type='string' name='roll'>
    Name of the roll: small letters, digits and _ + -.
    </arg>
    <param type='string' name='version' default='1.0'>
    Version.
    </param>
    <param type='string' name='arch' default='noarch'>
    Architecture; noarch is for a roll whose packages run on every machine.
    </param>
    <param type='string' name='dir' default='.' of='folder'>
    Folder in which that of the roll is made.
    </param>

    <example cmd='create new roll hello'>
    Create the folder hello.
    </example>
    <example cmd='create new roll hello version=1.0 dir=/root/rolls'>
    A version and a place of your own.
    </example>

    <related>create roll</related>
    """

    NoDryRun = "it works on rolls and distributions of this machine, and changes no host"
    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Create the sources, and print the next steps."""
        if len(args) != 1:
            self.abort("must supply one name for the roll")
        version, arch = self.fillText("version", "1.0"), self.fillText("arch", "noarch")
        program = "rocks" if shutil.which("rocks") else launcher()
        for line in new_roll(args[0], version, arch, Path(self.fillText("dir", ".")), program):
            self.addLine(line)
