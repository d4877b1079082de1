"""`comet power`: a line for each node, what it waits for, its exit status."""

from tests.unit.comet.conftest import Comet, sent


def test_power_of_the_frontend_needs_no_set(comet: Comet) -> None:
    done = comet("power", "on", "vc2", "--wait")
    assert (done.out, done.err) == ("vc2: is on\n", "vc2: is being switched on\n")
    assert sent(comet.server, "PUT") == [("cluster/vc2/frontend/poweron", None)]
    assert comet.server.sets == {}


def test_what_is_on_or_off_already_is_not_being_switched(comet: Comet) -> None:
    """It is asked for all the same: the guest may have shut down since the state was read."""
    assert comet("power", "off", "vc2").out == "vc2: is off\n"
    comet("power", "on", "vc2", "--wait")
    assert comet("power", "on", "vc2").out == "vc2: is on\n"
    comet.server.clusters[0]["frontend"]["stale"] = True
    assert comet("power", "on", "vc2").out == "vc2: is being switched on\n"
    assert len(sent(comet.server, "PUT")) == 4
    assert comet("power", "on", "vc9").status == 4
    comet("start", "vc2", "vm-vc2-[0-1]")
    comet("power", "off", "vc2", "vm-vc2-1", "--wait")
    assert comet("power", "off", "vc2", "vm-vc2-[0-1]").out.splitlines() == [
        "vm-vc2-0: is being switched off",
        "vm-vc2-1: is off",
    ]


def test_power_of_nodes_has_a_line_for_each(comet: Comet) -> None:
    comet("start", "vc2", "vm-vc2-[0-1]")
    done = comet("power", "off", "vc2", "vm-vc2-[0-2]")
    assert done.status == 9
    assert done.out.splitlines() == [
        "vm-vc2-0: is being switched off",
        "vm-vc2-1: is being switched off",
        "vm-vc2-2: vm-vc2-2 is in no running computeset",
    ]
    assert comet("power", "reset", "vc2", "vm-vc2-[2-3]").status == 5
    assert comet("power", "reset", "vc2", "vm-vc2-9").status == 4
