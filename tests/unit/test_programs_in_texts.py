"""Programs that tests write as texts import modules and names that exist: neither ruff nor mypy reads them."""

import ast
import re
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
ROOMS = ("rocks", "nucleus", "owners", "comet")
IMPORT = re.compile(rf"\bfrom ((?:{'|'.join(ROOMS)})(?:\.\w+)*) import ([\w, ]+)")


def module_file(name: str) -> Path | None:
    """The file of a module or package; None when there is none."""
    for root in ("src", "roll/pragma"):
        place = CHECKOUT / root / name.replace(".", "/")
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return path
    return None


@cache
def names_of(path: Path) -> frozenset[str]:
    """Every name that a module assigns, defines or imports, wherever that is."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return frozenset(found)


def missing_in(text: str) -> list[str]:
    """Modules and names that the statements in a text import and that are not there."""
    missing = []
    for module, names in IMPORT.findall(text):
        path = module_file(module)
        for name in (part.partition(" as ")[0].strip() for part in names.split(",")):
            if (
                name
                and (path is None or name not in names_of(path))
                and module_file(f"{module}.{name}") is None
            ):
                missing.append(f"{module}.{name}")
    return missing


def test_programs_in_texts_import_what_is_there() -> None:
    missing = []
    for path in sorted({*(CHECKOUT / "tests").rglob("*.py")} - {Path(__file__)}):
        source = path.read_text("utf-8")
        if not re.search(rf"from (?:{'|'.join(ROOMS)})\b", source):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                missing += [
                    f"{path.relative_to(CHECKOUT)}:{node.lineno}: {name}" for name in missing_in(node.value)
                ]
    assert missing == []


def test_a_name_that_is_gone_is_found() -> None:
    text = "from rocks.machine import gone, start as starts\nfrom rocks.nowhere import x"
    assert missing_in(text) == ["rocks.machine.gone", "rocks.nowhere.x"]
