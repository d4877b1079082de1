"""A program that moves a volume below a running writer is killed at any moment."""

import json

from lab.machines.lab import Lab
from tests.lab.switches import COPY, LOG, PREPARE, copy_sources, do

SUBJECTS = ("src/rocks/storage/device_mapper",)


def test_a_mover_that_is_killed_leaves_no_disk_suspended(lab: Lab) -> None:
    """At sixteen moments from its start to its end: the disk runs on one table or the other, and no write is lost."""
    machine = lab["vmh1"]
    copy_sources(machine)
    machine.copy_in(lab.model_writer, "/root/model_writer", "755")
    machine.shell(PREPARE, 120)
    do(machine, "begin")
    machine.start_program("writer", ["/root/model_writer", "/dev/mapper/disk"])
    machine.wait_for(["cat", LOG], '"loaded"', 60)
    machine.shell(COPY, 180)
    reported = do(machine, "kills")
    print(reported)
    assert [left["suspended"] for left in reported] == [False] * 16
    assert {left["moved"] for left in reported} == {False, True}
    machine.run(["systemctl", "stop", "writer"], 60)
    lines = machine.read_file(LOG).decode().splitlines()
    result = next(json.loads(line) for line in lines if '"result"' in line)
    print(result)
    assert (result["mismatches"], result["errors"]) == (0, 0)
