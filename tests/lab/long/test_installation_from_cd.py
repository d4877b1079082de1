"""A virtual cluster is installed as its owner would: its frontend from an ISO by the console, its compute from that."""

import os
import select
import shutil
import time
from pathlib import Path

import pytest

from lab.machines.checkout import CHECKOUT
from lab.machines.frontend import make_frontend_cd
from lab.machines.sample_cluster import CLUSTER, disk_of
from tests.lab.lab_site import LabSite
from tests.patience import patience

SUBJECTS = ("src/rocks/agent", "lab/guest")

COMPUTE = "vm-vc1-1"
"""On the host that the cluster's frontend is not on."""

_KERNEL = CHECKOUT / ".state" / "guest" / "kernel"
_IMAGES = CHECKOUT / ".state" / "guest" / "images"
_LIBRARY = "/var/lib/rocks/library"
_SECONDS = 900.0


class Console:
    """The serial console of a machine, by `rocks open host console`, from its beginning."""

    def __init__(self, site: LabSite, machine: str) -> None:
        self._process = site.frontend.begin("open", "host", "console", machine, "stream=yes")
        self._read = b""

    def wait_for(self, text: str) -> None:
        """Until the machine has printed the text, since the last that was waited for."""
        assert self._process.stdout is not None
        end_at = time.monotonic() + patience(_SECONDS)
        while text.encode() not in self._read:
            readable, _, _ = select.select(
                [self._process.stdout], [], [], max(0.0, end_at - time.monotonic())
            )
            more = os.read(self._process.stdout.fileno(), 4096) if readable else b""
            assert more, f"{text!r} does not come: {self._read[-2000:]!r}"
            self._read += more
        self._read = self._read.partition(text.encode())[2]

    def type(self, line: str) -> None:
        """Type a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\r".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        """Close it; the machine runs on."""
        self._process.communicate(timeout=60)


def test_frontend_from_an_iso_and_compute_from_the_frontend(site: LabSite, tmp_path: Path) -> None:
    """Nobody but the console says where to: an answer that is not yes writes nothing."""
    if not _KERNEL.exists():
        pytest.skip(f"no kernel for guests in {_KERNEL}: run `make setup`")
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is not installed: run `tools/setup roll`")
    first, second = site.lab["vmh1"], site.lab["vmh2"]
    make_frontend_cd(_KERNEL, _IMAGES, tmp_path / "cluster.iso", CLUSTER, site.lab.counting_guest)
    site.done("set", "attr", "image_library", _LIBRARY)
    site.done("add", "image", "cluster", f"file={tmp_path / 'cluster.iso'}")
    site.done("set", "host", "boot", CLUSTER, "action=os")
    site.done("set", "host", "vm", CLUSTER, "mem=192")
    site.done("set", "host", "vm", COMPUTE, "mem=192")
    site.done("set", "host", "attr", COMPUTE, "kvm_netboot", "yes")
    first.run(["rm", "-f", disk_of(CLUSTER)])
    second.run(["rm", disk_of(COMPUTE)])

    site.done("set", "host", "vm", "cdrom", CLUSTER, "image=cluster", "boot=last")
    site.done("start", "host", "vm", CLUSTER)
    console = Console(site, CLUSTER)
    console.wait_for("Install the system of this CD? (yes/no)")
    console.type("no")
    console.wait_for("the disk is left as it is")
    console.wait_for("Install the system of this CD? (yes/no)")
    assert first.run(["head", "-c", "512", disk_of(CLUSTER)]).output == bytes(512)
    console.type("yes")
    console.wait_for("has written the disk, and restarts the machine")
    console.wait_for("frontend serves")  # from its disk: that boots before the CD now
    console.close()

    # the drive is emptied at the next start
    site.done("set", "host", "vm", "cdrom", CLUSTER, "eject")
    assert "device='cdrom'" in first.run(["virsh", "dumpxml", CLUSTER]).text
    site.done("stop", "host", "vm", CLUSTER)
    site.done("start", "host", "vm", CLUSTER)
    assert "device='cdrom'" not in first.run(["virsh", "dumpxml", CLUSTER]).text
    restarted = Console(site, CLUSTER)
    restarted.wait_for("frontend serves")
    restarted.close()

    site.done("start", "host", "vm", COMPUTE)
    installer = second.wait_for(["cat", _console_log(COMPUTE)], "restarts the machine", _SECONDS)
    assert "has written 512 bytes to the disk" in installer
    assert site.wait_for_count("vmh2", COMPUTE, beyond=5, deadline_seconds=_SECONDS) > 5


def _console_log(guest: str) -> str:
    return f"/var/log/libvirt/qemu/{guest}.console.log"
