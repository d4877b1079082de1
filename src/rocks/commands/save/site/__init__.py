"""`rocks save site`"""

import rocks.commands
from rocks.commands._shared.passphrases import read_passphrase
from rocks.core.terminal import one_line
from rocks.site.archive import save_site, unsaved_links


class Command(rocks.commands.Command):
    """
    Save the site in one encrypted file: the cluster database with its secrets and the places of images, the keys
    for hosts, rolls and certificates, the certificate authority, the site's nodes and graphs, the answers of create
    site, and the records of Nucleus: its users, projects, tokens, operations and log. Not in it are the images
    themselves, the rolls' files and the distribution. A person with the file and its passphrase has the site.

    <param type='string' name='file' default='site-NAME-DATE below /var/lib/rocks/backup' of='file'>
    File to make; it must not exist.
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

    <related>restore site</related>
    <related>dump</related>
    """

    NoDryRun = "it changes no host: it only writes the file"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read the passphrase; save the site."""
        passphrase = read_passphrase(self, is_new=True)
        path = save_site(self.db, passphrase, self.fillText("file"))
        self.showNow(f"saved: {path}\n")
        for link in unsaved_links():
            self.notify(f"not in it: what the link {one_line(str(link))} leads to")
        self.notify("keep a copy of it and its passphrase on another machine")
