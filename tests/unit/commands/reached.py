"""What the code of a command may reach, by reading the sources: names that a function or class uses, and so on.

A name counts wherever it is used, also in a branch that is never taken. A class is one place with all its methods; what
is reached only through an object that somebody else made is not seen, but such objects are made by somebody.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).parents[3] / "src"


class Place(NamedTuple):
    """A function, class or value of a module; `name` is empty for the module itself."""

    module: str
    name: str


def places_reached(start: Place) -> dict[Place, Place | None]:
    """Each place that the code of `start` may reach → the place that uses it."""
    found: dict[Place, Place | None] = {start: None}
    waiting = [start]
    while waiting:
        place = waiting.pop()
        for used in _used_by(place):
            if used not in found:
                found[used] = place
                waiting.append(used)
    return found


@cache
def _used_by(place: Place) -> frozenset[Place]:
    node = _definitions(place.module).get(place.name)
    if node is None:
        return frozenset()
    return frozenset(
        used for name in _names(node) if (used := _resolve(place.module, name)) not in (None, place)
    )


def _names(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(name, attribute or '') of what is used; (command, '') of commands that another one runs."""
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield one.id, ""
        elif isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
            yield one.value.id, one.attr
        elif isinstance(one, ast.Call) and getattr(one.func, "attr", "") == "command":
            for name in (it.value for it in one.args[:1] if isinstance(it, ast.Constant)):
                assert isinstance(name, str)
                yield f"rocks.commands.{name}".replace(" ", "."), "Command"


def _resolve(module: str, name: tuple[str, str]) -> Place | None:
    first, attribute = name
    if first.startswith("rocks.commands."):
        return Place(*name)
    if first in _definitions(module):
        return Place(module, first)
    imported = _imports(module).get(first)
    if imported is None:
        return None
    inner = f"{imported.module}.{imported.name}"
    if _file(inner) is not None:
        return _resolve_in(inner, attribute) if attribute else None
    return _resolve_in(imported.module, imported.name)


def _resolve_in(module: str, name: str) -> Place | None:
    """The place that defines a name of a module, which may have imported it."""
    return _resolve(module, (name, "")) if module.startswith("rocks") else None


@cache
def _definitions(module: str) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for node in _tree(module).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                found[target.id] = node.value
    return found


@cache
def _imports(module: str) -> dict[str, Place]:
    """Name → what it is imported from; also of imports inside functions, but not of those for types only."""
    tree = _tree(module)
    for_types = {
        id(inside)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inside in ast.walk(node)
    }
    return {
        one.asname or one.name: Place(node.module, one.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in for_types
        for one in node.names
    }


@cache
def _tree(module: str) -> ast.Module:
    file = _file(module)
    return ast.Module([], []) if file is None else ast.parse(file.read_text("utf-8"))


@cache
def _file(module: str) -> Path | None:
    path = SOURCES / module.replace(".", "/")
    return next((it for it in (path.with_suffix(".py"), path / "__init__.py") if it.is_file()), None)
