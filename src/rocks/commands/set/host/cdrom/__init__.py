"""`rocks set host cdrom`"""

import rocks.commands


class Command(rocks.commands.Command):
    """
    In a virtual cluster: insert a CD into one of its machines, or eject it. The site's frontend does it, which is the
    attribute airboss of localhost. The change takes effect at the next start.

    The CD is an ISO of the site's image library, one of those that the site's attribute airboss_images gives the
    cluster. Operators of the site use rocks set host vm cdrom.

    <arg type='string' name='host'>
    One machine of the cluster, by name or MAC address.
    </arg>
    <param type='string' name='image' default='none given: cdrom'>
    Name of the ISO at the site; none or eject takes it out of the drive.
    </param>
    <param type='string' name='cdrom' default='none'>
    none or eject, as in Rocks. A path is refused.
    </param>
    <param type='string' name='boot' default='unchanged; first for a new machine' values='first,last'>
    first: the machine boots the CD; last: only when neither the network nor its disk boots, such as an empty disk.
    </param>
    <param type='string' name='key' optional='0' of='file'>
    File of the private key of the cluster's owner.
    </param>
    <shared names='dry-run'/>

    <example cmd='set host cdrom compute-0-0 image=debian-netinst boot=last key=/root/airboss.key'>
    Install a machine of the cluster from an ISO: its empty disk does not boot, and the installed one does.
    </example>
    <example cmd='set host cdrom compute-0-0 image=none key=/root/airboss.key'>
    Take the CD out of the drive.
    </example>

    <related>set host power</related>
    <related>list host macs</related>
    <related>set host vm cdrom</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Ask the site's frontend."""
        from rocks.site.airboss.owner_commands import insert_image

        image, path, boot, key = self.fillTexts("image", "cdrom", "boot", "key")
        if len(args) != 1:
            self.abort(f"must supply one host, not {len(args)}")
        if not key:
            self.abort("must supply a key, key=FILE; operators of the site use rocks set host vm cdrom")
        self.exit_status = insert_image(self.db, args[0], image, path, boot, key, self.notify)
