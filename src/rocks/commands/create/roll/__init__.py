"""`rocks create roll`"""

from pathlib import Path

import rocks.commands
from rocks.install.rolls.builds import build_roll


class Command(rocks.commands.Command):
    """
    Build the ISO of a roll, from the folder of its description roll-NAME.xml: the node files in nodes, the graph files
    in graphs, the commands in commands, the files in include, the packages in packages, RPMS, SRPMS and dist, and the
    installer of hosts in installer. The same sources give the same ISO. The time of all its files is that in
    roll-NAME.xml, or in the environment variable SOURCE_DATE_EPOCH. A roll is one image, whatever its size.

    <arg type='string' name='description' of='file'>
    The file roll-NAME.xml.
    </arg>
    <param type='string' name='dir' default='.' of='folder'>
    Folder for the ISO.
    </param>
    <param type='string' name='key' default='none: the roll is not signed'>
    Secret key with which gpg signs the roll, as gpg names it: its fingerprint, or a user.
    </param>

    <example cmd='create roll roll-hello.xml'>
    Build hello-1.0-1.noarch.disk1.iso.
    </example>
    <example cmd='create roll roll-hello.xml dir=/root/isos key=rolls@example.org'>
    A signed ISO, in another folder.
    </example>

    <related>create new roll</related>
    <related>add roll</related>
    """

    NoDryRun = "it works on rolls and distributions of this machine, and changes no host"
    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Build the ISO, and print its path."""
        if len(args) != 1:
            self.abort("must supply one roll-NAME.xml; rocks create new roll makes one")
        iso = build_roll(Path(args[0]), Path(self.fillText("dir", ".")), self.fillText("key", ""))
        self.addLine(str(iso))
