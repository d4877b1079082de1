"""`rocks add host key`"""

import rocks.commands
from rocks.site.airboss.records import add_key


class Command(rocks.commands.Command):
    """
    Add a public key to a host, which is the frontend of a virtual cluster: the owner of the private key may control
    the machines of that cluster. An RSA key below 3072 bits is added with a warning; below 2048 it is refused, unless
    the attribute airboss_old_rsa of the host is true.

    <shared names='one-host'/>
    <param type='string' name='key' optional='0' of='file'>
    The public key, RSA or Ed25519, in PEM or as a line of OpenSSH; or the path of a file that contains it.
    </param>
    <param type='string' name='description' default='none'>
    Whose key it is, in one line.
    </param>

    <example cmd='add host key frontend-0-0-0 key=/tmp/public.key description="key of the owner"'>
    Add the key in the file.
    </example>
    <example cmd='add host key frontend-0-0-0 key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINfTTidQn+dG5NBhqM5f/jhb5oNRGgGLPzxA5ahGGlBU"'>
    The key itself instead of a file.
    </example>

    <related>list host key</related>
    <related>remove host key</related>
    """  # noqa: E501 - the examples

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the key."""
        host = self.getOneHostname(args)
        key = self.fillText("key", "")
        if not key.strip():
            self.abort("must supply a public key")
        warning = add_key(self.db, host, key, self.fillText("description"))
        if warning:
            self.notify(f"Warning: {warning}")
