"""`rocks set image`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Change the comment of an image of the library.

    <shared names='image'/>
    <param type='string' name='comment' optional='0'>
    What is in the image; empty: nothing is noted.
    </param>

    <example cmd='set image debian-12 comment="with Slurm"'>
    Describe an image.
    </example>
    <example cmd='set image debian-11 comment="until 2027"'>
    Another image.
    </example>
    <related>list image</related>
    """

    NoDryRun = "it changes only the library of images on this machine, and no host"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the comment."""
        from rocks.library.images import set_comment

        if len(args) != 1:
            self.abort("must supply the name of one image")
        comment = self.fillText("comment")
        if comment is None:
            self.abort("must supply the comment: comment=TEXT")
        set_comment(self.db, args[0], comment)
