"""What a command on several machines prints of them."""

from __future__ import annotations

from rocks.machine.outcomes import Outcomes


def note(name: str) -> str:
    return f"{name} runs without a packet filter (vm_filter=off of vmh1): it can send under others' addresses"


def test_what_is_so_for_several_machines_is_one_line() -> None:
    same = "KVM does not work on this host: started under emulation"
    own = "eth1 of vm-1 is not connected: no device"
    done = {f"vm-{number}": (note(f"vm-{number}"), same) for number in range(3)}
    done["vm-1"] += (own,)
    lines = Outcomes(done, warnings=("the subnet manager is away",)).joined_lines
    assert lines == [f"{note('vm-0')}; likewise vm-1, vm-2", same, own, "the subnet manager is away"]


def test_many_names_are_counted() -> None:
    (line,) = Outcomes({f"vm-{number}": (note(f"vm-{number}"),) for number in range(40)}).joined_lines
    assert line == f"{note('vm-0')}; likewise vm-1, vm-2, vm-3, vm-4, vm-5 and 34 more"


def test_a_name_within_another_word_is_not_that_machine() -> None:
    done = {"a": ("a has a-b",), "b": ("b has a-b",), "c": ("d has a-b",), "e": ()}
    assert Outcomes(done).joined_lines == ["a has a-b; likewise b", "d has a-b"]
