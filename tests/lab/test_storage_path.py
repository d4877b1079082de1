"""The lab's NAS and hosts have what images travel by: a ZFS volume, exported read-only by LIO, in a host's hands."""

import hashlib
import time

import pytest

from lab.machines.lab import Lab
from lab.machines.machine import LabMachine
from rocks.core.errors import ToolError

SUBJECTS = ("lab/machines/machine.py",)

_TARGET = "iqn.2001-04.com.nas:probe"
_PORTAL = "10.9.0.10:3260"
_DEVICE = f"/dev/disk/by-path/ip-{_PORTAL}-iscsi-{_TARGET}-lun-0"
_SIZE_MB = 8

_EXPORT = f"""
from rtslib_fb import (LUN, TPG, BlockStorageObject, FabricModule, MappedLUN, NetworkPortal, NodeACL, RTSRoot, Target)

RTSRoot()
store = BlockStorageObject("probe", dev="/dev/zvol/tank/probe@base", readonly=True)
group = TPG(Target(FabricModule("iscsi"), "{_TARGET}"), 1)
unit = LUN(group, 0, store)
acl = NodeACL(group, "iqn.2024-01.org.rocks.lab:vmh1")
MappedLUN(acl, 0, unit, write_protect=True)
group.set_attribute("authentication", "0")
NetworkPortal(group, "10.9.0.10", 3260)
group.enable = True
"""


@pytest.fixture
def volume_digest(lab: Lab) -> str:
    """A volume of random data on the NAS, a snapshot of it exported to vmh1 alone; the digest of its content."""
    nas = lab["nas"]
    nas.shell(
        f"""
zfs create -s -V {_SIZE_MB}M -o snapdev=visible tank/probe
udevadm settle
dd if=/dev/urandom of=/dev/zvol/tank/probe bs=1M count={_SIZE_MB} conv=fsync status=none
zfs snapshot tank/probe@base
udevadm settle
""",
        60,
    )
    nas.write_file("/root/export.py", _EXPORT.encode())
    nas.run(["python3", "/root/export.py"], 60)
    return hashlib.sha256(nas.read_file("/dev/zvol/tank/probe")).hexdigest()


def log_in(host: LabMachine) -> None:
    """A session that waits for ever for a lost NAS, to a target that is named and not discovered."""
    node = f"iscsiadm --mode node --targetname {_TARGET} --portal {_PORTAL}"
    host.shell(
        f"""
{node} --op new >/dev/null
{node} --op update --name node.session.timeo.replacement_timeout --value -1
{node} --login >/dev/null
udevadm settle
""",
        60,
    )


def test_snapshot_of_the_nas_is_read_on_its_host_and_nowhere_else(lab: Lab, volume_digest: str) -> None:
    """vmh1 reads the same bytes and may not write them; vmh2, which has no entry in the export, is refused."""
    log_in(lab["vmh1"])
    assert lab["vmh1"].run(["sha256sum", _DEVICE], 60).text.split()[0] == volume_digest
    refused = lab["vmh1"].run_any(["dd", "if=/dev/zero", f"of={_DEVICE}", "bs=4k", "count=1", "oflag=direct"])
    assert refused.exit_status != 0
    with pytest.raises(ToolError, match="(?i)authorization failure"):
        log_in(lab["vmh2"])


def test_reader_waits_for_a_nas_that_is_cut_off(lab: Lab, volume_digest: str) -> None:
    """Nothing fails while the cable is out, and the same read ends well when it is back."""
    host, nas = lab["vmh1"], lab["nas"]
    log_in(host)
    nas.cut()
    host.start_program("reader", ["sh", "-c", f"sha256sum {_DEVICE}"])
    time.sleep(15)
    assert host.read_file("/var/log/reader.log") == b""
    nas.reconnect()
    assert volume_digest in host.wait_for(["cat", "/var/log/reader.log"], volume_digest, 60)
