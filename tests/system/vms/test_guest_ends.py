"""A guest that ends by itself, on real libvirt: the hook's note, and the frontend that asks the host."""

from __future__ import annotations

import json
import sys

from rocks.core.process import run_checked
from tests.system.vms.site import CHECKOUT, ThreeMachines, wait_until

PROGRAM = f"""
import json, sys
sys.path[:0] = [{str(CHECKOUT / "src")!r}, *json.loads(sys.argv[1])]
from rocks.machine.ended import take_ended
from rocks.database.connection import Database
from rocks.database.settings import read_settings
with Database(read_settings()) as database:
    print(json.dumps(take_ended(database, sys.argv[2], sys.argv[3:])))
"""


def take_ended(site: ThreeMachines, host: str, *names: str) -> list[str]:
    """What the service of the frontend does for a request of the host."""
    arguments = [sys.executable, "-c", PROGRAM, json.dumps(sys.path), host, *names]
    found: list[str] = json.loads(
        run_checked(site.machines["head"].command(arguments), deadline_seconds=60).text
    )
    return found


def test_the_end_of_a_guest_is_noted_and_its_lease_released(site: ThreeMachines) -> None:
    """Killed as by its own system; it starts again afterwards, and the old note changes nothing."""
    folder = site.machines["vmh1"].outside("/var/lib/rocks/ended")
    folder.mkdir(exist_ok=True)
    vm, other = site.add_vm("one", "vmh1"), site.add_vm("two", "vmh1")
    site.done(f"start host vm {vm} {other}")
    token = site.lease(vm)[0]
    assert list(folder.iterdir()) == []
    site.virsh("vmh1", "destroy", vm)
    wait_until(lambda: (folder / vm).exists())
    assert (folder / vm).read_text() == str(token)

    assert take_ended(site, "vmh2", vm) == [], "not its host"
    assert take_ended(site, "vmh1", other, "unknown") == [], "it runs"
    assert take_ended(site, "vmh1", vm, other) == [vm]
    assert (site.lease(vm)[1:], site.lease(other)[1:]) == (("released", "NULL"), ("running", "vmh1"))

    site.done(f"start host vm {vm}")
    assert take_ended(site, "vmh1", vm) == []
    assert site.running(vm) == ["vmh1"] and site.lease(vm)[1] == "running"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
