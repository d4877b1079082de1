"""Starts that gave up before their guests ran: the next command finds the guest, and settles the state."""

from rocks.machine.leases import records as leases
from tests.system.imgstorage.test_nas_snapshots import REMOVE_IT, Agent, agent, guests, run, snap, stop

__all__ = ["agent", "guests"]


def test_a_snapshot_settles_the_start_of_a_guest_that_runs(agent: Agent) -> None:
    """Its host has the guest under the lease of that start."""
    storage = agent.guests.storage
    run(agent, "late")
    leases.set_state(storage.cluster.database, ["late"], "starting")
    storage.cluster.database.commit()
    snap(storage, "late", "first")
    assert agent.guests.lease("late").state == "running"
    storage.done(*REMOVE_IT, "late", "first")
    stop(agent, "late")
