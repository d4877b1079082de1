"""Modules whose docstring says that they are pure do no I/O, nor does anything that they import."""

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
    assert len(names) > 100
    assert {name: impure for name, impure in found.items() if impure} == {}
