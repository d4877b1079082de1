"""`rocks start service boot`"""

import rocks.commands


class Command(rocks.commands.Command):
    """
    Start the boot service: dnsmasq for DHCP and TFTP, on the device that has the frontend's address on the network
    private, and on no other. It runs until a signal ends it; dnsmasq ignores Ctrl-C. A physical host with an IP and
    a MAC address there gets that address, and boots what its next boot is: its local disk, the installer, or
    another boot action. Other machines get no answer. The installer's files are those of the distribution
    rocks-dist. It needs the packages dnsmasq-base and ipxe, the certificate of the frontend, and its attribute
    boot_service, which states that the network has no other DHCP server.

    <example cmd='start service boot'>
    Serve the network private; the unit rocks-boot, which the frontend's profile enables, does so at each boot.
    </example>

    <related>sync config</related>
    <related>report host dhcpd</related>
    <related>discover host</related>
    <related>start service kickstart</related>
    """

    NoDryRun = "it is a service that runs until it is ended"
    NeedsOwnProcess = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Become dnsmasq."""
        from rocks.install.boot.service import start_boot_service

        start_boot_service(self.db, self.notify)
