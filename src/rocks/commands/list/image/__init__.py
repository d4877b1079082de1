"""`rocks list image`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    List the images of the library: the format in which they are stored (raw or iso), the bytes of the disk, the bytes
    that are used of it, and the digest of the content, by which hosts recognise their copies. The format unfinished is
    that of an import which runs or was interrupted, with the bytes that it takes: add image continues it, remove image
    removes it.

    <arg optional='1' type='string' name='name' repeat='1' default='all' of='image'>
    Images.
    </arg>

    <example cmd='list image'>
    All images.
    </example>
    <example cmd='list image debian-12'>
    One image.
    </example>
    <related>add image</related>
    <related>list host image</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per image."""
        from rocks.actions.image_library import list_library, list_unfinished
        from rocks.actions.library_folder import find_library_image

        images = [find_library_image(self.db, name) for name in args] if args else list_library(self.db)
        self.beginOutput()
        for image in images:
            row = (image.format, image.size_bytes, image.used_bytes, image.digest, image.comment or None)
            self.addOutput(image.name, row)
        for leftover in [] if args else list_unfinished(self.db):
            self.addOutput(leftover.name, ("unfinished", None, leftover.used_bytes, None, None))
        self.endOutput(header=("name", "format", "size", "used", "digest", "comment"), trimOwner=False)
