"""The migration files of the programs; reading a folder of them, split as by the `mariadb` client."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import BugError
from rocks.database.migrate import Migration, load_migrations, split_statements
from rocks.database.versions import newest_version, wrong_version

MIGRATIONS = load_migrations()
REPEATABLE = re.compile(
    r"CREATE TABLE IF NOT EXISTS|CREATE OR REPLACE|ALTER TABLE \w+\s+(ADD|DROP|MODIFY) (FOREIGN )?\w+ (IF|UUID\b)"
    r"|ALTER TABLE \w+\s+MODIFY COLUMN \w+ ENUM\b"
    r"|DROP \w+ IF EXISTS|(SET STATEMENT \w+ = \d+ FOR\s+)?INSERT (IGNORE )?INTO|UPDATE|DELETE FROM"
)


def test_newest_version_is_the_number_of_the_last_file() -> None:
    assert newest_version() == MIGRATIONS[-1].version == len(MIGRATIONS)


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda migration: migration.name)
def test_every_statement_can_be_repeated(migration: Migration) -> None:
    # rows are written in one transaction with the mark that they were; definitions must bear repetition
    assert migration.statements
    for statement in migration.statements:
        assert REPEATABLE.match(statement), statement[:80]


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda migration: migration.name)
def test_no_statement_depends_on_the_servers_defaults_or_the_schemas_name(migration: Migration) -> None:
    for statement in migration.statements:
        if statement.startswith("CREATE TABLE"):
            assert re.search(
                r"ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_(general_ci|bin)\Z", statement
            )
        assert not re.search(r"\bcluster\.|\bUSE\b", statement)


def test_views_and_procedures_run_with_the_privileges_of_the_invoker() -> None:
    made = [
        s for m in MIGRATIONS for s in m.statements if re.match(r"CREATE OR REPLACE .*(VIEW|PROCEDURE)", s)
    ]
    assert len(made) == 14
    assert all("SQL SECURITY INVOKER" in statement for statement in made)


def test_folder_with_a_gap_or_another_file_raises_an_error(tmp_path: Path) -> None:
    (tmp_path / "0001_first.sql").write_text("SELECT 1;")
    (tmp_path / "0003_third.sql").write_text("SELECT 3;")
    with pytest.raises(BugError, match=r"0003_third\.sql is not migration 0002"):
        load_migrations(tmp_path)
    (tmp_path / "0003_third.sql").rename(tmp_path / "0002 second.sql")
    with pytest.raises(BugError, match="is not migration 0002"):
        load_migrations(tmp_path)


def test_no_migrations_is_an_incomplete_installation(tmp_path: Path) -> None:
    with pytest.raises(BugError, match="installation is incomplete"):
        newest_version(str(tmp_path))


def test_the_error_of_a_wrong_version_names_both_and_the_remedy() -> None:
    assert str(wrong_version("cluster", 3, 5)).endswith(
        "has version 3, these programs need 5: run `rocks update database`"
    )
    assert "has version 7, these programs support versions up to 5: install" in str(
        wrong_version("cluster", 7, 5)
    )


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
