"""What a site prints of a cluster: read, or refused."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from nucleus.backends.executor_service import is_allowed
from owners.reservations.lifecycle import BEGIN, STOP, TABLE
from owners.reservations.records import LIVING
from owners.reservations.site import Seen, remove, seen_cluster
from rocks.core.errors import ToolError


def printed(name: object = "dock", status: object = "active", address: object = "203.0.113.20") -> str:
    return json.dumps([{"frontend": name, "cluster": [{"status": status, "public ip": address}]}])


def test_a_cluster_is_read() -> None:
    assert seen_cluster("") is None and seen_cluster("[]") is None
    assert seen_cluster(printed()) == Seen("dock", ("active",), "203.0.113.20")
    off = seen_cluster(printed(status="nostate", address=None))
    assert off is not None and off.is_off and not off.answers


@pytest.mark.parametrize(
    "text",
    [
        "Error",
        "{}x",
        "[[[[",
        "[1]",
        json.dumps([{"frontend": "a", "cluster": []}]),
        printed("-x"),
        printed("dock\x1b[2J"),
        printed("a b"),
        printed(7),
        printed(address="::1"),
        printed(address="127.0.0.1 evil"),
        f"{printed()[:-1]}, {printed()[1:]}",
        "[" * 100_000,
    ],
)
def test_what_is_no_cluster_is_refused(text: str) -> None:
    with pytest.raises(ToolError, match="which is no cluster"):
        seen_cluster(text)


def test_a_name_that_was_given_away_during_a_shutdown_is_not_cleaned() -> None:
    """An operator has cleaned the cluster meanwhile, and the next one got its address."""
    calls: list[Sequence[str]] = []

    def pragma(arguments: Sequence[str], more_seconds: float = 0.0) -> str:
        calls.append(arguments[:2])
        return printed() if len(calls) == 1 else ""

    place: Any = SimpleNamespace(remove_key=lambda _: None, pragma=pragma)
    requested: Any = SimpleNamespace(request="nucleus-1")
    remove(place, requested)
    assert calls == [("list", "cluster"), ("shutdown", "dock"), ("list", "cluster")]


def test_each_state_that_lives_has_a_way_out() -> None:
    final = {step.state for step in TABLE.values()} - set(LIVING)
    unbooted = {state for (state, event), step in TABLE.items() if step.is_failure}
    assert unbooted == {"starting"} and TABLE["stopping", "cleaned_after_failure"].state == "failed"
    assert final == {"stopped", "cancelled", "failed"} and not final & {state for state, _ in TABLE}
    for state in LIVING:
        reached, new = set(), {state}
        while new:
            reached |= new
            new = {step.state for (one, _), step in TABLE.items() if one in new} - reached
        assert reached & final
    for state in LIVING[:3]:
        assert {(state, STOP), (state, "cancel"), (state, "gone")} <= set(TABLE)
    assert [state for state, event in TABLE if event == BEGIN] == ["waiting"]


def test_the_executor_runs_these_forms_alone() -> None:
    folder, boot = "/images", ["pragma", "boot", "dock6", "4"]
    for further in ((), ("add-iface=ent",), ("hosts=a-0",), ("add-iface=ent", "hosts=a-0,b.c")):
        assert is_allowed([*boot, "key=/images/7.pub", *further, "request=nucleus-0123456789abcdef"], folder)
    for arguments in (
        boot,
        [*boot, "key=/etc/shadow", "request=nucleus-0123456789abcdef"],
        [*boot, "key=/images/../7.pub", "request=nucleus-0123456789abcdef"],
        [*boot, "key=/images/7.pub", "request=other"],
        [*boot, "key=/images/7.pub", "hosts=a,-b", "request=nucleus-0123456789abcdef"],
        ["pragma", "boot", "mem=1", "4", "key=/images/7.pub", "request=nucleus-0123456789abcdef"],
        ["pragma", "clean", "a", "b"],
        ["pragma", "list", "cluster"],
    ):
        assert not is_allowed(arguments, folder), arguments
