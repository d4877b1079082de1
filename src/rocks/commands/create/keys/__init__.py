"""`rocks create keys`"""

import rocks.commands


class Command(rocks.commands.Command):
    """
    Create a private key for the owner of a virtual cluster, and print its public key, which the site's operators add
    to the cluster's frontend. It needs no database.

    <param type='string' name='key' optional='0' of='file'>
    The file for the private key; it must not exist. Only its owner can read it.
    </param>
    <param type='string' name='type' default='rsa' values='rsa,ed25519'>
    rsa (3072 bits), or ed25519, which needs OpenSSL 3 or later.
    </param>
    <param type='bool' name='passphrase' default='no'>
    yes: ask for a passphrase, and protect the private key by it.
    </param>

    <example cmd='create keys key=airboss.key'>
    Print the public key; the private one is in the file.
    </example>
    <example cmd='create keys key=new.key type=ed25519'>
    Another kind of key.
    </example>

    <related>add host key</related>
    <related>list host macs</related>
    <related>set host power</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Make the key."""
        from rocks.site.airboss.owner_commands import create_key

        key = self.fillText("key", "")
        if not key:
            self.abort("must supply a filename for the private key")
        self.addText(create_key(key, self.fillText("type", "rsa"), self.fillFlag("passphrase")))
