"""dnsmasq's configuration and iPXE's scripts, as complete texts."""

from pathlib import Path

import pytest

from rocks.install.boot.files import (
    BootNetwork,
    BootPlaces,
    ServedHost,
    action_script,
    dnsmasq_configuration,
    dnsmasq_hosts,
    first_script,
    installer_script,
    local_script,
)
from rocks.inventory.records import BootAction
from tests.golden.files import check_golden

NETWORK = BootNetwork("eth0", "10.1.1.1", "255.255.0.0", "10.1.1.254", ["10.1.1.1", "10.1.1.2"], 9000)
PLACES = BootPlaces("/tftpboot/rocks", "/run/rocks-boot/hosts", "/run/rocks-boot/dnsmasq.pid")
HOSTS = [
    ServedHost("compute-0-1", ("52:54:00:00:00:02",), "10.1.255.253"),
    ServedHost("compute-0-0", ("52:54:00:00:00:01",), "10.1.2.254"),
]
MEMTEST = BootAction("memtest", "kernel/memtest", None, None)
RPM = BootAction("install", "/vmlinuz", "images/initrd.img", "ks")

CASES = {
    "network.conf": dnsmasq_configuration(NETWORK, PLACES),
    "network_without_gateway.conf": dnsmasq_configuration(
        NETWORK._replace(gateway="", name_servers=[], mtu_bytes=0), PLACES
    ),
    "hosts": dnsmasq_hosts(HOSTS),
    "first.ipxe": first_script(),
    "local.ipxe": local_script("compute-0-0"),
    "installer.ipxe": installer_script(
        "compute-0-0", "10.1.1.1", "https://10.1.1.1/install/plan", "console=tty0 console=ttyS0,115200"
    ),
    "memtest.ipxe": action_script("compute-0-0", "10.1.1.1", MEMTEST, ""),
    "rpm.ipxe": action_script("compute-0-0", "10.1.1.1", RPM, "ks ksdevice=eth0"),
}


@pytest.mark.parametrize("case", CASES)
def test_text(case: str) -> None:
    check_golden(Path(__file__).parent / case, CASES[case])
