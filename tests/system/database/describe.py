"""A whole schema as data, to compare two ways to the same version."""

from typing import Any

from rocks.database.connection import Database

_SHAPES = {
    "tables": "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_COLLATION FROM TABLES WHERE TABLE_SCHEMA = %s",
    "columns": "SELECT TABLE_NAME, ORDINAL_POSITION, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT,"
    " COLLATION_NAME, EXTRA, GENERATION_EXPRESSION FROM COLUMNS WHERE TABLE_SCHEMA = %s",
    "keys": "SELECT TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME, NON_UNIQUE FROM STATISTICS"
    " WHERE TABLE_SCHEMA = %s",
    "references": "SELECT TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_NAME, DELETE_RULE, UPDATE_RULE"
    " FROM REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s",
    "checks": "SELECT TABLE_NAME, CONSTRAINT_NAME, CHECK_CLAUSE FROM CHECK_CONSTRAINTS"
    " WHERE CONSTRAINT_SCHEMA = %s",
    "views": "SELECT TABLE_NAME, VIEW_DEFINITION, SECURITY_TYPE FROM VIEWS WHERE TABLE_SCHEMA = %s",
    "routines": "SELECT ROUTINE_NAME, ROUTINE_DEFINITION, SECURITY_TYPE FROM ROUTINES"
    " WHERE ROUTINE_SCHEMA = %s",
    "triggers": "SELECT TRIGGER_NAME, ACTION_STATEMENT, ACTION_TIMING, EVENT_MANIPULATION FROM TRIGGERS"
    " WHERE TRIGGER_SCHEMA = %s",
}
# by names and not by numbers: a number that was given to a row which was then undone is not given again
_ROWS = {
    "memberships": "SELECT m.Name, a.Name, a.Node, a.Graph, a.OS, d.Name, m.Public FROM memberships m"
    " JOIN appliances a ON a.ID = m.Appliance JOIN distributions d ON d.ID = m.Distribution",
    "attributes": "SELECT Attr, Value, Shadow, Category, Catindex FROM vattributes",
    "members": "SELECT Name, Category FROM vcatindex",
    "chain": "SELECT Name, Category, Precedence FROM vresolvechain",
    "boot actions": "SELECT Action, Kernel, Ramdisk, Args FROM bootaction",
    "journal": "SELECT Version, Name, Digest, Done, Finished IS NOT NULL FROM schema_migrations",
}


def describe(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """All objects of the schema and its first rows, in a canonical order and form."""
    name = database.settings.database
    shapes = {}
    for kind, sql in _SHAPES.items():
        source = sql.replace(" FROM ", " FROM information_schema.", 1)
        shapes[kind] = sorted(
            tuple(str(cell).replace(f"`{name}`.", "") for cell in row)
            for row in database.rows(source, (name,))
        )
    rows = {kind: sorted(database.rows(sql), key=repr) for kind, sql in _ROWS.items()}
    return {**shapes, **rows}
