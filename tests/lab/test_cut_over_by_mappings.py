"""A volume is moved below a running writer by our own switches, and no block is lost."""

from lab.machines.lab import Lab
from tests.lab.switches import copy_sources, cut_over

SUBJECTS = ("src/rocks/storage/device_mapper",)


def test_nothing_is_lost_below_a_running_writer(lab: Lab) -> None:
    """Origin moved, merge begun, merge ended: each is reported. How long each stalled is measured by `make bench`."""
    machine = lab["vmh1"]
    copy_sources(machine)
    machine.copy_in(lab.model_writer, "/root/model_writer", "755")
    reported, stalls = cut_over(machine)
    print(reported["result"], stalls)
    assert reported["result"]["writes"] > 0
    assert (reported["result"]["mismatches"], reported["result"]["errors"]) == (0, 0)
    assert reported["final/dev/zvol/vmpool/local"]["mismatches"] == 0
    assert set(stalls) == {"move", "merge", "end"}
    assert min(stalls.values()) > 0
    assert "suspended" not in machine.run(["dmsetup", "info", "disk"]).text.lower()
