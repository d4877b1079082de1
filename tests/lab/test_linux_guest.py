"""The small Linux guest, for what needs a network and a real kernel inside."""

import pytest

from lab.machines.checkout import CHECKOUT
from lab.machines.frontend import put_linux_guest
from lab.machines.sample_cluster import disk_of
from tests.lab.lab_site import LabSite

SUBJECTS = ("src/rocks/agent", "lab/guest")

GUEST = "vm-vc1-0"
_KERNEL = CHECKOUT / ".state" / "guest" / "kernel"
_IMAGES = CHECKOUT / ".state" / "guest" / "images"


def test_linux_guest_reports_its_name_and_the_mac_address_of_the_database(site: LabSite) -> None:
    """Its kernel boots nested and sees the adapter that the site gave it."""
    if not _KERNEL.exists():
        pytest.skip(f"no kernel for guests in {_KERNEL}: run `make setup`")
    host = site.lab["vmh1"]
    put_linux_guest(host, _KERNEL, _IMAGES, GUEST, disk_of(GUEST))
    site.done("set", "host", "image", "vmh1", disk_of(GUEST), f"vm={GUEST}")
    site.done("set", "host", "vm", GUEST, "mem=192")
    mac = site.ask("list", "host", "interface", GUEST)[0]["interface"][0]["mac"]
    site.done("start", "host", "vm", GUEST)
    console = f"/var/log/libvirt/qemu/{GUEST}.console.log"
    reported = host.wait_for(["cat", console], "guest ready", 240)
    assert f"guest ready: name={GUEST} mac={mac}" in reported
