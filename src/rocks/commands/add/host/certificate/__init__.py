"""`rocks add host certificate`"""

import rocks.commands
from rocks.core.values import read_number
from rocks.site.certificates import CERTIFICATE_DAYS, LONGEST_CERTIFICATE_DAYS, add_certificates


class Command(rocks.commands.Command):
    """
    Issue certificates that authenticate hosts to the message broker and to each other. The first use of this
    command creates the key of the certificate authority, which never leaves this machine. A certificate takes
    effect after sync host certificate has deployed it to its host and sync broker has created the broker's user
    for it. Only physical hosts with a role in image storage get one: NASes, VM containers and the frontend; and
    the host of the broker.

    <shared names='hosts'/>
    <param type='int' name='days' default='825' unit='days'>
    Validity.
    </param>
    <param type='bool' name='replace' default='no'>
    Issue a new certificate to a host that has one. The old certificate is revoked when the new one has been
    deployed.
    </param>
    <shared names='dry-run'/>

    <example cmd='add host certificate nas-0-0 vm-container-0-0'>
    Issue certificates to two hosts.
    </example>
    <example cmd='add host certificate nas-0-0 days=90 replace=yes'>
    A new certificate, valid for 90 days, in place of the present one.
    </example>

    <related>sync host certificate</related>
    <related>list host certificate</related>
    <related>remove host certificate</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Issue the certificates and print their serial numbers."""
        text = self.fillText("days", str(CERTIFICATE_DAYS))
        days = read_number("days", text, 1, LONGEST_CERTIFICATE_DAYS)
        hosts = self.getSomeHostnames(args)
        for certificate in add_certificates(self.db, hosts, days, self.fillFlag("replace")):
            self.addText(
                f"{certificate.node}: certificate {certificate.serial_text} until {certificate.expires:%Y-%m-%d}\n"
            )
