"""`rocks add roll`"""

from pathlib import Path

import rocks.commands
from rocks.install.rolls.folders import mounted_cds
from rocks.install.rolls.rolls import add_rolls


class Command(rocks.commands.Command):
    """
    Add rolls to the distribution: copy them from their ISOs to the folder rolls of the distribution. They are not in
    use before rocks enable roll. An ISO is read without being mounted, and every file of it is compared with the
    manifest of checksums before anything is added. A roll that is there with the same content stays as it is. Where the
    folder /etc/rocks/keys has public keys, only rolls that one of them signed are added.

    <arg optional='1' type='string' name='iso' repeat='1' default='those in the mounted CD drives' of='file'>
    ISOs. A folder NAME/VERSION/ARCH below the folder rolls of the distribution is added as it is there.
    </arg>
    <param type='bool' name='clean' default='no'>
    Whether a roll of the same version with other content is replaced.
    </param>

    <param type='bool' name='unsigned' default='no'>
    Whether a roll without a signature is added although /etc/rocks/keys has keys.
    </param>

    <example cmd='add roll hello-1.0-1.noarch.disk1.iso'>
    Add the roll of an ISO.
    </example>
    <example cmd='add roll'>
    Add the rolls of the mounted CDs.
    </example>

    <related>enable roll</related>
    <related>list roll</related>
    <related>create roll</related>
    """

    NoDryRun = "it works on rolls and distributions of this machine, and changes no host"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the rolls."""
        if "" in args:
            self.abort("the path of an ISO is empty: give the ISO of a roll")
        add_rolls(
            self.db,
            [Path(path) for path in args] or mounted_cds(),
            self.fillFlag("clean"),
            self.fillFlag("unsigned"),
            self.notify,
        )
