"""The installers' files of every appliance, by the roll's own nodes: complete for the installers' own checkers."""

from dataclasses import replace
from pathlib import Path

import pytest

from rocks.install.host_profiles import HostOfSite
from rocks.install.node_documents import DocumentOptions, installer_file, profile_of_document, site_document
from rocks.inventory.records import Host
from tests.golden.profile.cases import CASES, DISTRIBUTION, on_site, vm_host
from tests.unit.install.graph.installers import RELEASES, check_preseed, read_kickstart
from tests.unit.machines import PRIVATE, interface

_MAC = "52:54:00:00:00:01"
_DISK = {
    "install_disk": "path=/dev/vda",
    "install_overwrite": "yes",
    "install_partitions": "swap:2:swap root:10:ext4:/ data:rest:ext4:/export",
    "install_kernel_arguments": "console=ttyS0,115200",
    "Kickstart_PrivateGateway": "10.1.1.1",
    "Kickstart_PrivateDNSServers": "10.1.1.1 10.1.1.2",
}


def _installed(host: Host, appliance: str, **attributes: str) -> Host:
    device = interface("eth0", host.name, mac=_MAC, ip="10.1.255.254", **PRIVATE)
    own = {key: value for key, value in host.attributes.items() if key != "img_zpool_disks"}
    return replace(
        host,
        appliance=appliance,
        interfaces=(device,),
        attributes={**own, "appliance": appliance, **attributes},
    )


_APPLIANCES = {
    "vm-container": (vm_host(img_sync="yes"), "client"),
    "nas": (CASES["nas"].host, "nas"),
    "compute": (replace(vm_host(), attributes={}), "compute"),
    "login": (replace(vm_host(), attributes={}), "login"),
}


def _site(appliance: str, **attributes: str) -> HostOfSite:
    host, root = _APPLIANCES[appliance]
    return on_site(_installed(host, appliance, **attributes), root, DISTRIBUTION)


def _file(site: HostOfSite, kind: str) -> str:
    return installer_file(profile_of_document(site_document(site, DocumentOptions())), kind)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("appliance", _APPLIANCES)
def test_a_kickstart_file_is_complete(appliance: str, release: str) -> None:
    handler = read_kickstart(_file(_site(appliance, packaging="rpm", **_DISK), "kickstart"), release).handler
    (network,) = handler.network.network
    assert (network.device, network.ip, network.netmask) == (_MAC, "10.1.255.254", "255.255.0.0")
    assert (network.gateway, network.nameserver) == ("10.1.1.1", "10.1.1.1,10.1.1.2")
    assert handler.url.url == "https://10.1.1.1/install/distro/rocks-dist/x86_64"
    assert handler.rootpw.lock and handler.lang.lang == "en_US.UTF-8" and handler.timezone.timezone == "UTC"
    parts = [(one.mountpoint, one.size, one.grow, one.disk) for one in handler.partition.partitions]
    assert parts == [("swap", 1907, False, "vda"), ("/", 9536, False, "vda"), ("/export", 1024, True, "vda")]
    assert handler.clearpart.drives == ["vda"] and handler.bootloader.appendLine == "console=ttyS0,115200"


@pytest.mark.parametrize("appliance", _APPLIANCES)
def test_a_preseed_file_has_all_but_the_mirror(appliance: str, tmp_path: Path) -> None:
    found = check_preseed(_file(_site(appliance, **_DISK), "preseed"), tmp_path)
    assert found["netcfg/get_ipaddress"] == ("string", "10.1.255.254")
    assert found["partman-auto/disk"] == ("string", "/dev/vda")
    assert found["passwd/root-password-crypted"] == ("password", "*")
    assert found["pkgsel/include"] == ("string", ""), "the installer does not know the site's distribution"
    assert "mirror/http/hostname" not in found and "mirror/https/hostname" not in found


@pytest.mark.parametrize(
    "missing",
    [
        {"install_overwrite": "no"},
        {"install_disk": "smallest"},
        {"install_disk": "path=/dev/vda,path=/dev/vdb"},
        {"install_partitions": "root:10:ext4:/ pool:rest:none"},
        {"install_partitions": "root:$(reboot):ext4:/"},
        {"install_kernel_arguments": 'a"; reboot'},
    ],
)
def test_a_disk_that_is_not_named_and_permitted_is_not_touched(missing: dict[str, str]) -> None:
    text = _file(_site("compute", packaging="rpm", **{**_DISK, **missing}), "kickstart")
    assert not any(
        line.startswith(("clearpart", "part ", "zerombr", "bootloader")) for line in text.splitlines()
    )
