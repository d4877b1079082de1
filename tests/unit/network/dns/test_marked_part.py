"""Our part of a file of others."""

import pytest

from rocks.core.errors import StateError
from rocks.network.dns.service import BEGIN, END, with_part

OLD = "127.0.0.1\tlocalhost\n"


def test_a_new_part_comes_at_the_end() -> None:
    assert with_part(OLD, "a\n", "x") == f"{OLD}{BEGIN}\na\n{END}\n"
    assert with_part("no line end", "a\n", "x") == f"no line end\n{BEGIN}\na\n{END}\n"
    assert with_part("", "a\n", "x") == f"{BEGIN}\na\n{END}\n"


def test_the_part_is_replaced_in_its_place_and_the_rest_is_left() -> None:
    whole = f"{OLD}{BEGIN}\na\n{END}\nlast \r\n"
    assert with_part(whole, "b\nc\n", "x") == f"{OLD}{BEGIN}\nb\nc\n{END}\nlast \r\n"
    assert with_part(whole, "a\n", "x") == whole
    assert with_part(whole, "", "x") == f"{OLD}last \r\n"


@pytest.mark.parametrize(
    "damaged",
    [
        f"{BEGIN}\n",
        f"{END}\n",
        f"{END}\n{BEGIN}\n",
        f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n",
        f"{BEGIN}\n{BEGIN}\n{END}\n",
    ],
)
def test_a_damaged_part_is_refused(damaged: str) -> None:
    with pytest.raises(StateError, match="/etc/hosts does not have one line"):
        with_part(damaged, "a\n", "/etc/hosts")
