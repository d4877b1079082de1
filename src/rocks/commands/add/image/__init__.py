"""`rocks add image`"""

from __future__ import annotations

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Add a disk image or an ISO to the image library of the site, from a file of the frontend, of a web server, or its
    parts. Virtual machines get their disks from images of the library: add cluster with image=NAME.

    The file is a raw disk, a qcow2 image or an ISO, and may be packed with gzip or zstd. It is copied; blocks of zeros
    take no space. A qcow2 image that refers to another file, a symbolic link, and a file that is not what format states
    are rejected. The library is the folder of the attribute image_library.

    The same command continues an interrupted import of file or url.

    With clonezilla, the image is a disk that Clonezilla saved with partclone: its partition table (MBR or GPT), boot
    code, file systems and swap space, uncompressed or packed with gzip or zstd. LVM, RAID and encrypted partitions are
    rejected. This needs the packages partclone and fdisk; an interrupted command begins anew.

    With vm, the image is the disk of a virtual machine that is stopped, a raw file of its host; the machine cannot be
    started meanwhile. What is in it stays in it: remove names, keys and the like first.

    <arg type='string' name='name'>
    Name of the image: letters, digits and . _ + -.
    </arg>
    <param type='string' name='file' of='file' default='none: with url, vm or clonezilla'>
    Path of the file; of its parts in their order, separated by commas; or of a folder that has only its parts, whose
    names are of one length.
    </param>
    <param type='string' name='url' default='none: with file, vm or clonezilla'>
    URL of the file, or of its parts in their order, separated by commas; http or https. A download that was interrupted
    is continued if the server still has the same file.
    </param>
    <param type='string' name='checksum' default='that in SHA256SUMS beside the URL, or none: the file is not compared'>
    SHA-256 of the file, or of its parts joined, or of each part, separated by commas; another file is rejected.
    </param>
    <param type='string' name='format' default='by its first bytes' values='raw,qcow2,iso'>
    raw, qcow2 or iso: what the file is, or has after unpacking.
    </param>
    <param type='int' name='size' default='200' unit='GB'>
    The largest disk that is imported.
    </param>
    <param type='string' name='vm' of='machine' default='none: a file'>
    Virtual machine whose disk becomes the image, instead of a file.
    </param>
    <param type='string' name='clonezilla' of='file' default='none: a file'>
    Folder in which Clonezilla saved a disk (savedisk), instead of a file.
    </param>
    <param type='string' name='disk' of='none' default='the first; of Clonezilla, the only one'>
    Device of that disk, for example vdb, or sda.
    </param>
    <param type='string' name='comment' default='none'>
    What is in the image.
    </param>

    <example cmd='add image debian-12 file=/root/debian-12.qcow2'>
    Add a disk image.
    </example>
    <example cmd='add image centos file=/root/centos.img.zst size=40 comment="with Slurm"'>
    Add an image of up to 40 GB that is packed.
    </example>
    <example cmd='add image rocky file=/root/rocky.qcow2.part-aa,part-ab,part-ac'>
    Add an image of three parts.
    </example>
    <example cmd='add image debian-12 url=https://images.example.org/debian-12.qcow2'>
    Add an image of a web server.
    </example>
    <example cmd='add image golden vm=vm-web-0 comment="with our compilers"'>
    Add the first disk of a machine.
    </example>
    <example cmd='add image biolinux clonezilla=/home/partimag/biolinux-img'>
    Add the disk that Clonezilla saved.
    </example>
    <related>list image</related>
    <related>save image</related>
    <related>check image</related>
    <related>add cluster</related>
    """

    NoDryRun = "it changes only the library of images on this machine, and no host"
    AdviceAfterInterrupt = (
        "the same command continues it, or begins anew with clonezilla; rocks remove image NAME removes what an "
        "unfinished import has left"
    )

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Import the file, and print the image's size."""
        from rocks.core.values import gigabytes, size_text

        # hashing and qemu-img, only needed here
        from rocks.library.images import AddedImage

        if len(args) != 1:
            self.abort("must supply the name of one image")
        names = ("file", "checksum", "format", "size", "comment", "vm", "disk", "url", "clonezilla")
        added = AddedImage(args[0], *(value or None for value in self.fillTexts(*names)))
        if added.vm:
            from rocks.machine.image_of_disk import add_image_of_disk as add  # SSH
        elif added.clonezilla:
            from rocks.library.clonezilla import add_saved_disk as add
        else:
            from rocks.library.images import add_image as add
        image = add(self.db, added, self.showProgress)
        self.showProgress("")
        kind = "an ISO" if image.format == "iso" else "a disk"
        self.addLine(
            f"{image.name}: {kind} of {gigabytes(image.size_bytes)}, of which {size_text(image.used_bytes)} are used"
        )
