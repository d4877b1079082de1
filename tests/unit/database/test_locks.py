"""Names of locks: unique for each database and object, within the limit of the server."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rocks.database.locks import LONGEST_KEY, lock_key, release_statement, take_statement


def test_short_names_stay_readable_and_belong_to_one_database() -> None:
    assert lock_key("cluster", "vm vm-vc1-0") == "cluster:vm vm-vc1-0"
    assert lock_key("cluster", "vm x") != lock_key("other", "vm x")


def test_names_that_differ_in_case_are_one_lock() -> None:
    long = "vm " + "N" * 200
    assert lock_key("cluster", "vm VC1") == lock_key("Cluster", "vm vc1")
    assert lock_key("cluster", long) == lock_key("cluster", long.lower())


def test_long_names_that_differ_at_the_end_are_two_locks() -> None:
    keys = {lock_key("cluster", "vm " + "n" * 125 + end) for end in ("a", "b", "ab")}
    assert len(keys) == 3
    assert all(key.startswith("cluster:vm nnnn") for key in keys)


@given(st.text(max_size=300))
def test_no_name_exceeds_the_limit_of_the_server(name: str) -> None:
    assert len(lock_key("cluster", name)) <= LONGEST_KEY


def test_many_locks_are_one_statement() -> None:
    assert take_statement(3).count("GET_LOCK(%s, ") == 3
    assert release_statement(2) == "SELECT RELEASE_LOCK(%s), RELEASE_LOCK(%s)"
