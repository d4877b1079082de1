"""Fresh disks are made by one command of a machine that is off; the site is simulated."""

from pathlib import Path

import pytest

from lab.simulator import Simulator
from nucleus.backends.executor import Answer
from nucleus.mirror.pool import Pool
from nucleus.records import Node
from tests.system.nucleus.test_operations import (
    after_a_kill,
    ask,
    delays,
    ended,
    look,
    nodes,
    simulator,
    working,
)

__all__ = ["delays", "nodes", "simulator"]


def test_disks_are_replaced_by_one_command_each(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node]
) -> None:
    first, second = nodes["vm-vc1-0"], nodes["vm-vc1-1"]
    with working(pool, simulator):
        done = ended(pool, ask(pool, "reinstall", first, arguments={"reference": "debian-12"}))
        assert (done.state, done.result) == ("succeeded", {"image": "debian-12"}), done.error
        assert ended(pool, ask(pool, "reinstall", nodes["vc1"])).state == "succeeded"
        cloned = ended(pool, ask(pool, "clone", second, arguments={"original": first.id}))
        assert (cloned.state, cloned.result) == ("succeeded", {"original": "vm-vc1-0"}), cloned.error
    assert simulator.commands == [
        ("reinstall", "host", "vm", "vm-vc1-0", "image=debian-12", "json=yes"),
        ("reinstall", "host", "vm", "vc1", "json=yes"),
        ("clone", "host", "vm", "vm-vc1-0", "vm-vc1-1", "json=yes"),
    ]


def test_machines_that_were_started_meanwhile_keep_their_disks(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node]
) -> None:
    """Also that of the compute whose disk was to be cloned: an operator may have started it."""
    first, second = nodes["vm-vc1-0"], nodes["vm-vc1-1"]
    simulator.run(["start", "host", "vm", "vm-vc1-0"], 60)
    simulator.commands.clear()
    with working(pool, simulator):
        for operation in (
            ask(pool, "reinstall", first),
            ask(pool, "clone", second, arguments={"original": first.id}),
        ):
            refused = ended(pool, operation)
            assert refused.state == "failed", refused
            assert (refused.error or {})["detail"].startswith(
                "the power of vm-vc1-0 is on; power it off first"
            )
    assert simulator.commands == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "library_image_unknown",
            "the image for vm-vc1-0 is not in the site's library any more; choose another",
        ),
        ("disk_has_clones", "other nodes have clones of the disk of vm-vc1-0"),
        ("disk_is_clone", "the disk of vm-vc1-0 is a clone of another node's: choose an image"),
        ("disk_has_no_image", "vm-vc1-0 has no image from which a fresh disk can be made: choose one (comet"),
        ("disk_has_snapshots", "the site has snapshots of the disk of vm-vc1-0"),
    ],
)
def test_owners_read_why_a_disk_stays(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node], code: str, text: str
) -> None:
    out = f'[{{"error": {{"family": "state", "code": "{code}"}}}}]'
    simulator.faults.append((("reinstall",), lambda: Answer(1, out, "Error: tank/vm-vc1-0-vol")))
    with working(pool, simulator):
        refused = ended(pool, ask(pool, "reinstall", nodes["vm-vc1-0"]))
    assert refused.state == "failed" and (refused.error or {})["detail"].startswith(text), refused.error
    assert "tank" not in (refused.error or {})["detail"]


@pytest.mark.usefixtures("environment")
def test_a_worker_that_is_killed_leaves_the_disk_to_the_next_one(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node], tmp_path: Path
) -> None:
    """The command is repeated: it completes what was begun, and the machine is still off."""
    asked = ask(pool, "reinstall", nodes["vm-vc1-0"])
    with after_a_kill(pool, simulator, tmp_path, 4):
        assert ended(pool, asked).state == "succeeded", look(pool, asked).error
    assert {command[:4] for command in simulator.commands} == {("reinstall", "host", "vm", "vm-vc1-0")}
