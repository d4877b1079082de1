"""A volume is moved below a running writer by our own switches, and no block is lost."""

from __future__ import annotations

from lab.machines.lab import Lab
from tests.lab.switches import cut_over, trunk_sources


def test_nothing_is_lost_below_a_running_writer(lab: Lab) -> None:
    """Origin moved, merge begun, merge ended: each is told, each is shorter than what makes a switch give up."""
    machine = lab["vmh1"]
    trunk_sources(machine)
    machine.copy_in(lab.model_writer, "/root/model_writer", "755")
    said, stalls = cut_over(machine)
    print(said["result"], stalls)
    assert said["result"]["writes"] > 0
    assert (said["result"]["mismatches"], said["result"]["errors"]) == (0, 0)
    assert said["final/dev/zvol/vmpool/local"]["mismatches"] == 0
    assert set(stalls) == {"move", "merge", "end"}
    assert 0 < max(stalls.values()) < 0.5
    assert "suspended" not in machine.run(["dmsetup", "info", "disk"]).text.lower()
