"""`rocks list image`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    List the images of the library: the format in which they are stored (raw or iso), the bytes of the disk, the bytes
    that are used of it, and the digest of the content, by which hosts recognise their copies. The format unfinished is
    that of an import which runs or was interrupted, with the bytes that it takes: add image continues it, remove image
    removes it.

    With bases=yes it lists how NASes have the images: the volume of which the disks of machines are clones, the bytes
    that it takes, the number of clones, and its state: complete, unfinished, or removed when the library has the image
    no more.

    <arg optional='1' type='string' name='name' repeat='1' default='all' of='image'>
    Images.
    </arg>

    <param type='bool' name='bases' default='no'>
    List the volumes on NASes, with a row for each pool that has an image.
    </param>

    <example cmd='list image'>
    All images.
    </example>
    <example cmd='list image debian-12'>
    One image.
    </example>
    <example cmd='list image bases=yes'>
    Where images are stored on NASes, and how many disks are clones of them.
    </example>
    <related>add image</related>
    <related>remove host storageimg</related>
    <related>list host image</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per image."""
        from rocks.library.images import list_library
        from rocks.library.imports import find_leftovers
        from rocks.library.library_folder import find_library_image, library_folder

        if self.fillFlag("bases"):
            self._list_bases(args)
            return
        images = [find_library_image(self.db, name) for name in args] if args else list_library(self.db)
        self.beginOutput()
        for image in images:
            row = (image.format, image.size_bytes, image.used_bytes, image.digest, image.comment or None)
            self.addOutput(image.name, row)
        for leftover in [] if args else find_leftovers(library_folder(self.db)):
            self.addOutput(leftover.name, ("unfinished", None, leftover.used_bytes, None, None))
        self.endOutput(header=("name", "format", "size", "used", "digest", "comment"), trimOwner=False)

    def _list_bases(self, names: list[str]) -> None:
        """Print one row for each base; a NAS that does not answer gets a note."""
        from rocks.library.images import list_library
        from rocks.storage.volumes.bases import list_bases

        chosen = {name.lower() for name in names}
        known = {image.digest for image in list_library(self.db)}
        rows, notes = list_bases(self.db)
        self.beginOutput()
        for nas, base in rows:
            if not chosen or base.image.lower() in chosen:
                state = (
                    "removed" if base.digest not in known else "complete" if base.complete else "unfinished"
                )
                self.addOutput(base.image, (nas, base.zpool, base.zvol, base.used_bytes, base.clones, state))
        header = ("name", "nas", "pool", "volume", "used", "clones", "state")
        self.endOutput(header=header, trimOwner=False)
        for note in notes:
            self.notify(note)
