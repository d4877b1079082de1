"""Hosts with golden profiles in this folder: name of the file → the host on its site."""

from dataclasses import replace

from rocks.install.host_profiles import HostOfSite
from rocks.install.profile_values import ServedDistribution
from rocks.inventory.appliances import Appliance
from rocks.inventory.records import Host, Network
from rocks.network.firewall.nft import FirewallHost, firewall_file
from rocks.network.firewall.rules import FirewallRule
from rocks.network.route_rules import ResolvedRoute, Route
from tests.unit.machines import PRIVATE, container, interface

_NETWORKS = (
    Network("private", "10.1.0.0", "255.255.0.0", 1500, "local", False),
    Network("storage", "10.9.0.0", "255.255.0.0", 9000, "storage.example.org", False),
)
NO_DISTRIBUTION = ServedDistribution()
_NAS = replace(
    container("nas-0-0", [interface("eth0", "nas-0-0", ip="10.1.255.250", **PRIVATE)]),
    membership="NAS Appliance",
    appliance="nas",
    attributes={
        "appliance": "nas",
        "img_zpools": "tank, fast",
        "img_zpool_disks": "/dev/disk/by-id/a /dev/disk/by-id/b /dev/sdc /dev/sdd",
        "imgstorage-network": "storage.example.org",
    },
)
_FRONTEND = replace(
    container("head", [interface("eth0", "head", ip="10.1.1.1", **PRIVATE)]),
    membership="Frontend",
    appliance="frontend",
    attributes={"appliance": "frontend", "boot_service": "yes"},
)


def vm_host(**attributes: str) -> Host:
    """A VM container with attributes of its own."""
    return container("vmc-0-0", appliance="vm-container", **attributes)


def on_site(host: Host, root: str, distribution: ServedDistribution = NO_DISTRIBUTION) -> HostOfSite:
    """The host on a site with a storage network of its own, whose frontend is head."""
    appliance = Appliance(host.appliance, "default", root, "linux", host.membership, "rocks-dist", True)
    return HostOfSite(host, appliance, _NETWORKS, "head", distribution)


_RULES = firewall_file(
    FirewallHost("vmc-0-0", {"private": ["eth0"]}, frontend=["10.1.1.1"]),
    [
        FirewallRule("A10", "123", "udp", "INPUT", "ACCEPT", "private", comment='<&> "$(x)" ]]>'),
        FirewallRule("R90", "all", "all", "INPUT", "REJECT"),
    ],
    lambda name, protocol: None,
)

DISTRIBUTION = ServedDistribution(
    "10.1.1.1", "rocks-dist/x86_64", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
)

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n"
SIGNED = DISTRIBUTION._replace(key=KEY)

_DISKS = "/dev/disk/by-id/a /dev/disk/by-id/b"

CASES = {
    "vm_host_of_distribution": on_site(vm_host(img_sync="yes"), "client", DISTRIBUTION),
    "nas_of_distribution_for_rpm": on_site(
        replace(_NAS, attributes={**_NAS.attributes, "packaging": "rpm"}), "nas", SIGNED
    ),
    "frontend": on_site(_FRONTEND, "server"),
    "frontend_with_slurm": on_site(
        replace(_FRONTEND, attributes={"appliance": "frontend", "slurm_server": "10.1.1.1"}), "server"
    ),
    "vm_host_of_distribution_with_slurm": on_site(vm_host(slurm_server="10.1.1.1"), "client", DISTRIBUTION),
    "frontend_with_names": on_site(
        replace(_FRONTEND, attributes={"appliance": "frontend", "dns_service": "yes"}), "server"
    ),
    "nas": on_site(_NAS, "nas"),
    "vm_host": on_site(vm_host(img_sync="no", vm_hugepages="2M:1024 1G:8@1"), "client"),
    "vm_host_with_copies": on_site(
        vm_host(
            img_sync="yes",
            vm_container_zpool="vmpool",
            img_storage_part_zfs_mirror="true",
            vm_container_zpool_disks=_DISKS,
        ),
        "client",
    ),
    "rpm_vm_host_without_images": on_site(
        vm_host(packaging="rpm", img_storage_vm="no", vlan_transport="local", vm_filter="off"), "client"
    ),
    "compute_of_signed_distribution": on_site(
        replace(vm_host(), appliance="compute", attributes={"appliance": "compute"}), "compute", SIGNED
    ),
    "compute_with_firewall": replace(
        on_site(
            replace(vm_host(), appliance="compute", attributes={"appliance": "compute", "firewall": "true"}),
            "compute",
        ),
        firewall=_RULES,
    ),
    "compute": on_site(
        replace(
            container("vmc-0-0", [interface("eth0", mac="52:54:00:00:00:01", ip="10.1.255.254", **PRIVATE)]),
            appliance="compute",
            attributes={"appliance": "compute"},
            routes=(
                ResolvedRoute(Route("0.0.0.0", "0.0.0.0", "10.1.1.1"), "G"),
                ResolvedRoute(Route("10.2.0.0", "255.255.0.0", "10.1.1.2"), "A"),
                ResolvedRoute(Route("10.3.0.0", "255.255.0.0", "192.0.2.1"), "H"),
                ResolvedRoute(Route("224.0.0.0", "255.255.255.0", subnet="private"), "G"),
            ),
        ),
        "compute",
    ),
}
