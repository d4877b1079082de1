"""What hosts and NASes get contains every module of rocks that its modules import."""

import ast
from pathlib import Path

import rocks
from lab import agent_archive

SOURCES = Path(rocks.__file__).parent


def imported(path: Path) -> set[str]:
    """Each module of rocks that the file imports, also within functions, as a path below `rocks` without suffix."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rocks":
            found |= {str(node.module), *(f"{node.module}.{one.name}" for one in node.names)}
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
    paths = {name.removeprefix("rocks.").replace(".", "/") for name in found if name.startswith("rocks.")}
    return {name for name in paths if (SOURCES / f"{name}.py").exists() or (SOURCES / name).is_dir()}


def test_every_imported_module_is_in_the_archive() -> None:
    places = [SOURCES / part for part in agent_archive.PACKAGES]
    files = {path for place in places for path in (place.rglob("*.py") if place.is_dir() else [place])}
    packed = {str(path.relative_to(SOURCES).with_suffix("")).removesuffix("/__init__") for path in files}
    missing = {(path.name, name) for path in files for name in imported(path) - packed}
    assert len(files) > 50
    assert missing == set()
