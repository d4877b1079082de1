"""`rocks set host vm cdrom`"""

import rocks.commands
from rocks.machine.cd import read_medium, set_cdrom

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Insert a CD into a virtual machine, or eject it. The change takes effect at the next start.

    An ISO of the image library is copied to the physical host at that start, as the image of a disk. The machine boots
    the CD before its disk, unless boot=last. A machine whose boot action is install does not boot from its CD:
    rocks set host boot HOST action=os.

    <shared names='one-machine'/>
    <arg type='string' name='cdrom' optional='1' default='none' of='file'>
    The same as the parameter cdrom.
    </arg>
    <param type='string' name='image' default='none' of='image'>
    ISO of the image library (rocks list image).
    </param>
    <param type='string' name='cdrom' default='none' of='file'>
    Absolute path of an ISO or device on the physical host; none or eject takes the medium out of the drive.
    </param>
    <param type='string' name='boot' default='unchanged; first for a new machine' values='first,last'>
    first: the machine boots the CD; last: only when neither the network nor its disk boots, such as an empty disk. The
    attribute kvm_cdrom_boot stores it.
    </param>

    <example cmd='set host vm cdrom vc1 image=debian-12-netinst boot=last'>
    Install vc1 from an ISO: its empty disk does not boot, and the installed one does.
    </example>
    <example cmd='set host vm cdrom vc1 cdrom=/export/iso/install.iso'>
    Boot vc1 from an ISO that its host has.
    </example>
    <example cmd='set host vm cdrom vc1 eject'>
    Take the medium out of the drive.
    </example>

    <related>add image</related>
    <related>list host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Change the machine."""
        image, boot = self.fillTexts("image", "boot")
        hosts, path = (args, self.fillText("cdrom")) if image is not None else self.fillArgument("cdrom")
        if len(hosts) > 1:
            self.abort(f"must supply only one host, not {len(hosts)}")
        for line in set_cdrom(self.db, self.getOneHostname(hosts), read_medium(path, image), boot):
            self.notify(line)
