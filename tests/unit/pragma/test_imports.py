"""The roll knows the system from outside: by commands, and by what the roll author's guide promises."""

import ast
import re
from pathlib import Path

ROLL = Path(__file__).resolve().parents[3] / "roll" / "pragma"
MAY_IMPORT = ("rocks.commands", "rocks.core", "rocks.errors", "rocks.database.attributes", "lxml")
SOURCES = Path(__file__).resolve().parents[3] / "src"


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module))
    return found


def test_it_imports_commands_and_core_only():
    ours = {
        name
        for path in (ROLL / "commands").rglob("*.py")
        for name in imported(path)
        if name.startswith(("rocks", "lxml"))
    }
    assert ours
    assert [name for name in sorted(ours) if not name.startswith(MAY_IMPORT)] == []


def test_nothing_of_the_system_imports_it():
    statement = re.compile(rb"^\s*(?:from|import)\s+(?:rocks\.commands\.)?pragma\b", re.MULTILINE)
    assert statement.search(b"    from rocks.commands.pragma._shared import site")
    assert [path for path in SOURCES.rglob("*.py") if statement.search(path.read_bytes())] == []
