"""Modules whose docstring says that they are pure do no I/O; the imports that point upwards only become fewer."""

import ast
import re
from pathlib import Path

import grimp

import rocks

SOURCES = Path(rocks.__file__).parent
IMPURE = {
    "rocks.core.clock",
    "rocks.core.files",
    "rocks.core.process",
    "subprocess",
    "socket",
    "os",
    "pathlib",
    "shutil",
    "tempfile",
    "pymysql",
    "paramiko",
    "libvirt",
}


def pure_modules() -> list[str]:
    found = []
    for path in SOURCES.rglob("*.py"):
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        if re.search(r"\b[Pp]ure\.", text) and "commands" not in path.parts:
            name = ".".join(("rocks", *path.relative_to(SOURCES).with_suffix("").parts))
            found.append(name.removesuffix(".__init__"))
    return found


def test_they_import_nothing_that_acts() -> None:
    names = pure_modules()
    graph = grimp.build_graph("rocks", include_external_packages=True, cache_dir=None)
    found = {name: IMPURE & graph.find_upstream_modules(name) for name in names}
    assert len(names) > 80
    assert {name: impure for name, impure in found.items() if impure} == {}


MAX_UPWARD_IMPORTS = 16


def test_imports_that_point_upwards_become_fewer() -> None:
    """A change that removes one from import-contracts.ini lowers the number."""
    contracts = (SOURCES.parents[1] / "import-contracts.ini").read_text("utf-8")
    rooms = contracts.partition("[importlinter:contract:storage-layers]")[0]
    assert len(re.findall(r"^    rocks\.\S+ -> rocks\.\S+$", rooms, re.M)) == MAX_UPWARD_IMPORTS
