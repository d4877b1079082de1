"""`rocks create package`"""

from pathlib import Path

import rocks.commands
from rocks.install.rolls.builds import build_profile_packages

KINDS = ("deb", "rpm")


class Command(rocks.commands.Command):
    """
    Build the package roll-NAME-kickstart of a roll, from the folder of its description roll-NAME.xml: its node files,
    graph files, commands and included files. A frontend on which the package is installed uses them as those of an
    enabled roll. The same sources give the same package. The time of all its files is that in roll-NAME.xml, or in the
    environment variable SOURCE_DATE_EPOCH.

    <shared command='create roll' names='description'/>
    <param type='string' name='dir' default='.' of='folder'>
    Folder for the package.
    </param>
    <param type='string' name='kind' default='deb' values='deb,rpm'>
    deb, rpm, or "deb rpm" for both.
    </param>

    <example cmd='create package roll-hello.xml'>
    Build roll-hello-kickstart_1.0-1_all.deb.
    </example>
    <example cmd='create package roll-hello.xml dir=/root/packages'>
    Into another folder.
    </example>

    <related>create roll</related>
    <related>create new roll</related>
    """

    NoDryRun = "it works on rolls and distributions of this machine, and changes no host"
    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Build the packages, and print their paths."""
        if len(args) != 1:
            self.abort("must supply one roll-NAME.xml; rocks create new roll makes one")
        kinds = dict.fromkeys(self.fillText("kind", "deb").replace(",", " ").split())
        if not kinds or not set(kinds) <= set(KINDS):
            self.abort("kind must be deb, rpm, or both of them")
        for path in build_profile_packages(Path(args[0]), Path(self.fillText("dir", ".")), list(kinds)):
            self.addLine(str(path))
