"""Hostlists and walltimes, as people type them."""

import random

import pytest

from comet import UsageError, collect_hostlist, expand_hostlist, format_duration, walltime_to_minutes


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("vm-0", ["vm-0"]),
        ("vm-[0-2,5]", ["vm-0", "vm-1", "vm-2", "vm-5"]),
        ("n[1,0]", ["n1", "n0"]),
        ("a[1-2]b[0-1],c", ["a1b0", "a1b1", "a2b0", "a2b1", "c"]),
        ("x[08-11]", ["x08", "x09", "x10", "x11"]),
        (" a , b ", ["a", "b"]),
        ("[7]", ["7"]),
    ],
)
def test_a_hostlist_is_expanded_in_its_order(text: str, names: list[str]) -> None:
    assert expand_hostlist(text) == names


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "a,,b", "a[1-", "a]1[", "a[[1]]", "a[3-1]", "a[]", "a[x]", "a[1-2-3]", "a,a", "a[1,1]"),
        *("a[0-999999999]", "a[0-999][0-999]", "a[9999999999999999999]"),
    ],
)
def test_what_is_no_hostlist_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        expand_hostlist(text)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["vm-vc2-3", "vm-vc2-0", "vm-vc2-1", "vm-vc2-2"], "vm-vc2-[0-3]"),
        (["n10", "n2", "n1"], "n[1-2,10]"),
        (["x08", "x09", "x10"], "x[08-10]"),
        (["head", "n1"], "head,n1"),
        (["a1b", "a2b", "a2c"], "a2c,a[1-2]b"),
        (["n99999999999"], "n99999999999"),
        (["n²", "n1"], "n1,n²"),
    ],
)
def test_names_are_collected(names: list[str], text: str) -> None:
    assert collect_hostlist(names) == text


def test_what_is_collected_expands_to_the_same_names() -> None:
    chosen = random.Random(15)
    for _ in range(200):
        letters = [chosen.choice(("vm-", "n", "a1b", "")) for _ in range(chosen.randint(1, 12))]
        names = {f"{it}{chosen.choice(('', '0', '00'))}{chosen.randint(0, 120)}" for it in letters}
        assert set(expand_hostlist(collect_hostlist(names))) == names


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90m", 90),
        ("6h", 360),
        ("2d", 2880),
        ("1w", 10080),
        ("6943d", 9_997_920),
        ("99999d", 10_000_000),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("1-00:00:01", 1440),
        ("36:00:00", 2160),
        ("0:00:01", 1),
    ],
)
def test_a_walltime_has_a_unit(text: str, minutes: int) -> None:
    """One beyond all requests is the longest of them: of that the service says what its site allows."""
    assert walltime_to_minutes(text) == minutes


@pytest.mark.parametrize(
    "text", ["", "6", "h", "-1h", "0h", "1.5h", "6 h", "6H", "6hours", "٣h", "6:00", "0:00:00", "0-0"]
)
def test_a_walltime_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        walltime_to_minutes(text)


def test_durations_are_days_hours_and_minutes() -> None:
    assert [format_duration(it) for it in (None, -5, 59, 3600, 172800 + 3660)] == [
        "",
        "00:00",
        "00:00",
        "01:00",
        "2-01:01",
    ]
