"""Records of assigned virtual functions: their stored layout is that of earlier versions."""

import json
from pathlib import Path

from rocks.fleet.wire.requests import VfSpec
from rocks.network.sriov.host.records import AssignedVfs, VfRecords

MAC = "52:54:00:aa:00:01"


def test_layout_of_the_file(tmp_path: Path) -> None:
    """The keys that a host's agent of an earlier version has written are written and read."""
    assigned = AssignedVfs(7, "boot", (VfSpec("eth1", 2, 0, MAC, 100),))
    VfRecords(tmp_path).write("vm-a", assigned)
    file = tmp_path / "functions/vm-a.json"
    vf = {
        "device": "eth1",
        "count": 2,
        "number": 0,
        "mac": MAC,
        "vlan": 100,
        "checks_source": True,
        "is_trusted": False,
    }
    assert json.loads(file.read_text()) == {"token": 7, "boot": "boot", "functions": [vf]}
    assert VfRecords(tmp_path).read("vm-a") == assigned
