"""SQL files are split as by the `mariadb` client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import BugError
from rocks.database.migrate import split_statements


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        ("-- only a comment; and more\n", []),
        ("SELECT 1;\nSELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';' ;", ["SELECT ';'"]),
        (
            "SELECT 'it''s; \\'; '; SELECT \"a;\"\"b\", `c;d`;",
            ["SELECT 'it''s; \\'; '", 'SELECT "a;""b", `c;d`'],
        ),
        ("SELECT 1 -- a; b\n + 2;", ["SELECT 1  \n + 2"]),
        ("SELECT 1 # a; b\n;", ["SELECT 1"]),
        ("SELECT 1 /* a; \n b */ + 2;", ["SELECT 1   + 2"]),
        ("SELECT 5--3;", ["SELECT 5--3"]),
        ("SELECT '-- no comment', '/* nor this';", ["SELECT '-- no comment', '/* nor this'"]),
        (
            "DELIMITER //\nCREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END //\nDELIMITER ;\nSELECT 3;",
            ["CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", "SELECT 3"],
        ),
        ("delimiter $$\nSELECT 1;2 $$ SELECT 3 $$\ndelimiter ;\n", ["SELECT 1;2", "SELECT 3"]),
    ],
)
def test_statements_of_a_text(text: str, statements: list[str]) -> None:
    assert split_statements(text) == statements


@pytest.mark.parametrize("text", ["SELECT 1", "SELECT 1; SELECT 'open;", "DELIMITER //\nSELECT 1;\n"])
def test_text_that_ends_within_a_statement_raises_an_error(text: str) -> None:
    with pytest.raises(BugError, match="ends within a statement"):
        split_statements(text)


@given(st.lists(st.text(), max_size=5))
def test_quoted_text_never_ends_a_statement(values: list[str]) -> None:
    quoted = ["SELECT '" + value.replace("\\", "\\\\").replace("'", "''") + "'" for value in values]
    assert split_statements(";\n".join([*quoted, ""])) == quoted
