"""Lists of hosts."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.client.hostlists import collect_hostlist, natural_key
from nucleus.hostlists import MAX_OWNERS_NODES, expand
from rocks.core.errors import UserError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("vm-vc2-[0-1]", ["vm-vc2-0", "vm-vc2-1"]),
        ("a[1-3,07-09]b[0-1]", [f"a{n}b{m}" for n in ("1", "2", "3", "07", "08", "09") for m in "01"]),
        ("login,n[7],n9", ["login", "n7", "n9"]),
        ("n[1,0]", ["n1", "n0"]),
        ("vm-1, vm-2,  vm-[3-4]", ["vm-1", "vm-2", "vm-3", "vm-4"]),
        ("a\n,\tb,\nc", ["a", "b", "c"]),
        ("a[1-2],a1", ["a1", "a2", "a1"]),
        ("[7]", ["7"]),
        ("", []),
    ],
)
def test_lists_become_names(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "a, ", "a, ,b", "a,", ",a", "a,,b", "a[", "a]", "a[]", "a[1-]", "a[x]", "a[3-1]", "a[[1]]", "a b",
        "a[0-100000]", "a[0-999][0-999]", "a[0-99999],b[0-9]", "a[1-99999999999999999999]", "a[1-2", "a[²]",
    ],
)  # fmt: skip
def test_other_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match=r"is not a list of hosts: .*; an example is "):
        expand(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a[" + ",".join(["0-99999"] * 511) + "]", "more than 100000 names"),
        ("a[" + ",".join(["0-9"] * 11) + "]" + "[0-999]" + "[0-9]", "more than 100000 names"),
        ("a[0-99999]" + "[0]" * 1361, "longer than 128 characters"),
        ("a" * 129, "longer than 128 characters"),
    ],
)
def test_a_short_list_of_too_many_or_too_long_names_is_refused_before_they_are_made(
    text: str, why: str
) -> None:
    tracemalloc.start()
    with pytest.raises(UserError, match=why):
        expand(text)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20_000_000


def test_an_owners_list_has_fewer_names() -> None:
    assert len(expand("a[0-9999]", MAX_OWNERS_NODES)) == MAX_OWNERS_NODES
    with pytest.raises(UserError, match="more than 10000 names"):
        expand("a[0-9998],b[0-1]", MAX_OWNERS_NODES)


_NAMES = st.lists(st.from_regex(r"[a-z]{1,2}-?[0-9]{0,3}[a-z]?", fullmatch=True), max_size=12)


@given(_NAMES)
def test_what_comet_collects_expands_to_the_same_names(names: list[str]) -> None:
    assert sorted(expand(collect_hostlist(names))) == sorted(set(names))


def test_names_are_sorted_as_people_do() -> None:
    assert sorted(["n10", "n2", "n02", "n", "n1b2", "n1"], key=natural_key) == [
        "n",
        "n1",
        "n1b2",
        "n02",
        "n2",
        "n10",
    ]
