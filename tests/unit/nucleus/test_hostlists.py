"""Lists of hosts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus.hostlists import collect, expand, natural_key
from rocks.core.errors import UserError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("vm-vc2-[0-1]", ["vm-vc2-0", "vm-vc2-1"]),
        ("a[1-3,07-09]b[0-1]", [f"a{n}b{m}" for n in ("1", "2", "3", "07", "08", "09") for m in "01"]),
        ("login,n[7],n9", ["login", "n7", "n9"]),
        ("n[1,0]", ["n1", "n0"]),
        ("[7]", ["7"]),
        ("", []),
    ],
)
def test_lists_become_names(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "a,", ",a", "a,,b", "a[", "a]", "a[]", "a[1-]", "a[x]", "a[3-1]", "a[[1]]", "a b", "a[0-100000]",
        "a[0-999][0-999]", "a[0-99999],b[0-9]", "a[1-99999999999999999999]", "a[1-2", "a[²]",
    ],
)  # fmt: skip
def test_other_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match=r"is not a list of hosts: .*; an example is "):
        expand(text)


_NAMES = st.lists(st.from_regex(r"[a-z]{1,2}-?[0-9]{0,3}[a-z]?", fullmatch=True), max_size=12)


@given(_NAMES)
def test_a_collected_list_has_the_names_in_natural_order(names: list[str]) -> None:
    assert expand(collect(names)) == sorted(set(names), key=natural_key)


def test_neighbours_are_compressed() -> None:
    assert collect(["n10", "n9", "n8", "x", "n1"]) == "n[1,8-10],x"
    assert collect(["n08", "n09", "n010"]) == "n[08-09],n010"
