"""`rocks save image`"""

from __future__ import annotations

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Save an image of the library in a file of the frontend, which only root can read. The image is compared with what
    was imported first.

    <shared names='image'/>
    <param type='string' name='file' optional='0' of='file'>
    File to make; it must not exist.
    </param>
    <param type='string' name='format' default='by the end of the name of the file: .qcow2, .zst, else raw'
    values='raw,qcow2,zstd'>
    raw, with holes for what is zero; qcow2, compressed; or zstd, a raw disk that is packed.
    </param>

    <example cmd='save image debian-12 file=/root/debian-12.qcow2'>
    A file for another site, and for other hypervisors.
    </example>
    <example cmd='save image medium file=/root/medium.iso'>
    An ISO as it was.
    </example>
    <related>add image</related>
    <related>list image</related>
    """

    NoDryRun = "it changes no host: it only writes the file"
    AdviceAfterInterrupt = "no file was made"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Write the file, and print its size."""
        from rocks.core.values import size_text
        from rocks.library.images import save_image  # hashing and qemu-img, only needed here

        if len(args) != 1:
            self.abort("must supply the name of one image")
        file, format_name = self.fillTexts("file", "format")
        if not file:
            self.abort("must supply the path of the file: file=PATH")
        path, used_bytes = save_image(self.db, args[0], file, format_name, self.showProgress)
        self.showProgress("")
        self.addLine(f"saved: {path}, {size_text(used_bytes)}")
