"""A compute is installed by its own cluster's frontend: power, DHCP, installer, disk, as on bare metal."""

import pytest

from lab.machines.checkout import CHECKOUT
from lab.machines.frontend import put_installing_frontend
from lab.machines.sample_cluster import CLUSTER, disk_of
from tests.lab.lab_site import LabSite

SUBJECTS = ("src/rocks/agent", "lab/guest")

COMPUTE = "vm-vc1-1"
"""On the host that the cluster's frontend is not on: what it boots from comes over the trunk."""

_KERNEL = CHECKOUT / ".state" / "guest" / "kernel"
_IMAGES = CHECKOUT / ".state" / "guest" / "images"
_SYSTEM_BYTES = 512


def test_compute_installs_itself_from_its_frontend_and_boots_from_its_disk(site: LabSite) -> None:
    """The order is network, then disk; the frontend's answer decides, first for the installer, then for the disk."""
    if not _KERNEL.exists():
        pytest.skip(f"no kernel for guests in {_KERNEL}: run `make setup`")
    first, second = site.lab["vmh1"], site.lab["vmh2"]
    site.done("set", "attr", "kvm_netboot", "yes")
    site.done("set", "host", "boot", CLUSTER, "action=os")
    site.done("set", "host", "vm", CLUSTER, "mem=192")
    site.done("set", "host", "vm", COMPUTE, "mem=192")
    put_installing_frontend(first, _KERNEL, _IMAGES, CLUSTER, disk_of(CLUSTER), site.lab.counting_guest)
    site.done("set", "host", "image", "vmh1", disk_of(CLUSTER), f"vm={CLUSTER}")
    second.run(["rm", disk_of(COMPUTE)])

    site.done("start", "host", "vm", CLUSTER)
    first.wait_for(["cat", _console(CLUSTER)], "frontend serves", 240)
    site.done("start", "host", "vm", COMPUTE)

    installer = second.wait_for(["cat", _console(COMPUTE)], "restarts the machine", 240)
    assert f"has written {_SYSTEM_BYTES} bytes to the disk" in installer
    assert site.wait_for_count("vmh2", COMPUTE, beyond=5, deadline_seconds=120) > 5
    reported = first.run(["cat", _console(CLUSTER)]).text
    answers = [line for line in reported.splitlines() if "init: frontend" in line and "serves" not in line]
    assert [line.split()[2] for line in answers] == ["installs", "has", "lets"]

    before = site.count("vmh2", COMPUTE)
    site.done("stop", "host", "vm", COMPUTE)
    site.done("start", "host", "vm", COMPUTE)
    assert site.wait_for_count("vmh2", COMPUTE, beyond=before, deadline_seconds=120) > before


def _console(guest: str) -> str:
    return f"/var/log/libvirt/qemu/{guest}.console.log"
