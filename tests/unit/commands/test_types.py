"""Arguments reach our commands typed: `fillParams` and `fillPositionalArgs` return Any, for commands of other rolls."""

import ast
from pathlib import Path

from rocks.commands._framework.tree import OUR_TREE

COMMANDS = [path for path in sorted(Path(OUR_TREE).rglob("__init__.py")) if "_framework" not in path.parts]
UNTYPED = {"fillParams", "fillPositionalArgs", "Any"}


def names_in(path: Path) -> set[str]:
    """All names and attributes that a file uses."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute)
    }


def test_every_command_reads_typed_arguments() -> None:
    assert len(COMMANDS) > 300
    untyped = {str(path.parent.relative_to(OUR_TREE)): names_in(path) & UNTYPED for path in COMMANDS}
    assert {command: names for command, names in untyped.items() if names} == {}
