"""`rocks save site`"""

import rocks.commands
from rocks.commands._shared.passphrases import read_passphrase
from rocks.core.terminal import one_line
from rocks.site.archive import save_site, unsaved_links
from rocks.site.medium import save_medium


class Command(rocks.commands.Command):
    """
    Save the site in one encrypted file: the cluster database with its secrets and the places of images, the keys
    for hosts, rolls and certificates, the certificate authority, the site's nodes and graphs, the answers of create
    site, and the records of Nucleus: its users, projects, tokens, operations and log. Not in it are the images
    themselves, the rolls' files and the distribution. A person with the file and its passphrase has the site.

    <param type='string' name='file' default='site-NAME-DATE below /var/lib/rocks/backup' of='file'>
    File to make; it must not exist.
    </param>
    <param type='string' name='medium' default='none: a file is made' of='file'>
    Device of a stick, or a folder: it gets the saved site and the answers with which the ISO of the frontend makes this
    frontend again on a blank machine (label ROCKS_SITE). A device that is in use or has data is rejected, unless the
    data is such a medium. A file passphrase that is put into the folder spares the question at the installation.
    </param>
    <param type='string' name='passphrase-file' default='none: you are asked' of='file'>
    File whose first line is the passphrase, of at least 12 characters; only root may read it.
    </param>

    <example cmd='save site file=/root/site.saved passphrase-file=/root/passphrase'>
    Save the site without a question.
    </example>
    <example cmd='save site'>
    Ask for the passphrase.
    </example>
    <example cmd='save site medium=/dev/sdb'>
    Write a medium for the installation of another machine.
    </example>

    <related>restore site</related>
    <related>dump</related>
    """

    NoDryRun = "it changes no host: it only writes the file"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read the passphrase; save the site."""
        file, medium = self.fillText("file"), self.fillText("medium")
        if file is not None and medium is not None:
            self.abort("give file= or medium=, not both")
        passphrase = read_passphrase(self, is_new=True)
        if medium is None:
            self.showNow(f"saved: {save_site(self.db, passphrase, file)}\n")
        else:
            notice = save_medium(self.db, passphrase, medium)
            self.showNow(f"saved: {medium}\n")
            if notice:
                self.notify(notice)
        for link in unsaved_links():
            self.notify(f"not in it: what the link {one_line(str(link))} leads to")
        self.notify("keep a copy of it and its passphrase on another machine")
