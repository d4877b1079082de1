"""`rocks remove image`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Remove an image from the library, or an import that was interrupted. Disks that were made from it stay. A copy on a
    host (list host image shows it, remove host image removes it) stays until the host gets a copy of another image,
    and while a machine has it in its drive. NASes that store it remove it,
    unless disks are clones of it; those are named. A repeated command removes what a NAS that did not answer still
    has. An image that virtual machines are to have their disks from (attribute vm_image), or that is in the drive of
    one, is not removed, unless check image has found it damaged: then add it again under its name.

    <shared names='image'/>

    <example cmd='remove image debian-11'>
    Remove an image.
    </example>
    <example cmd='remove image debian-12'>
    Another image.
    </example>
    <related>list image</related>
    <related>remove host image</related>
    """

    NoDryRun = "it removes the image from the library of this machine, and what no disk needs from NASes"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the image."""
        from rocks.library.images import remove_image
        from rocks.storage.volumes.bases import remove_bases, remove_left_bases

        if len(args) != 1:
            self.abort("must supply the name of one image")
        lines = remove_left_bases(self.db, args[0])
        if lines is None:
            digest = remove_image(self.db, args[0], self.notify)
            lines = remove_bases(self.db, digest) if digest else []
        for line in lines:
            self.notify(line)
