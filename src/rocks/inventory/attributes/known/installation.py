"""Attributes of what a host is installed with, its services, and the names and addresses of the site. Pure."""

from __future__ import annotations

from rocks.inventory.attributes.known.form import Known

INSTALLATION = {
    "firewall": Known(
        "host",
        "yes or no",
        "no",
        "true: the rules of rocks list host firewall are in force on the host, by its profile and rocks sync host "
        "firewall",
    ),
    "host_network": Known(
        "host",
        "yes or no",
        "",
        "no: the profile leaves the host's network devices alone; yes: it makes systemd-networkd or NetworkManager set "
        "them up; unset: as yes where that service is enabled",
    ),
    "boot_service": Known(
        "host",
        "yes or no",
        "",
        "yes, for the frontend: the network private has no other DHCP server, and its profile enables DHCP, TFTP and "
        "HTTPS for hosts that boot from it; nothing starts DHCP without it",
    ),
    "dns_service": Known(
        "host",
        "yes or no",
        "",
        "yes, for the frontend: its profile enables DNS for the networks with servedns",
    ),
    "nucleus_service": Known(
        "host",
        "yes or no",
        "yes",
        "no, for the frontend: its profile leaves alone the service for owners of virtual clusters",
    ),
    "slurm_server": Known(
        "appliance",
        "host or address",
        "",
        "address of the frontend for the hosts, or a name of it that they resolve, where Slurm is set up by this "
        "system: the frontend with it is the server, each other host with it gets jobs; no, for a host: it gets none",
    ),
    "packaging": Known(
        "host", ("deb", "rpm"), "deb", "deb or rpm: the packages of the host's operating system"
    ),
    "release": Known(
        "host", "text", "", "release of the host's operating system, as in node and graph files"
    ),
    "Kickstart_PrivateHostname": Known("global", "host name", "", "name of the frontend's node"),
    "Kickstart_PrivateKickstartHost": Known(
        "global", "IPv4 address", "", "address from which hosts are installed"
    ),
    "Kickstart_DistroDir": Known(
        "global", "path", "/export/rocks", "folder that holds the distribution in install"
    ),
    "Kickstart_PrivateGateway": Known("global", "IPv4 address", "", "gateway of the hosts of the site"),
    "Kickstart_PrivateDNSServers": Known(
        "global", "IPv4 addresses", "", "name servers of the hosts of the site, separated by commas"
    ),
    "install_disk": Known(
        "host",
        "disk choice",
        "smallest",
        "disk on which the installer puts the host's system: smallest, serial=X, path=/dev/X or "
        "path=pci-0000:00:04.0; two of them, separated by a comma, become a RAID 1",
    ),
    "install_partitions": Known(
        "host",
        "partitions",
        "root:rest:ext4:/",
        "partitions that the installer makes, separated by blanks: NAME:GB:ext4:/PATH, NAME:GB:swap or NAME:GB:none; "
        "the last one's size may be rest; what is on a partition none stays when the host is installed again",
    ),
    "install_overwrite": Known(
        "host",
        "yes or no",
        "no",
        "yes: the installer may overwrite a disk that has data; a ZFS pool is not overwritten in any case",
    ),
    "install_kernel_arguments": Known(
        "host", "kernel arguments", "", "arguments of the installed host's kernel: console=ttyS0"
    ),
    "site_demo": Known(
        "global",
        "yes or no",
        "no",
        "yes: a site that only shows the system; rocks check site expects no rolls, services and time server",
    ),
    "Kickstart_PublicNTPHost": Known(
        "global", "host or address", "", "time server that the frontend follows"
    ),
    "Kickstart_PublicGateway": Known("global", "IPv4 address", "", "gateway of virtual frontends"),
    "Kickstart_PublicDNSServers": Known(
        "global", "IPv4 addresses", "", "name servers of virtual frontends, separated by commas"
    ),
}
