"""When a host has failed, and which machines are to run elsewhere."""

import pytest

from rocks.inventory.records import Lease
from rocks.machine.moves.ha_watch import REASON, Pauses, Silences, is_cut_off, move_is_stuck, watched


def test_a_host_has_failed_after_its_time_without_an_answer() -> None:
    silences = Silences(60)
    assert silences.observe(0, ["vmh1"], []) == []
    assert [silences.observe(now, [], ["vmh1"]) for now in (10, 30, 50)] == [[], [], []]
    assert silences.observe(60, [], ["vmh1"]) == ["vmh1"]
    assert silences.seconds("vmh1", 60) == 60


def test_an_answer_begins_the_silence_anew() -> None:
    silences = Silences(60)
    for now in (0, 20, 40):
        silences.observe(now, [], ["vmh1"])
    silences.observe(50, ["vmh1"], [])
    assert [silences.observe(now, [], ["vmh1"]) for now in (60, 80, 100)] == [[], [], []]
    assert silences.observe(110, [], ["vmh1"]) == ["vmh1"]


def test_a_service_that_was_stopped_itself_asks_again_first() -> None:
    """SIGSTOP, or a frontend that is a virtual machine and was paused: the last answer is old, the host is well."""
    silences = Silences(60)
    silences.observe(0, ["vmh1"], [])
    assert silences.observe(9000, [], ["vmh1"]) == []
    assert silences.observe(9010, [], ["vmh1"]) == []
    assert silences.observe(9020, [], ["vmh1"]) == ["vmh1"]


def test_a_host_that_was_silent_from_the_begin_has_its_time_too() -> None:
    silences = Silences(30)
    assert [silences.observe(now, [], ["vmh1"]) for now in (5, 15, 25, 34)] == [[], [], [], []]
    assert silences.observe(35, [], ["vmh1"]) == ["vmh1"]


def test_the_pauses_between_attempts_grow_to_a_quarter_of_an_hour() -> None:
    pauses, now, lengths = Pauses(), 0.0, []
    for _ in range(7):
        assert pauses.is_over("vmh1", now)
        pauses.begin("vmh1", now)
        lengths.append(next(seconds for seconds in range(10000) if pauses.is_over("vmh1", now + seconds)))
        now += lengths[-1]
    assert lengths == [60, 120, 240, 480, 900, 900, 900]
    pauses.keep(["vmh2"])
    assert pauses.is_over("vmh1", now)


@pytest.mark.parametrize(
    ("answering", "silent", "cut"), [(0, 1, True), (1, 1, False), (2, 3, True), (9, 1, False)]
)
def test_nothing_is_done_while_most_hosts_are_silent(answering: int, silent: int, cut: bool) -> None:
    assert is_cut_off(answering, silent) is cut


@pytest.mark.parametrize(
    ("lease", "where"),
    [
        (Lease("vm-a-0", 7, "vmh1", "running"), "held"),
        (Lease("vm-a-0", 7, "vmh1", "starting", "start"), "held"),
        (Lease("vm-a-0", 7, "vmh1", "starting", "start", f"{REASON}vmh2"), "interrupted"),
        (Lease("vm-a-0", 7, "vmh1", "starting", "start", "the operator's reason"), "held"),
        (Lease("vm-a-0", 7, "vmh1", "stopping", "poweroff"), None),
        (Lease("vm-a-0", 7, "vmh1", "stopping", "poweroff", f"{REASON}vmh1"), "interrupted"),
        (Lease("vm-a-0", 7, None, "released", None, f"{REASON}vmh1"), "interrupted"),
        (Lease("vm-a-0", 7, None, "released", None, "the operator's reason"), None),
        (Lease("vm-a-0", 7, None, "released"), None),
    ],
)
def test_machines_that_are_to_run_are_watched(lease: Lease, where: str | None) -> None:
    found = watched(["vm-a-0", "vm-new-0"], {"vm-a-0": lease}, {"vm-a-0": "vmh1", "vm-new-0": "vmh1"})
    assert found.held == ({"vmh1": ["vm-a-0"]} if where == "held" else {})
    assert found.interrupted == ({"vmh1": ["vm-a-0"]} if where == "interrupted" else {})
    assert found.of_host("vmh1") == (["vm-a-0"] if where else [])


def test_a_machine_that_moves_is_watched_on_both_hosts_and_taken_from_none() -> None:
    lease = Lease("vm-a-0", 7, "vmh1", "moving", "move", None, "vmh2")
    found = watched(["vm-a-0"], {"vm-a-0": lease}, {"vm-a-0": "vmh1"})
    assert found.hosts == ["vmh1", "vmh2"] and found.moving == {"vmh1": ["vm-a-0"], "vmh2": ["vm-a-0"]}
    assert found.of_host("vmh1") == found.of_host("vmh2") == []


@pytest.mark.parametrize("silent", ["vmh1", "vmh2"])
def test_the_message_on_a_move_whose_host_has_failed(silent: str) -> None:
    """The new host alone may be given up: the old one has the lease."""
    line = move_is_stuck(Lease("vm-a-0", 7, "vmh1", "moving", "move", None, "vmh2"), silent)
    assert "rocks move host vm vm-a-0 vmh2 live=yes" in line
    assert ("rocks stop host vm vm-a-0 force=yes" in line) == (silent == "vmh2")
