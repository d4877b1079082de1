"""`rocks restore site`"""

from pathlib import Path

import rocks.commands
from rocks.commands._shared.passphrases import read_passphrase
from rocks.site.archive import write_new_file
from rocks.site.restore import read_saved_site, restore_site


class Command(rocks.commands.Command):
    """
    Make this machine the frontend of a saved site, from a file of rocks save site. A file that is damaged, cut off,
    of another kind or saved by newer programs changes nothing. No virtual machine starts before all hosts were
    asked what runs there. After an interruption, repeat the command.

    <arg type='string' name='file' of='file'>
    File of rocks save site. Alternative form: file=FILE.
    </arg>
    <param type='string' name='passphrase-file' default='none: you are asked' of='file'>
    File whose first line is the passphrase; only root may read it.
    </param>
    <param type='bool' name='overwrite' default='no'>
    yes: replace the site of which this machine is the frontend; a copy of that is kept.
    </param>
    <param type='string' name='answers' default='none: the site is restored' of='file'>
    Only write the answers of the saved site into this new file, for create site or the frontend's ISO.
    </param>

    <example cmd='restore site /root/site.saved passphrase-file=/root/passphrase'>
    Restore the site on a new machine.
    </example>
    <example cmd='restore site /root/site.saved answers=/root/site'>
    Get the answers with which the machine is installed.
    </example>

    <related>save site</related>
    <related>check site</related>
    <related>sync vm lease</related>
    """

    NoDryRun = "it replaces the whole database at once"
    AdviceAfterInterrupt = "rocks check site shows whether the restore must be repeated"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read and check the file; restore the site, or write its answers."""
        others, file = self.fillArgument("file")
        if others or not file:
            self.abort("must supply one file")
        overwrite, answers = self.fillFlag("overwrite"), self.fillText("answers")
        saved = read_saved_site(file, read_passphrase(self, is_new=False))
        if answers is not None:
            write_new_file(Path(answers), saved.answers)
            self.addText(f"the answers of {saved.frontend}: {answers}\n")
            return
        restore_site(self.db, saved, file, overwrite, self.notify)
        self.addText(f"restored: the site of {saved.frontend}, saved {saved.saved_at}\n")
        self.addText(
            "next: rocks check site; rocks sync vm lease asks the hosts what runs there; rocks add roll and rocks "
            "create distro for the rolls' files; rocks sync config\n"
            "owners' keys that were removed after the copy are valid again: rocks list host key, rocks remove host "
            "key\n"
        )
