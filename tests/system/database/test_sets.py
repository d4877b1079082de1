"""Sets of names among the values of a statement."""

from typing import Any

import pytest

from rocks.database.connection import Database

HARD = ["a", "b'", 'c"', "d\\", "e%s", "f'), ('g", "ü"]


@pytest.fixture
def filled(database: Database) -> Database:
    database.insert_many("INSERT INTO nodes (Name, Rank) VALUES", [(name, 1) for name in [*HARD, "other"]])
    return database


def names(database: Database) -> list[str]:
    return [name for (name,) in database.rows("SELECT Name FROM nodes ORDER BY ID")]


@pytest.mark.parametrize("several", [list, tuple])
def test_a_set_is_one_value(filled: Database, several: type[list[Any]] | type[tuple[Any, ...]]) -> None:
    """Of any text: an operator's selectors are such values."""
    asked = (1, several(HARD))
    found = filled.rows("SELECT Name FROM nodes WHERE Rank = %s AND Name IN %s ORDER BY ID", asked)
    assert found == [(name,) for name in HARD]
    assert filled.execute("DELETE FROM nodes WHERE Name IN %s", [several(HARD)]) == len(HARD)
    assert names(filled) == ["other"]


def test_a_set_may_have_pairs(filled: Database) -> None:
    pairs = [("a", 1), ("other", 2)]
    assert filled.rows("SELECT Name FROM nodes WHERE (Name, Rank) IN %s", [pairs]) == [("a",)]


@pytest.mark.parametrize("nothing", [[], ()])
def test_a_set_without_members_is_no_statement(
    filled: Database, nothing: list[str] | tuple[str, ...]
) -> None:
    filled.commit()
    before = filled.statements
    assert filled.rows("SELECT Name FROM nodes WHERE Name IN %s", [nothing]) == []
    assert filled.execute("UPDATE nodes SET Rank = %s WHERE Name IN %s", (2, nothing)) == 0
    assert (filled.statements, filled.has_changes) == (before, False)
    assert filled.fetchall() == []


def test_a_set_of_a_thousand_names_is_not_made_a_table(filled: Database) -> None:
    """MariaDB would join it from 1,000 members on; with a view that joins, it examined 20 times the rows."""
    many = [f"n{number}" for number in range(1100)]
    plan = filled.rows("EXPLAIN SELECT Name FROM nodes WHERE Name IN %s", [many])
    assert len(plan) == 1, plan
