"""`rocks report host vm screen`"""

from pathlib import Path

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Take a picture of the screen of a running virtual machine: a PNG, in a file that only root can read, or on standard
    output when that is no terminal.

    What a guest has written to its serial line is reported by rocks report host vm console.

    <shared names='one-machine'/>
    <param type='string' name='file' default='standard output' of='file'>
    The file to write; it is replaced.
    </param>

    <example cmd='report host vm screen vc1 file=/root/vc1.png'>
    What is on the screen of vc1.
    </example>
    <example cmd='report host vm screen vm-vc1-0 file=screen.png'>
    A file in the folder of the caller.
    </example>

    <related>open host console</related>
    <related>report host vm console</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Take the picture."""
        from rocks.machine.consoles import take_picture  # hosts are reached by heavy libraries

        file = self.fillText("file")
        if file is not None and (not file or "\0" in file or file.endswith("/")):
            self.abort("file must be the path of a file")
        path = None if file is None else Path(file).absolute()
        if path is not None and path.is_dir():
            self.abort(f"{path} is a folder; file must be the path of a file")
        take_picture(self.db, self.getOneHostname(args), path)
