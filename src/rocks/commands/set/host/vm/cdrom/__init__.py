"""`rocks set host vm cdrom`"""

import rocks.commands
from rocks.actions.vms import set_cdrom

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Insert a CD image into a virtual machine. The change takes effect at the next start.

    <arg type='string' name='host'>
    One virtual machine.
    </arg>
    <param type='string' name='cdrom' optional='0'>
    Absolute path of the image or device on the physical host; none ejects it.
    </param>

    <example cmd='set host vm cdrom vc1 cdrom=/export/iso/install.iso'>
    Boot vc1 from a CD image.
    </example>
    <example cmd='set host vm cdrom vc1 cdrom=none'>
    Take the medium out of the drive.
    </example>

    <related>list host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Change the machine."""
        hosts, path = self.fillArgument("cdrom")
        if len(hosts) != 1:
            self.abort("must supply only one host")
        if not path:
            self.abort("you need to specify the path to the cdrom")
        set_cdrom(self.db, self.getOneHostname(hosts), path)
