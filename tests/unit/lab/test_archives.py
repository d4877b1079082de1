"""What hosts and NASes get, archive or package, contains every module of rocks that its modules import."""

import ast
from pathlib import Path

import pytest

import rocks
from lab import agent_archive

SOURCES = Path(rocks.__file__).parent
COMMON = tuple((SOURCES.parents[1] / "packaging/common-modules").read_text("ascii").split())


def imported(path: Path) -> set[str]:
    """The first part below `rocks` of each import in the file, also of those within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rocks":
            names = [node.module] if node.module != "rocks" else [f"rocks.{one.name}" for one in node.names]
            found |= {str(name).split(".")[1] for name in names}
        elif isinstance(node, ast.Import):
            found |= {one.name.split(".")[1] for one in node.names if one.name.startswith("rocks.")}
    return found


@pytest.mark.parametrize("parts", [agent_archive.PACKAGES, COMMON])
def test_every_imported_module_is_in_the_archive(parts: tuple[str, ...]) -> None:
    packed = {"__version__"} | {part.removesuffix(".py") for part in parts}
    files = [SOURCES / part for part in parts if part.endswith(".py")]
    files += [path for part in parts for path in (SOURCES / part).rglob("*.py")]
    missing = {(path.name, name) for path in files for name in imported(path) - packed}
    assert len(files) > 50
    assert missing == set()
